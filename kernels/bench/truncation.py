"""The ε profile of the `truncate` policy: how much may be pruned, given how the frame moves.

Offline, for pairs of frames of real videos, the network runs sparse at a grid of ε and is compared with its
dense output. For each pair the largest ε is taken that adds no more than a tolerance to the error that ε = 0
leaves (what the motion itself costs); pairs that move alike share a row (remap paper, challenge C2).
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.utils import _pytree as pytree

from kernels.executor import SparseExecutor
from kernels.executor.calibration.truncation_profile import MotionStatistics, TruncationProfile, TruncationRow
from kernels.motion.search import search_motion

EPSILONS = (0.0, 0.02, 0.05, 0.1, 0.2, 0.4, 0.8)
IMAGES = (".png", ".jpg", ".jpeg", ".bmp")


@dataclass(frozen=True, slots=True)
class TruncationSample:
    """One pair of frames, run sparse at one ε.

    Attributes:
        statistics: how the frame moves.
        epsilon: share of each layer's standard deviation.
        error: mean |sparse − dense| over the outputs, each in units of its own standard deviation.
        reused: mean share of positions not computed.
        cost: time of the sparse run over that of the dense one; NaN where it was not taken.
    """

    statistics: MotionStatistics
    epsilon: float
    error: float
    reused: float
    cost: float = math.nan


def read_frames(path: Path, size_px: int, most: int) -> Iterator[NDArray[np.uint8]]:
    """Up to `most` frames of a video file, or of a folder of images in order, as RGB of size_px × size_px.

    Raises:
        ValueError: nothing there that can be read.
    """
    from PIL import Image

    if path.is_dir():
        files = sorted(file for file in path.iterdir() if file.suffix.lower() in IMAGES)
        if not files:
            raise ValueError(f"{path}: expected images ({', '.join(IMAGES)}), found none")
        for file in files[:most]:
            with Image.open(file) as image:
                yield np.asarray(image.convert("RGB").resize((size_px, size_px)))
        return
    import av

    try:
        with av.open(str(path)) as container:
            for index, frame in enumerate(container.decode(video=0)):
                if index >= most:
                    return
                yield np.asarray(frame.to_ndarray(format="rgb24", width=size_px, height=size_px), np.uint8)
    except (OSError, IndexError, av.FFmpegError) as error:
        raise ValueError(f"{path}: expected a video, found: {error}") from error


def measure(
    model: nn.Module,
    frames: Sequence[NDArray[np.uint8]],
    threshold: float = 0.025,
    gaps: Sequence[int] = (1, 2, 4),
    epsilons: Sequence[float] = EPSILONS,
) -> Iterator[TruncationSample]:
    """Run pairs of frames, `gaps` apart, at every ε.

    Args:
        model: in eval mode, of RGB in [0, 1].
        frames: uint8 (H, W, 3), H and W multiples of 16.
        threshold: τ of the miss classifier.
        gaps: distances between a frame and its reference: longer ones move more.
        epsilons: grid, its first value 0.
    """
    executor = SparseExecutor(model, "truncate")
    for start in range(0, len(frames) - max(gaps), max(gaps)):
        _, cache = executor.dense(_tensor(frames[start]))
        for gap in gaps:
            image = frames[start + gap]
            field = search_motion(image, frames[start])
            active = torch.from_numpy(field.difference >= threshold)
            vectors = torch.from_numpy(field.vectors.astype(np.int32))
            if bool(active.all()):
                continue  # nothing to reuse, and nothing to prune
            frame = _tensor(image)
            began_s = time.thread_time()
            truth, _ = executor.dense(frame)
            dense_s = time.thread_time() - began_s
            statistics = MotionStatistics.of(active, vectors)
            for epsilon in epsilons:
                executor.truncation = TruncationProfile((TruncationRow(0.0, 0.0, 0.0, epsilon),))
                began_s = time.thread_time()
                made, _, report = executor.sparse(frame, active, vectors, cache)
                cost = (time.thread_time() - began_s) / dense_s
                reused = float(np.mean(list(report.reused.values())))
                yield TruncationSample(statistics, epsilon, _error(made, truth), reused, cost)


@dataclass(frozen=True, slots=True)
class EpsilonEffect:
    """What one ε did over all samples: the median cost, and means of the rest.

    Attributes:
        added: error beyond that of each frame's smallest.
        tolerated: share of frames to which it added no more than the tolerance.
    """

    epsilon: float
    reused: float
    cost: float
    error: float
    added: float
    tolerated: float


def epsilon_effects(samples: Sequence[TruncationSample], tolerance: float) -> list[EpsilonEffect]:
    """The trade that a choice of ε makes, smallest ε first; `tolerance` as in `build_profile`."""
    floor: dict[MotionStatistics, float] = {}
    for sample in samples:
        floor[sample.statistics] = min(sample.error, floor.get(sample.statistics, math.inf))
    found = []
    for epsilon in sorted({sample.epsilon for sample in samples}):
        runs = [sample for sample in samples if sample.epsilon == epsilon]
        added = [run.error - floor[run.statistics] for run in runs]
        found.append(
            EpsilonEffect(
                epsilon=epsilon,
                reused=float(np.mean([run.reused for run in runs])),
                cost=float(np.median([run.cost for run in runs])),
                error=float(np.mean([run.error for run in runs])),
                added=float(np.mean(added)),
                tolerated=float(np.mean([one <= tolerance for one in added])),
            )
        )
    return found


def build_profile(samples: Sequence[TruncationSample], tolerance: float, bins: int = 3) -> TruncationProfile:
    """Choose ε for frames that move alike.

    Samples are cut into `bins` of equal number by the mean length of their vectors, each of these by their
    active share; a bin takes the lower quartile of its frames' largest tolerable ε.

    Args:
        samples: of any number of frames, every ε of a frame together.
        tolerance: error that ε may add, in standard deviations of an output.

    Raises:
        ValueError: no samples.
    """
    frames: dict[MotionStatistics, list[TruncationSample]] = {}
    for sample in samples:
        frames.setdefault(sample.statistics, []).append(sample)
    if not frames:
        raise ValueError("samples: expected at least one frame with something to reuse, found none")
    chosen = []
    for statistics, runs in frames.items():
        floor = min(run.error for run in runs)
        chosen.append((statistics, max(run.epsilon for run in runs if run.error <= floor + tolerance)))
    rows = []
    by_length = sorted(chosen, key=lambda one: one[0].length_px)
    for group in _split(by_length, bins):
        by_activity = sorted(group, key=lambda one: one[0].active_ratio)
        rows += [_row(cell) for cell in _split(by_activity, bins)]
    return TruncationProfile(tuple(rows))


def _row(cell: list[tuple[MotionStatistics, float]]) -> TruncationRow:
    return TruncationRow(
        length_px=float(np.mean([statistics.length_px for statistics, _ in cell])),
        spread_px=float(np.mean([statistics.spread_px for statistics, _ in cell])),
        active_ratio=float(np.mean([statistics.active_ratio for statistics, _ in cell])),
        epsilon=float(np.quantile([epsilon for _, epsilon in cell], 0.25)),
    )


def _split(values: list[Any], parts: int) -> Iterator[list[Any]]:
    for piece in np.array_split(np.arange(len(values)), parts):
        if len(piece):
            yield [values[index] for index in piece]


def _tensor(image: NDArray[np.uint8]) -> torch.Tensor:
    return torch.tensor(image).permute(2, 0, 1)[None].float().div(255.0)


def _error(made: Any, truth: Any) -> float:
    pairs = zip(pytree.tree_leaves(made), pytree.tree_leaves(truth), strict=True)
    return float(np.mean([float((one - two).abs().mean() / two.std().clamp(min=1e-6)) for one, two in pairs]))
