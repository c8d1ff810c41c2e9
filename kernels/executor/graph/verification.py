"""Whether a trace holds for other frames: the module runs on two, and must do the same on both.

A trace is of one frame. What a module takes from a frame where no recorder sees it (through NumPy, say), what
it keeps from one call for the next, and what it decides by values would all be frozen in it. So a module runs
three times: once watched for detours and for tensors that outlive the call, then twice on different frames,
whose traces must agree but for the values of the frame.
"""

from __future__ import annotations

import gc
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.utils import _pytree as pytree

from kernels.executor.graph.module_state import ModuleState, attribute_of
from kernels.executor.graph.module_trace import ModuleTrace, TracedValue, UnsupportedModule
from kernels.executor.graph.recorder import DetourWatch, Recorder
from kernels.executor.graph.tracing import record_run

# Small differences in what these read can be large ones in what they make.
_JUMPS = {
    *("argmax", "argmin", "topk", "sort", "argsort", "max", "min", "median", "mode", "kthvalue", "unique"),
    *("round", "floor", "ceil", "trunc", "frac", "sign", "sgn", "fmod", "remainder", "floor_divide"),
    *("gt", "ge", "lt", "le", "eq", "ne", "isclose", "heaviside", "where", "bucketize", "searchsorted"),
    *("logical_not", "nonzero_static", "grid_sampler_2d", "_to_copy", "histc"),
}
_LARGEST = 1e6  # number of a frame: sums of much larger ones may overflow in one order and not in another
_MOST_DIFFERENT = 0.01  # share of a result behind such a call, or of whole numbers


@dataclass(frozen=True, slots=True)
class VerifiedTrace:
    """A trace that held for a second frame.

    Attributes:
        trace: of the first frame.
        second: that frame.
        result: leaves of what the module made of it.
        recorder: of that run.
    """

    trace: ModuleTrace
    second: torch.Tensor
    result: list[Any]
    recorder: Recorder

    def find_difference(self, result: Iterable[Any], tolerance: float) -> str | None:
        """How what an executor made of the second frame differs from the module's result; None if it agrees.

        Args:
            result: leaves.
            tolerance: of numbers, as a share of the largest in a tensor.
        """
        jumps = has_jumps(self.trace)
        for number, (made, wanted) in enumerate(zip(result, self.result, strict=True)):
            found = leaf_difference(made, wanted, tolerance, jumps)
            if found is not None:
                return f"output {number}: {found}"
        return None


def verified_trace(model: nn.Module, frame: torch.Tensor) -> VerifiedTrace:
    """Trace a module on a frame (1, C, H, W), and make sure that the trace is right for other frames.

    Raises:
        UnsupportedModule: as `trace_module`; values that leave PyTorch, state that a call leaves behind,
            anything else that makes two frames take different ways.
        ValueError: the model itself fails on such a frame.
    """
    second = another_frame(frame)
    early = _rehearse(model, second.clone())
    state = ModuleState.of(model)
    first = Recorder(taken := frame.clone(memory_format=torch.contiguous_format))
    record_run(model, taken, first)
    state.check(model)
    first.forget()
    later = Recorder(taken := second.clone(), first)
    result = record_run(model, taken, later)
    state.check(model)
    _compare_traces(first.trace, later.trace)
    for made, wanted in zip(early, result, strict=True):
        # The first call may set up what later ones use, but its result has to be theirs.
        if leaf_difference(made, wanted, 1e-3, True) is not None:
            raise UnsupportedModule("model: gives another result the second time that it sees a frame")
    return VerifiedTrace(first.trace, second, result, later)


def has_jumps(trace: ModuleTrace) -> bool:
    """Whether small differences in a call's arguments may be large ones in its result."""
    return any(call.name in _JUMPS for call in trace.calls)


def another_frame(frame: torch.Tensor) -> torch.Tensor:
    """Noise in the range of a frame, the same each time; never larger than `_LARGEST`."""
    finite = frame[frame.isfinite()] if frame.device.type != "meta" else frame
    low, high = (float(finite.min()), float(finite.max())) if finite.numel() else (0.0, 1.0)
    low, high = (min(max(end, -_LARGEST), _LARGEST) for end in (low, high))
    if not low < high:
        low, high = low - 0.5, low + 0.5
    noise = torch.rand(frame.shape, generator=torch.Generator().manual_seed(0), dtype=frame.dtype)
    return ((1 - noise) * low + noise * high).to(frame.device)


