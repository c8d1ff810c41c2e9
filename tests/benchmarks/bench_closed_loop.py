"""Closed-loop frames per second with real pixels: FluxShard with its two references, at 640² and 1024².

    python -m tests.benchmarks.bench_closed_loop [frames]

Searches, encodes, decodes and updates both ends for every frame; the video is drawn beforehand, its cost is
printed beside. The rival in the same run is the ablation without motion search (zero vectors).
"""

from __future__ import annotations

import sys
import time
from statistics import median
from typing import Any

from sim.assembly import assemble
from sim.configuration import read_config

REPEATS = 5
TARGETS = {640: 90.0, 1024: 35.0}


def configuration(side_px: int, aligner: str, frames: int) -> dict[str, Any]:
    """One camera, every frame processed."""
    return {
        "system": {"name": "fluxshard_ea"},
        "model": "yolo11m-seg" if side_px == 640 else "yolo11m-seg-1024",
        "trace": {"name": "medium", "mean_mbps": 56.0},
        "arrival": {"policy": "closed_loop"},
        "matching": {"aligner": aligner},
        "frames": frames,
    }


def main() -> None:
    frames = int(sys.argv[1]) if len(sys.argv) > 1 else 150
    print(f"{'size':>5} {'aligner':>8} {'best/s':>8} {'median/s':>9} {'target':>7} {'drawing ms':>11}")
    for side_px, target in TARGETS.items():
        images: dict[int, Any] = {}
        rates: dict[str, list[float]] = {"search": [], "none": []}
        drawing_ms = 0.0
        for _ in range(REPEATS):
            for aligner, values in rates.items():
                simulation = assemble(read_config(configuration(side_px, aligner, frames))).simulation
                camera = simulation.cameras[0]
                if not images:
                    assert camera.image is not None
                    began_s = time.perf_counter()
                    images = {index: camera.image(index) for index in range(frames)}
                    drawing_ms = 1e3 * (time.perf_counter() - began_s) / frames
                camera.image = images.__getitem__
                began_s = time.perf_counter()
                simulation.run()
                values.append(frames / (time.perf_counter() - began_s))
        for aligner, values in rates.items():
            print(
                f"{side_px:5d} {aligner:>8} {max(values):8.1f} {median(values):9.1f} "
                f"{target if aligner == 'search' else float('nan'):7.0f} {drawing_ms:11.2f}"
            )


if __name__ == "__main__":
    main()
