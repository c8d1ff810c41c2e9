"""Tracing a module: it runs once on a real frame, and every ATen call it makes is recorded.

The recorder is a `TorchDispatchMode`: it sees the ATen calls below autograd and below the module's Python, so
lists, splits, loops over layers and shape arithmetic need no rewriting. The price is that a trace holds for
one frame size, and that what depends on tensor *values* cannot be traced; both are detected and refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import get_ident
from typing import Any

import torch
from torch import nn
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

_UNSUPPORTED = (
    nn.RNNBase,
    nn.RNNCellBase,
    nn.Conv1d,
    nn.Conv3d,
    nn.ConvTranspose1d,
    nn.ConvTranspose3d,
    nn.Embedding,
    nn.EmbeddingBag,
    nn.MaxUnpool2d,
    nn.LazyConv2d,
)
_STATEFUL = (nn.modules.batchnorm._BatchNorm, nn.modules.dropout._DropoutNd)


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


def check_module(model: nn.Module) -> None:
    """Refuse, before anything runs, what no trace could represent.

    Raises:
        UnsupportedModule: recurrent, 1-D, 3-D, embedding or unpooling layers; layers in training mode whose
            result depends on it; parameters that are not float32.
    """
    for path, module in model.named_modules():
        kind, where = type(module).__name__, f"model.{path}".removesuffix(".")
        if isinstance(module, torch.jit.ScriptModule):
            raise UnsupportedModule(f"{where}: a scripted module; give the nn.Module that it was made from")
        if isinstance(module, _UNSUPPORTED):
            raise UnsupportedModule(f"{where}: {kind} is not supported (2-D feature maps only)")
        if module.training and isinstance(module, _STATEFUL):
            raise UnsupportedModule(f"{where}: {kind} is in training mode; call model.eval() first")
    for path, parameter in model.named_parameters():
        if parameter.dtype != torch.float32:
            raise UnsupportedModule(f"model.{path}: parameters must be float32 (got {parameter.dtype})")


def trace_module(model: nn.Module, frame: torch.Tensor) -> ModuleTrace:
    """Run `model` on `frame` (1, C, H, W) and record it.

    Raises:
        UnsupportedModule: control flow or shapes that depend on values, random numbers, in-place changes of a
            part of a tensor, or a result that is no nest of tensors.
        ValueError: the model itself fails on such a frame.
    """
    recorder = _Recorder(frame)
    try:
        with torch.no_grad(), _paths(model, recorder), recorder:
            result = model(frame)
    except RuntimeError as error:
        size = tuple(frame.shape)
        raise ValueError(
            f"frame of shape {size} does not go through the model: at {recorder.here()}: {error}"
        ) from error
    leaves, structure = pytree.tree_flatten(result)
    record = recorder.trace
    for leaf in leaves:
        if isinstance(leaf, torch.Tensor):
            value = recorder.value_of(leaf)
            record.outputs.append(recorder.copy_of(leaf) if value is None else TracedValue(value))
        elif leaf is None or isinstance(leaf, (bool, int, float, str)):
            record.outputs.append(leaf)
        else:
            raise UnsupportedModule(
                f"model: returns a {type(leaf).__name__}; expected tensors in tuples, lists or dicts"
            )
    record.structure = structure
    return record


@contextmanager
def _paths(model: nn.Module, recorder: _Recorder) -> Iterator[None]:
    """Tell the recorder which submodule is running."""
    handles = []
    for path, module in model.named_modules():
        handles.append(module.register_forward_pre_hook(recorder.entering(path)))
        handles.append(module.register_forward_hook(recorder.leaving))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


class _Recorder(TorchDispatchMode):
    def __init__(self, frame: torch.Tensor) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.trace = ModuleTrace()
        self.stack = [""]
        self._thread = get_ident()  # hooks of a module run in every thread that calls it
        self._values: dict[int, int] = {}  # id of a tensor -> its value; `_kept` keeps ids from being reused
        self._kept: list[torch.Tensor] = []
        self._copies: dict[tuple[int, int], torch.Tensor] = {}  # of a constant by its id and version
        self._sharers: dict[int, set[int]] = {}  # storage address -> ids of traced tensors in it
        self._new_value(frame)

    def entering(self, path: str) -> Any:
        def enter(module: nn.Module, inputs: Any) -> None:
            if get_ident() == self._thread:
                self.stack.append(path)

        return enter

    def leaving(self, module: nn.Module, inputs: Any, output: Any) -> None:
        if get_ident() == self._thread:
            self.stack.pop()

    def value_of(self, tensor: torch.Tensor) -> int | None:
        return self._values.get(id(tensor))

    def copy_of(self, constant: torch.Tensor) -> torch.Tensor:
        """A constant as it is now: the model may change it later in this run, and its owner afterwards."""
        known = id(constant), 0 if constant.is_inference() else constant._version
        if known not in self._copies:
            self._kept.append(constant)
            self._copies[known] = constant.detach().clone()
        return self._copies[known]

    def _new_value(self, tensor: torch.Tensor) -> int:
        value = len(self.trace.shapes)
        self._values[id(tensor)] = value
        self._kept.append(tensor)
        self._sharers.setdefault(tensor.untyped_storage().data_ptr(), set()).add(id(tensor))
        self.trace.shapes.append(tuple(tensor.shape))
        self.trace.dtypes.append(tensor.dtype)
        return value

    def here(self) -> str:
        """The submodule that is running, as in "model.backbone.0"."""
        return f"model.{self.stack[-1]}".removesuffix(".")

    def _refuse(self, reason: str) -> None:
        raise UnsupportedModule(f"{self.here()}: {reason}")

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        flat = [leaf for leaf in pytree.tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)]
        if all(self.value_of(leaf) is None for leaf in flat):
            # Nothing here depends on the frame's values: a constant of this frame size.
            if torch.Tag.nondeterministic_seeded in func.tags:
                self._refuse(f"{func} draws random numbers")
            return func(*args, **kwargs)
        if torch.Tag.dynamic_output_shape in func.tags or torch.Tag.data_dependent_output in func.tags:
            self._refuse(f"{func} makes control flow or shapes depend on values")
        if torch.Tag.nondeterministic_seeded in func.tags and func._schema.name != (
            "aten::_scaled_dot_product_flash_attention_for_cpu"
        ):
            self._refuse(f"{func} draws random numbers")
        if func._schema.name == "aten::as_strided":
            self._refuse(f"{func} addresses memory, whose order is another inside")
        recorded_args, recorded_kwargs = pytree.tree_map(self._recorded, (args, kwargs))
        function = self._functional(func, args)
        result = func(*args, **kwargs)
        made = result if isinstance(result, (tuple, list)) else (result,)
        results = tuple(self._new_value(item) if isinstance(item, torch.Tensor) else -1 for item in made)
        self.trace.calls.append(
            RecordedCall(function, tuple(recorded_args), recorded_kwargs, results, self.stack[-1])
        )
        return result

    def _recorded(self, leaf: Any) -> Any:
        if not isinstance(leaf, torch.Tensor):
            return leaf
        value = self.value_of(leaf)
        return self.copy_of(leaf) if value is None else TracedValue(value)

    def _functional(self, func: Any, args: Any) -> Any:
        """`func`, or for an in-place operation its functional twin, if replaying that means the same."""
        if not func._schema.is_mutable:
            return func
        name = func._schema.name.removeprefix("aten::")
        target = args[0]
        if not name.endswith("_") or not hasattr(torch.ops.aten, name[:-1]) or name == "copy_":
            self._refuse(f"{func} changes a part of a tensor in place")
        if self._sharers.get(target.untyped_storage().data_ptr(), set()) - {id(target)}:
            self._refuse(f"{func} changes a tensor in place while a view of it exists")
        return getattr(getattr(torch.ops.aten, name[:-1]), func._overloadname)
