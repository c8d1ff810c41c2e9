"""Shared material for tests of videos: tiny sequences, folders and clips made on the spot."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

sizes_px = st.integers(1, 12).map(lambda n: 16 * n)
source_shapes = st.tuples(st.integers(8, 300), st.integers(8, 300))


class Numbered:
    """A sequence whose frame i is filled with the value i."""

    synthetic = True
    name = "numbered"
    fps = 10.0
    height_px = width_px = 16

    def __init__(self, frame_count: int) -> None:
        self.frame_count = frame_count

    def image(self, index: int) -> NDArray[np.uint8]:
        assert 0 <= index < self.frame_count
        return np.full((16, 16, 3), index, dtype=np.uint8)

    def mask(self, index: int) -> NDArray[np.uint8]:
        return np.full((16, 16), index, dtype=np.uint8)

    def vectors(self, index: int, reference: int) -> NDArray[np.int16]:
        return np.full((16, 16, 2), reference - index, dtype=np.int16)


def texture(seed: int, height: int = 48, width: int = 64) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def write_folder(
    folder: Path, names: list[str], images: str = "JPEGImages", masks: str | None = "Annotations"
) -> Path:
    """Images of 64×48 px and masks with object 1 in the left half, in the DAVIS layout unless told."""
    (folder / images).mkdir(parents=True)
    for seed, name in enumerate(names):
        Image.fromarray(texture(seed)).save(folder / images / f"{name}.png")
    if masks is not None:
        (folder / masks).mkdir()
        ids = np.zeros((48, 64), dtype=np.uint8)
        ids[:, :32] = 255
        for name in names:
            Image.fromarray(ids).save(folder / masks / f"{name}.png")
    return folder


def write_clip(path: Path, frames: int = 30, index_first: bool = False) -> Path:
    """A 96×64 px clip at 20 fps in which every frame differs, with B frames and a key frame every 8.

    `index_first` puts an MP4's index before its data, so that a file cut short still opens.
    """
    import av

    with av.open(str(path), "w", options={"movflags": "faststart"} if index_first else {}) as container:
        stream = container.add_stream("libx264", rate=20)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        stream.options = {"g": "8", "bf": "2", "crf": "18"}
        base = texture(1, 64, 96 + frames)
        for i in range(frames):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(base[:, i : i + 96]), format="rgb24")
            for packet in stream.encode(frame):
                container.mux(packet)
        for packet in stream.encode(None):
            container.mux(packet)
    return path
