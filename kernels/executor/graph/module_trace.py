"""The trace of a module: the ATen calls of one run, in order, with numbers for the tensors between them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch


class UnsupportedModule(ValueError):
    """The model does what cannot be traced or replayed; the message has the path of the submodule."""


@dataclass(frozen=True, slots=True)
class TracedValue:
    """A traced tensor in the arguments of a recorded call, by its index in the trace."""

    index: int


@dataclass(frozen=True, slots=True)
class RecordedCall:
    """One recorded operation.

    Attributes:
        function: the ATen overload, of its functional form.
        args, kwargs: as called, with `TracedValue` for traced tensors; other tensors are constants, copied.
        results: indices of the values it made, in order (one for a single tensor).
        path: the submodule that was running ("" is the model itself).
    """

    function: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    results: tuple[int, ...]
    path: str

    @property
    def name(self) -> str:
        """The operation's name without its overload, e.g. "convolution", or that of a lowering's function."""
        schema = getattr(self.function, "_schema", None)
        return str(self.function.__name__ if schema is None else schema.name).removeprefix("aten::")

    @property
    def is_reinterpreted(self) -> bool:
        """Whether it takes the bits of a tensor for numbers of another dtype."""
        return self.name == "view" and len(self.args) > 1 and isinstance(self.args[1], torch.dtype)


@dataclass(slots=True)
class ModuleTrace:
    """The calls of a module on one frame. Traced values are numbered in order; value 0 is the frame.

    Attributes:
        calls: in order.
        shapes: shape of every value.
        dtypes: dtype of every value.
        outputs: the module's result with `TracedValue` leaves, flattened.
        structure: the pytree that `outputs` belong to.
    """

    calls: list[RecordedCall] = field(default_factory=list)
    shapes: list[tuple[int, ...]] = field(default_factory=list)
    dtypes: list[torch.dtype] = field(default_factory=list)
    outputs: list[Any] = field(default_factory=list)
    structure: Any = None


def first_line(error: BaseException) -> str:
    """What an error says, for a message of one line."""
    return str(error).strip().partition("\n")[0]
