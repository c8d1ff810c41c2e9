"""What a board computes on: frames made from a seed, with motion and changes that a real camera recorded.

Times of inference do not depend on what frames show, only on which blocks are active and where features
come from. Those are recorded: ``recorded_motion.npz`` holds the vectors and differences that motion search
found between eight pairs of frames of a driving video (``udacity_solidWhiteRight.mp4``, Udacity, MIT
licence; no pixel of it). Extraction and codecs do look at pixels: theirs are a textured picture under a
moving camera with objects of their own motion, made from a seed, at any resolution. A kit that is packed
with ``video=`` carries that video's frames in their place.

    python -m profiler.kit.frames VIDEO     makes recorded_motion.npz anew
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from profiler.measure.masks import FramePairs
from traces.errors import InputError

RECORDED = Path(__file__).with_name("recorded_motion.npz")
PACKED = Path(__file__).with_name("packed_frames.npz")  # only in a kit that was packed with a video
PAIRS = 8
_CAMERA_PX = ((3, 1), (5, -2), (-4, 2), (1, 0), (7, 3), (-2, -5), (0, 0), (6, -1))  # of each pair: (dx, dy)
_DIFFERENCE_STEPS = 65535


def board_pairs(resolution_px: tuple[int, int], block_px: int) -> FramePairs:
    """The pairs to measure with: the packed video's where there is one of this resolution, else made ones.

    Raises:
        InputError: the kit carries a video of another resolution.
    """
    if PACKED.is_file():
        found = read_pairs(PACKED)
        size = found.frames.shape[1:3]
        if size != resolution_px:
            raise InputError(
                f"resolution: expected {size[0]}x{size[1]} px, which this kit's video was packed at, found"
                f" {resolution_px[0]}x{resolution_px[1]}: pack another kit"
            )
        return found
    frames, references = made_frames(resolution_px)
    vectors, difference, name = recorded_motion((resolution_px[0] // block_px, resolution_px[1] // block_px))
    return FramePairs(frames, references, _inside(vectors, block_px), difference, name, synthetic=False)


def recorded_motion(
    grid: tuple[int, int],
) -> tuple[NDArray[np.int16], NDArray[np.float32], str]:
    """Vectors (S, rows, columns, 2) and differences (S, rows, columns) of the recording, and its name.

    On another grid than that of the recording each block has what its centre had there; vectors grow with
    the grid, as they would with the resolution.
    """
    with np.load(RECORDED) as file:
        vectors, difference, name = file["vectors"], file["difference"], str(file["name"])
    rows, columns = (
        (2 * np.arange(count) + 1) * size // (2 * count)
        for count, size in zip(grid, difference.shape[1:], strict=True)
    )
    scale = np.array([grid[1] / difference.shape[2], grid[0] / difference.shape[1]])
    moved = np.rint(vectors[:, rows[:, None], columns] * scale).astype(np.int16)
    changed = difference[:, rows[:, None], columns].astype(np.float32) / np.float32(_DIFFERENCE_STEPS)
    return moved, changed, name


def _inside(vectors: NDArray[np.int16], block_px: int) -> NDArray[np.int16]:
    """Vectors moved so that no block is looked up outside the frame."""
    rows, columns = vectors.shape[1:3]
    x, y = np.arange(columns) * block_px, np.arange(rows)[:, None] * block_px
    moved = vectors.copy()
    moved[..., 0] = np.clip(moved[..., 0], -x, (columns - 1) * block_px - x)
    moved[..., 1] = np.clip(moved[..., 1], -y, (rows - 1) * block_px - y)
    return moved


def made_frames(resolution_px: tuple[int, int]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """(S, H, W, 3) frames and their references: noise of four scales and two objects, moved by pixels."""
    height, width = resolution_px
    generator = np.random.default_rng(13)
    border = 32
    world = _texture(height + 2 * border, width + 2 * border, generator)
    thing = 255 - _texture(height // 4, width // 4, generator)
    noise = generator.integers(-2, 3, (2, height, width, 3))
    frames: list[NDArray[np.uint8]] = []
    references: list[NDArray[np.uint8]] = []
    for number, (dx, dy) in enumerate(_CAMERA_PX[:PAIRS]):
        for moment, kept in ((0, references), (1, frames)):
            left, top = border + moment * dx, border + moment * dy
            image = world[top : top + height, left : left + width].astype(np.int16)
            for place in (0.15, 0.55):
                y = int(height * place) + moment * (number % 3 - 1)
                x = int(width * ((place + 0.07 * number) % 0.7)) + moment * 4
                image[y : y + thing.shape[0], x : x + thing.shape[1]] = thing
            kept.append(np.clip(image + noise[moment], 0, 255).astype(np.uint8))
    return np.stack(frames), np.stack(references)


def _texture(height: int, width: int, generator: np.random.Generator) -> NDArray[np.uint8]:
    """(height, width, 3): value noise, each scale half as strong and half as wide as the one before."""
    total = np.zeros((height, width, 3))
    for scale, strength in ((64, 90), (32, 45), (16, 24), (4, 12)):
        grid = generator.random((height // scale + 2, width // scale + 2, 3)) - 0.5
        y, x = np.arange(height) / scale, np.arange(width) / scale
        row, column = y.astype(int), x.astype(int)
        down, across = (y - row)[:, None, None], (x - column)[None, :, None]
        upper = grid[row][:, column] * (1 - across) + grid[row][:, column + 1] * across
        lower = grid[row + 1][:, column] * (1 - across) + grid[row + 1][:, column + 1] * across
        total += strength * 2 * (upper * (1 - down) + lower * down)
    return np.clip(128 + total, 0, 255).astype(np.uint8)


def read_pairs(path: Path) -> FramePairs:
    """Pairs that `write_pairs` wrote."""
    with np.load(path) as file:
        return FramePairs(
            file["frames"],
            file["references"],
            file["vectors"],
            file["difference"],
            str(file["name"]),
            bool(file["synthetic"]),
        )


def write_pairs(pairs: FramePairs, path: Path) -> None:
    """Keep pairs whole, as a kit carries a video's; the same pairs give the same bytes."""
    np.savez_compressed(
        path,
        frames=pairs.frames,
        references=pairs.references,
        vectors=pairs.vectors,
        difference=pairs.difference,
        name=np.array(pairs.name),
        synthetic=np.array(pairs.synthetic),
    )


def write_recorded(pairs: FramePairs, path: Path) -> None:
    """Keep the motion of pairs without their pixels; differences in steps of 1/65535."""
    np.savez_compressed(
        path,
        vectors=pairs.vectors.astype(np.int16),
        difference=np.rint(pairs.difference * _DIFFERENCE_STEPS).astype(np.uint16),
        name=np.array(pairs.name),
    )


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("frames: expected VIDEO")
    from profiler.measure.masks import collect_frame_pairs

    write_recorded(collect_frame_pairs(sys.argv[1], (640, 640), 16), RECORDED)
