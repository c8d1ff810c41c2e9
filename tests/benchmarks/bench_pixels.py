"""Time of the pixel kernels and their rivals: ``python -m tests.benchmarks.bench_pixels [--rounds N]``.

Medians of interleaved rounds, one thread. No time is printed for a search whose result fails its definition.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import pairwise

import av
import numpy as np
from numpy.typing import NDArray
from skimage import data, transform

from kernels.codecs.block_codecs import block_codec
from kernels.codecs.block_payload import apply_blocks, decode_blocks, encode_blocks
from kernels.codecs.frame_codecs import make_frame_codec
from kernels.codecs.h264_vectors import H264Aligner
from kernels.codecs.pixel_delta import PixelDeltaSender
from kernels.motion.global_motion import estimate_global_motion
from kernels.motion.image_pyramid import build_pyramid
from kernels.motion.search import block_difference, search_motion
from kernels.motion.warp import warp_image
from kernels.similarity import embed

SIZES_PX = (640, 1024)
FIRST = """
import time, numpy as np
frame = np.random.default_rng(0).integers(0, 256, (640, 640, 3), dtype=np.uint8)
start = time.perf_counter()
from kernels import search_motion
between = time.perf_counter()
search_motion(frame, frame[::-1].copy())
print(f"import {between - start:.2f} s, first search {time.perf_counter() - between:.2f} s")
"""
Case = Callable[[], object]


def scenes(
    size_px: int, generator: np.random.Generator
) -> dict[str, tuple[NDArray[np.uint8], NDArray[np.uint8]]]:
    """(frame, reference) of a photograph: still, panned by (10, −3), noisy (σ = 2 grey levels), unrelated."""
    side = size_px + 40
    photograph = np.rint(transform.resize(data.astronaut(), (side, side), order=3) * 255)

    def noisy(image: NDArray[np.float64]) -> NDArray[np.uint8]:
        return np.clip(np.rint(image + generator.normal(0, 2, image.shape)), 0, 255).astype(np.uint8)

    still = photograph[20 : 20 + size_px, 20 : 20 + size_px]
    panned = photograph[17 : 17 + size_px, 30 : 30 + size_px]
    frame = noisy(still)
    return {
        "still": (frame, frame.copy()),
        "noise": (frame, noisy(still)),
        "pan": (noisy(panned), frame),
        "unrelated": (frame, frame[::-1].copy()),
    }


def full_search(
    frame: NDArray[np.uint8], reference: NDArray[np.uint8], radius_px: int = 16
) -> NDArray[np.int32]:
    """The smallest sum of differences of every block within the radius, in numpy, on grey images."""
    height, width = frame.shape
    padded = np.pad(reference.astype(np.int16), radius_px, constant_values=10_000)
    best = np.full((height // 16, width // 16), 2**30, np.int32)
    for dy in range(2 * radius_px + 1):
        for dx in range(2 * radius_px + 1):
            error = np.abs(padded[dy : dy + height, dx : dx + width] - frame)
            rows = np.add.reduceat(error, np.arange(0, width, 16), axis=1, dtype=np.int32)
            np.minimum(best, np.add.reduceat(rows, np.arange(0, height, 16), axis=0), out=best)
    return best


class FilterSearch:
    """FFmpeg's `mestimate` (epzs, its fastest good method) through PyAV: both directions, a frame late."""

    def __init__(self, size_px: int) -> None:
        self.graph = av.filter.Graph()
        settings = f"video_size={size_px}x{size_px}:pix_fmt=gray:time_base=1/30:pixel_aspect=1/1"
        chain = (("buffer", settings), ("mestimate", "method=epzs:search_param=16"), ("buffersink", ""))
        nodes = [self.graph.add(name, options or None) for name, options in chain]
        for left, right in pairwise(nodes):
            left.link_to(right)
        self.graph.configure()
        self.count = 0

    def push(self, grey: NDArray[np.uint8]) -> object:
        frame = av.VideoFrame.from_ndarray(grey, format="gray")
        frame.pts = self.count
        self.count += 1
        self.graph.push(frame)
        return self.graph.pull() if self.count > 2 else None


