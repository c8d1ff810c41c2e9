"""Several frames in one call: whether a module treats the samples of a batch apart, and their results.

The executor runs the samples of a batch one after another, so it gives what as many calls would. That is the
module's own result only if it does not mix them, which is tried once a frame size: the module on two frames
at once must give what it gives for each.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.utils import _pytree as pytree

from kernels.executor.graph.module_trace import UnsupportedModule
from kernels.executor.graph.recorder import Recorder
from kernels.executor.graph.tracing import record_run
from kernels.executor.graph.verification import another_frame, has_jumps, leaf_difference

_TOLERANCE = 1e-3  # of the largest number in a tensor: sums run in another order over a batch


@dataclass(frozen=True, slots=True)
class SampleAxes:
    """Where the samples of a batch lie in a module's result.

    Attributes:
        axes: for each leaf, the axis along which those of the samples lie one after another; None for what is
            the same for any batch.
    """

    axes: tuple[int | None, ...]

    def join(self, results: Sequence[Any]) -> Any:
        """The result for a batch, from that of each sample alone."""
        flat = [pytree.tree_flatten(result) for result in results]
        leaves = [
            flat[0][0][number] if axis is None else torch.cat([one[0][number] for one in flat], axis)
            for number, axis in enumerate(self.axes)
        ]
        return pytree.tree_unflatten(leaves, flat[0][1])


def find_sample_axes(model: nn.Module, frame: torch.Tensor) -> SampleAxes:
    """Run a module on two frames like `frame` (1, C, H, W), together and one by one, and compare.

    Raises:
        UnsupportedModule: it mixes the samples of a batch, or takes only one; with the path of the submodule.
    """
    frames = frame.clone(memory_format=torch.contiguous_format), _unlike(frame)
    alone = [_run(model, one) for one in frames]
    try:
        together = _run(model, torch.cat(frames))
    except ValueError as error:
        raise UnsupportedModule(f"runs on one sample at a time only: {error}") from error
    jumps = has_jumps(alone[0][1].trace)
    axes: list[int | None] = []
    for number, made in enumerate(together[0]):
        fits: tuple[bool, int | None] = (False, None)
        if len(together[0]) == len(alone[0][0]):
            fits = _axis_of(made, (alone[0][0][number], alone[1][0][number]), jumps)
        if not fits[0]:
            path = _first_mixed(together[1], [recorder for _, recorder in alone])
            raise UnsupportedModule(f"model{path}: mixes the samples of a batch; give it one frame at a time")
        axes.append(fits[1])
    return SampleAxes(tuple(axes))


def _unlike(frame: torch.Tensor) -> torch.Tensor:
    """Noise of another mean, spread, least and largest number than a frame, so that those of both show."""
    noise = another_frame(frame)
    low, high = noise.min(), noise.max()
    finite = frame[frame.isfinite()]
    is_bright = finite.numel() > 0 and bool(finite.mean() > (low + high) / 2)
    return low + 0.1 * (high - low) + 0.3 * (noise - low) + (0 if is_bright else 0.5 * (high - low))


def _run(model: nn.Module, frame: torch.Tensor) -> tuple[list[Any], Recorder]:
    recorder = Recorder(frame)
    return record_run(model, frame, recorder), recorder


def _axis_of(made: Any, parts: tuple[Any, Any], jumps: bool = False) -> tuple[bool, int | None]:
    """Whether a leaf of a batch is that of its samples, and along which axis they lie; None: it is each."""

    def same(one: Any, other: Any) -> bool:
        return leaf_difference(one, other, _TOLERANCE, jumps) is None

    if not isinstance(made, torch.Tensor) or not all(isinstance(part, torch.Tensor) for part in parts):
        return all(same(made, part) for part in parts), None
    if made.shape == parts[0].shape:
        return all(same(made, part) for part in parts), None
    for axis in range(made.dim()):
        size = list(parts[0].shape)
        if len(size) == made.dim():
            size[axis] *= 2
            if list(made.shape) == size and all(map(same, made.chunk(2, axis), parts)):
                return True, axis
    return False, None


def _first_mixed(together: Recorder, alone: Sequence[Recorder]) -> str:
    """The path of the first call whose result is not that of the samples, after a dot; or nothing."""
    calls = zip(together.trace.calls, alone[0].trace.calls, strict=False)
    for call, single in calls:
        if call.name != single.name or call.results != single.results:
            return f".{call.path}".removesuffix(".")
        for value in call.results:
            found = [recorder.unchanged_tensor(value) for recorder in (together, *alone)]
            made, first, second = found
            if value < 0 or made is None or first is None or second is None:
                continue
            if not _axis_of(made, (first, second), has_jumps(together.trace))[0]:
                return f".{call.path}".removesuffix(".")
    return ""
