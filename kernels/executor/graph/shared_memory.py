"""Memory that several tensors share: which view each is, and which parts were changed in place.

A view is a chain of steps from the tensor that owns the memory (the root). After one of them is changed in
place, the others are out of date; their values follow from the changed parts, put back along the chains.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import torch

from kernels.executor.graph.module_trace import TracedValue

_aten = torch.ops.aten
_ALIASES = {"alias", "detach", "lift_fresh"}
_RESHAPES = {"view", "_unsafe_view", "_reshape_alias", "unsqueeze", "squeeze"}


@dataclass(frozen=True, slots=True)
class ViewStep:
    """One view: `function(parent, *args, **kwargs)`, with shapes and dtypes of the view and of its parent."""

    function: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    shape: tuple[int, ...]
    dtype: torch.dtype
    parent_shape: tuple[int, ...]
    parent_dtype: torch.dtype

    @property
    def name(self) -> str:
        return str(self.function._schema.name).removeprefix("aten::")

    @property
    def can_be_put_back(self) -> bool:
        """Whether `put_back` knows this view."""
        known = {*_ALIASES, *_RESHAPES, "slice", "select", "permute", "transpose", "t"}
        return self.name in known and self.dtype == self.parent_dtype

    def put_back(self, parent: Any, value: Any) -> tuple[Any, tuple[Any, ...]] | None:
        """The call that makes the parent anew, with this view of it replaced; None if it is the view."""
        if self.name in _ALIASES:
            return None
        if self.name in _RESHAPES:
            return _aten.view.default, (value, list(self.parent_shape))
        if self.name == "permute":
            axes = [axis % len(self.shape) for axis in self.args[0]]
            return _aten.permute.default, (value, [axes.index(axis) for axis in range(len(axes))])
        if self.name in ("transpose", "t"):
            return self.function, (value, *self.args)
        scatter = _aten.slice_scatter.default if self.name == "slice" else _aten.select_scatter.default
        return scatter, (parent, value, *self.args)


@dataclass(frozen=True, slots=True)
class Change:
    """An in-place change of one view.

    Attributes:
        chain: the view; None if how it lies in the memory is not known.
        value: what the view holds since then.
        where: the submodule and the call, for messages.
    """

    chain: tuple[ViewStep, ...] | None
    value: TracedValue
    where: str


@dataclass(slots=True)
class SharedMemory:
    """One piece of memory.

    Attributes:
        root: the tensor that owns it; kept, so that its address is no other's.
        value: of the root with the first `applied` changes; None for a constant that nothing has changed.
        changes: in order.
    """

    root: torch.Tensor
    value: Any
    changes: list[Change] = field(default_factory=list)
    applied: int = 0

    def can_apply(self) -> bool:
        """Whether all outstanding changes can be put back."""
        return all(
            change.chain is not None and all(step.can_be_put_back for step in change.chain)
            for change in self.outstanding()
        )

    def outstanding(self) -> list[Change]:
        """Changes that `value` lacks; a later change of the same view contains the earlier one."""
        changes = self.changes[self.applied :]
        return [
            change
            for number, change in enumerate(changes)
            if not any(later.chain is change.chain for later in changes[number + 1 :])
        ]


@dataclass(slots=True)
class Member:
    """A tensor and its place in a memory.

    Attributes:
        chain: from the root; None if it is not known.
        value: number of its traced value; None for a constant.
        version: how many changes of the memory `value` contains.
    """

    memory: SharedMemory
    chain: tuple[ViewStep, ...] | None
    value: int | None
    version: int


def view_steps(func: Any, args: Any, kwargs: Any, result: Any) -> list[ViewStep]:
    """The views that a call made of its first argument, one a result; nothing if it made none."""
    name = func._schema.name.removeprefix("aten::")
    returns = func._schema.returns
    is_view = any(one.alias_info is not None and not one.alias_info.is_write for one in returns)
    if not (is_view or name == "_unsafe_view") or not args or not isinstance(args[0], torch.Tensor):
        return []
    source = args[0]

    def step(item: torch.Tensor, function: Any, rest: tuple[Any, ...], **named: Any) -> ViewStep:
        shapes = tuple(item.shape), item.dtype, tuple(source.shape), source.dtype
        return ViewStep(function, rest, named, *shapes)

    if isinstance(result, torch.Tensor):
        return [step(result, func, tuple(args[1:]), **kwargs)]
    if name in ("split", "split_with_sizes"):
        axis = int(args[2]) if len(args) > 2 else int(kwargs.get("dim", 0))
        edges = [0]
        for item in result:
            edges.append(edges[-1] + item.shape[axis])
        slices = pairwise(edges)
        return [
            step(item, _aten.slice.Tensor, (axis, first, end))
            for item, (first, end) in zip(result, slices, strict=True)
        ]
    if name == "unbind":
        axis = int(args[1]) if len(args) > 1 else int(kwargs.get("dim", 0))
        return [step(item, _aten.select.int, (axis, number)) for number, item in enumerate(result)]
    return []
