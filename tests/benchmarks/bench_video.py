"""What a frame of video costs, by source, and a drawn frame without pixels.

    python -m tests.benchmarks.bench_video [folder of clips and sequences]

Prints the median and the best milliseconds of a frame that is not held in a cache, sources interleaved.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from itertools import count
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from traces.video.block_statistics import BlockStatistics
from traces.video.loading import load_video
from traces.video.scenes.scene import Scene
from traces.video.sequence import RepeatedVideo, Resizer, resize_geometry

ROOT = Path(__file__).resolve().parent.parent.parent
REPEATS = 60


def sources(folder: Path) -> dict[str, Callable[[int], Any]]:
    """What to time, by name; each takes the number of a frame."""
    pixels = np.random.default_rng(0).integers(0, 256, (480, 854, 3), dtype=np.uint8)
    letterbox = Resizer(resize_geometry(480, 854, 640, "letterbox"))
    small, large = (Scene("walk", 0, 300, side, cache_bytes=0) for side in (640, 1024))
    timed: dict[str, Callable[[int], Any]] = {
        "resize 854x480 to 640²": lambda i: letterbox.image(pixels),
        "scene 640²": small.image,
        "scene 1024²": large.image,
        "scene 640², vectors": lambda i: small.vectors(i + 1, i),
    }
    for name in ("davis/blackswan", "udacity_solidWhiteRight.mp4"):
        if (folder / name).exists():
            timed[f"{name} 640²"] = RepeatedVideo(load_video(folder / name), REPEATS + 2, "loop").image
    sampler = BlockStatistics.load(ROOT / "conf" / "video" / "statistics" / "scene_walk.yaml").sampler(0)
    frames = count()

    def draw(_: int) -> None:
        for _ in range(1000):
            sampler.active_fraction(next(frames), 7)

    timed["1000 drawn frames"] = draw
    return timed


def main() -> None:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT.parent / "shared" / "data" / "videos"
    timed = sources(folder)
    taken: dict[str, list[float]] = {name: [] for name in timed}
    for index in range(REPEATS + 1):
        for name, run in timed.items():
            began_s = time.perf_counter()
            run(index)
            if index:  # the first compiles or opens
                taken[name].append(1e3 * (time.perf_counter() - began_s))
    print(f"{'':36}{'median ms':>10}{'best ms':>10}")
    for name, milliseconds in taken.items():
        print(f"{name:36}{median(milliseconds):10.2f}{min(milliseconds):10.2f}")


if __name__ == "__main__":
    main()