def cases(size_px: int) -> tuple[dict[str, Case], dict[str, str]]:
    """What is timed, and which case is the rival of which."""
    generator = np.random.default_rng(0)
    todo: dict[str, Case] = {}
    rivals: dict[str, str] = {}
    pairs = scenes(size_px, generator)
    for name, (frame, reference) in pairs.items():
        field = search_motion(frame, reference)
        assert np.array_equal(field.difference, block_difference(frame, reference, field.vectors))
        assert (field.difference <= block_difference(frame, reference, np.zeros_like(field.vectors))).all()
        ready = build_pyramid(reference)
        todo[f"search, {name}"] = lambda frame=frame, ready=ready: search_motion(build_pyramid(frame), ready)
    frame, reference = pairs["pan"]
    greys = [build_pyramid(image).grey for image in (frame, reference)]
    mestimate, aligner, turn = FilterSearch(size_px), H264Aligner(), iter(range(10**9))
    for warm_up in range(3):
        mestimate.push(greys[warm_up % 2])
        aligner.align((frame, reference)[warm_up % 2])
    todo["ffmpeg mestimate, pan"] = lambda: mestimate.push(greys[next(turn) % 2])
    todo["x264 vectors, pan"] = lambda: aligner.align((frame, reference)[next(turn) % 2])
    rivals["search, pan"] = "ffmpeg mestimate, pan"
    if size_px == SIZES_PX[0]:
        best = full_search(*greys)
        mine = search_motion(*greys).difference * (255 * 256)
        excess = mine.sum() / best.sum() - 1
        exact = np.mean(mine <= best + 0.5)
        print(
            f"pan, against every place of the window: {exact:.1%} of blocks equal, difference +{excess:.2%}"
        )
        todo["full search in numpy, pan"] = lambda: full_search(*greys)

    vectors = search_motion(frame, reference).vectors
    out = np.empty_like(frame)
    ready = build_pyramid(frame), build_pyramid(reference)
    todo["estimate global motion"] = lambda: estimate_global_motion(*ready)
    todo["image pyramid"] = lambda: build_pyramid(frame)
    todo["warp"] = lambda: warp_image(frame, vectors, 16, out)
    todo["warp in numpy"] = lambda: numpy_warp(frame, vectors)
    assert np.array_equal(numpy_warp(frame, vectors), warp_image(frame, vectors))
    rivals["warp"] = "warp in numpy"
    indices = generator.permutation(vectors.size // 2)[:400]
    for codec in map(block_codec, ("raw", "png", "jpeg")):
        wire = encode_blocks(frame, indices, codec=codec)
        decoded = decode_blocks(wire)
        todo[f"encode 400 blocks, {codec.name}, {len(wire) / 400:.0f} B a block"] = lambda codec=codec: (
            encode_blocks(frame, indices, codec=codec)
        )
        todo[f"decode and apply 400 blocks, {codec.name}"] = lambda wire=wire: apply_blocks(
            reference, decode_blocks(wire)
        )
        assert len(decoded.indices) == 400
    todo["encode vectors"] = lambda: encode_blocks(frame, [], vectors)
    for name in ("raw", "png", "jpeg", "h264", "quantised"):
        codec = make_frame_codec(name)
        codec.encode(frame)
        todo[f"encode frame, {name}"] = lambda codec=codec: codec.encode((frame, reference)[next(turn) % 2])
    sender = PixelDeltaSender()
    todo["pixel delta, pan"] = lambda: sender.encode((frame, reference)[next(turn) % 2])
    todo["embed"] = lambda: embed(frame)
    return todo, rivals


def numpy_warp(image: NDArray[np.uint8], vectors: NDArray[np.int16]) -> NDArray[np.uint8]:
    """The same warp by one gather of pixels."""
    height, width = image.shape[:2]
    rows, columns = vectors.shape[:2]
    x = np.clip(np.arange(columns) * 16 + vectors[..., 0], 0, width - 16)
    y = np.clip(np.arange(rows)[:, None] * 16 + vectors[..., 1], 0, height - 16)
    x = x.repeat(16, axis=0).repeat(16, axis=1) + np.arange(width) % 16
    y = y.repeat(16, axis=0).repeat(16, axis=1) + np.arange(height)[:, None] % 16
    return image[y, x]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    rounds = parser.parse_args().rounds
    fresh = [subprocess.check_output([sys.executable, "-c", FIRST], text=True) for _ in range(2)]
    print("fresh process, compiled before:", fresh[1])  # the first may have compiled
    for size_px in SIZES_PX:
        todo, rivals = cases(size_px)
        times_s: dict[str, list[float]] = {name: [] for name in todo}
        for number in range(rounds + 1):
            for name, case in todo.items():
                if name.startswith("full search") and number > 2:
                    continue
                start = time.perf_counter()
                case()
                if number:  # the first round compiles and warms up
                    times_s[name].append(time.perf_counter() - start)
        medians_s = {name: statistics.median(times) for name, times in times_s.items()}
        print(f"\n{size_px}x{size_px} RGB, ms, median (minimum) of {rounds} interleaved rounds")
        for name, median_s in medians_s.items():
            ratio = (
                f"   {medians_s[rivals[name]] / median_s:.1f}x as fast as {rivals[name]}"
                if name in rivals
                else ""
            )
            print(f"{name:48s} {median_s * 1e3:8.2f} ({min(times_s[name]) * 1e3:.2f}){ratio}")


if __name__ == "__main__":
    main()
