"""``python -m kernels.bench.tasks``: what reuse buys the small networks of the scenes, and costs.

Held-out scenes, the frame before as reference, no dense refresh after the first frame, one thread. Times are
medians of ratios, sparse over dense on the same frame, one after the other; agreement is each task's own
measure, with dense inference on the frame.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from kernels.executor import SparseExecutor
from kernels.models.composed_scenes import HELD_OUT_SEEDS, PRESET_NAMES, composed_frames
from kernels.models.network import KeypointSceneNetwork, Network, SceneNetwork, TokenSceneNetwork
from kernels.models.predictions.tasks import agreement
from kernels.motion.search import search_motion

SIDE_PX, THRESHOLD = 640, 0.025
NETWORKS: dict[str, Network] = {
    "default": SceneNetwork(SceneNetwork.Options()),
    "default-tokens": TokenSceneNetwork(TokenSceneNetwork.Options()),
    "default-keypoints": KeypointSceneNetwork(KeypointSceneNetwork.Options()),
}


def timed(run: Callable[..., Any], *arguments: Any) -> tuple[float, Any]:
    """Seconds of this thread's processor time, and what came of it."""
    began_s = time.thread_time()
    made = run(*arguments)
    return time.thread_time() - began_s, made


def measure(network: Network, margin_px: int, seeds: tuple[int, ...], frames: int) -> list[tuple[float, ...]]:
    """(share of active blocks, sparse over dense time, agreement) of each frame after a scene's first."""
    executor = SparseExecutor(network.load(None), "fixed", margin_px=margin_px)
    rows: list[tuple[float, ...]] = []
    for preset in PRESET_NAMES:
        for seed in seeds:
            images, _ = composed_frames(preset, seed, range(frames), SIDE_PX)
            shown = [torch.tensor(image).permute(2, 0, 1)[None].float() / 255 for image in images]
            _, cache = executor.dense(shown[0])
            for index in range(1, frames):
                field = search_motion(images[index], images[index - 1])
                active, vectors = (
                    torch.from_numpy(field.difference >= THRESHOLD),
                    torch.from_numpy(field.vectors),
                )
                sparse_s, (outputs, cache, _) = timed(executor.sparse, shown[index], active, vectors, cache)
                cache.settle()  # in idle time, as in the profiler
                dense_s, (truth, _) = timed(executor.dense, shown[index])
                found, expected = (network.interpret(o, SIDE_PX, SIDE_PX) for o in (outputs, truth))
                rows.append((float(active.float().mean()), sparse_s / dense_s, agreement(found, expected)))
    return rows


def main(arguments: list[str] | None = None) -> int:
    """Print a row for each network and margin."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=12, help="of each scene")
    parser.add_argument("--seeds", type=int, default=1, help="scenes of each preset")
    chosen = parser.parse_args(arguments)
    torch.set_num_threads(1)
    print("| network | margin, px | active | time over dense | agreement |\n|---|---|---|---|---|")
    for name, network in NETWORKS.items():
        for margin_px in (0, 16):
            rows = np.array(measure(network, margin_px, HELD_OUT_SEEDS[: chosen.seeds], chosen.frames))
            active, ratio, agreed = rows[:, 0].mean(), np.median(rows[:, 1]), rows[:, 2].mean()
            print(f"| `{name}` | {margin_px} | {active:.3f} | {ratio:.2f} | {agreed:.3f} |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