def leaf_difference(made: Any, wanted: Any, tolerance: float, jumps: bool = False) -> str | None:
    """How a leaf of a result differs from what it should be; None if it agrees.

    Args:
        tolerance: of numbers, as a share of the largest.
        jumps: whether a few may be altogether different.
    """
    if not isinstance(wanted, torch.Tensor) or not isinstance(made, torch.Tensor):
        return None if _same(made, wanted) else f"{made!r}, where the module returns {wanted!r}"
    if made.shape != wanted.shape or made.dtype != wanted.dtype:
        return f"{tuple(made.shape)} {made.dtype}, the module's {tuple(wanted.shape)} {wanted.dtype}"
    if wanted.numel() == 0 or torch.equal(made, wanted):
        return None
    if not (wanted.is_floating_point() or wanted.is_complex()):
        wrong, most = made != wanted, _MOST_DIFFERENT
    else:
        size = wanted.abs().nan_to_num(0.0, 0.0, 0.0).max()
        close = (made - wanted).abs() <= tolerance * size
        wrong = ~(close | (made == wanted) | (made.isnan() & wanted.isnan()))
        most = _MOST_DIFFERENT if jumps else 0.0
    count = int(wrong.sum())
    if count <= most * wrong.numel() or (most and count <= 1):
        return None
    return f"{count} of {wrong.numel()} numbers differ from the module's"


def _rehearse(model: nn.Module, frame: torch.Tensor) -> list[Any]:
    """A first run, whose trace is not used: it may set up constants. Nothing else may be left behind."""
    recorder = Recorder(frame)
    watch = DetourWatch(recorder)
    leaves: list[Any] = []
    try:
        result = record_run(model, frame, recorder, watch)
    except UnsupportedModule:
        if watch.found:
            raise
        return leaves  # under the watch alone, perhaps; the next run shows
    leaves = [leaf.clone() if isinstance(leaf, torch.Tensor) else leaf for leaf in result]
    made = recorder.values_made()
    recorder.forget()  # another thread in the same module may hold the recorder a little longer, by its hooks
    del result, recorder, watch, frame
    if any(tensor() is not None for tensor, _ in made):
        gc.collect()
    for tensor, path in made:
        found = tensor()
        if found is not None:
            path, name = attribute_of(model, found) or (path, "a tensor of the frame")
            where = f"model.{path}".removesuffix(".")
            raise UnsupportedModule(f"{where}: keeps {name} for later calls; such state is not followed")
    return leaves


def _compare_traces(first: ModuleTrace, second: ModuleTrace) -> None:
    for one, other in zip(first.calls, second.calls, strict=False):
        if one.function != other.function or one.results != other.results:
            _refuse(other.path, f"calls {other.name} for one frame and {one.name} for another")
        if not _same((one.args, one.kwargs), (other.args, other.kwargs)):
            _refuse(other.path, f"{other.name} reads a constant that is another for another frame")
    if len(first.calls) != len(second.calls):
        longer = max(first.calls, second.calls, key=len)
        _refuse(longer[min(len(first.calls), len(second.calls))].path, "makes calls for one frame only")
    if first.structure != second.structure or not _same(first.outputs, second.outputs):
        _refuse("", "returns a constant that is another for another frame")


def _refuse(path: str, reason: str) -> None:
    where = f"model.{path}".removesuffix(".")
    raise UnsupportedModule(f"{where}: {reason}; what depends on values or on earlier frames is not followed")


def _same(one: Any, other: Any) -> bool:
    """Whether two nests of arguments are equal; a NaN equals a NaN."""
    flat = pytree.tree_flatten(one), pytree.tree_flatten(other)
    if flat[0][1] != flat[1][1]:
        return False
    return all(map(_same_leaf, flat[0][0], flat[1][0]))


def _same_leaf(one: Any, other: Any) -> bool:
    if one is other:
        return True
    if isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor):
        if one.shape != other.shape or one.dtype != other.dtype:
            return False
        same = one == other
        return bool((same | ((one != one) & (other != other))).all())
    if isinstance(one, TracedValue) or isinstance(other, TracedValue):
        return bool(one == other)
    if isinstance(one, torch.Generator):
        return isinstance(other, torch.Generator)
    return type(one) is type(other) and bool(one == other or (one != one and other != other))
