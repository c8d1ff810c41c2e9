"""The recorder: sees every ATen call of a running module, and writes down those that depend on the frame.

What is changed in place is written down as its functional twin. Other tensors that share the memory are then
out of date: should one be read again, its value is put together from the changed part and the rest.
"""

from __future__ import annotations

from threading import get_ident
from typing import Any
from weakref import ReferenceType, ref

import torch
from torch import nn
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

from kernels.executor.graph.module_trace import ModuleTrace, RecordedCall, TracedValue, UnsupportedModule
from kernels.executor.graph.shared_memory import Change, Member, SharedMemory, ViewStep, view_steps
from kernels.torch_versions import storage_of, tree_leaves

# Tensors of the size of another, whatever its values.
_FACTORIES = {
    *("empty_like", "zeros_like", "ones_like", "full_like"),
    *("new_empty", "new_empty_strided", "new_zeros", "new_ones", "new_full"),
}
_UNINITIALISED = {"empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided"}
# With running statistics and a flag for training in the same places.
_BATCH_NORMS = {"native_batch_norm", "cudnn_batch_norm", "miopen_batch_norm"}
_DETOURS = {
    *("tolist", "numpy", "__array__", "__dlpack__", "__deepcopy__", "__reduce_ex__"),
    *("storage", "untyped_storage", "_typed_storage"),
    "__repr__",  # a text to decide by; str() and format() of a tensor of several numbers are this as well
}
_FROM_NUMBERS = (torch.tensor, torch.as_tensor, torch.asarray)


class Recorder(TorchDispatchMode):
    """Records one run of a module on `frame`, to which the module's own calls have to be made.

    Args:
        frame: value 0 of the trace.
        known: the recorder of another run: constants that have not changed since are not copied again.

    Attributes:
        trace: the calls so far.
        tensors: of each value, the tensor that held it when it was made.
        stack: paths of the submodules that are running, outermost first.
    """

    def __init__(self, frame: torch.Tensor, known: Recorder | None = None) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.trace = ModuleTrace()
        self.tensors: list[torch.Tensor] = []
        self.stack = [""]
        self._made_in: list[str] = []  # of each value, the submodule
        self._thread = get_ident()  # hooks of a module run in every thread that calls it
        self._members: dict[int, Member] = {}  # by id of a tensor; `_kept` keeps ids from being reused
        self._memories: dict[int, SharedMemory] = {}  # by storage
        self._kept: list[torch.Tensor] = []
        self._copies: dict[tuple[int, int], torch.Tensor] = {}  # of a constant by its id and version
        if known is not None:
            self._copies.update(known._copies)
            self._kept += known._constants
        self._constants: list[torch.Tensor] = []
        self._place(frame, self._new_value(frame))

    def entering(self, path: str) -> Any:
        def enter(module: nn.Module, inputs: Any) -> None:
            if get_ident() == self._thread:
                self.stack.append(path)

        return enter

    def leaving(self, module: nn.Module, inputs: Any, output: Any) -> None:
        if get_ident() == self._thread:
            self.stack.pop()

    def here(self) -> str:
        """The submodule that is running, as in "model.backbone.0"."""
        return f"model.{self.stack[-1]}".removesuffix(".")

    def refuse(self, reason: str) -> None:
        raise UnsupportedModule(f"{self.here()}: {reason}")

    def depends_on_frame(self, tensor: torch.Tensor) -> bool:
        """Whether the values of a tensor may be other ones for another frame."""
        member = self._members.get(id(tensor))
        if member is not None and member.value is not None:
            return True
        memory = member.memory if member is not None else self._memories.get(_storage(tensor))
        return memory is not None and bool(memory.changes)

    def read(self, tensor: torch.Tensor) -> TracedValue | torch.Tensor:
        """The value that a tensor has now, or for a constant a copy of it."""
        member = self._members.get(id(tensor))
        if member is None:
            memory = self._memories.get(_storage(tensor))
            if memory is not None and memory.changes:
                self._refuse_change(memory.changes[-1])
            return self._copy_of(tensor)
        memory = member.memory
        if member.version < len(memory.changes):
            self._bring_up_to_date(member)
        return self._copy_of(tensor) if member.value is None else TracedValue(member.value)

    def values_made(self) -> list[tuple[ReferenceType[torch.Tensor], str]]:
        """Weak references to the tensors of all values but the frame, and the submodules that made them."""
        made = zip(self.tensors[1:], self._made_in[1:], strict=True)
        return [
            (ref(tensor), path)
            for tensor, path in made
            if tensor is not _NOTHING and tensor is not self.tensors[0]
        ]

    def forget(self) -> None:
        """Let go of all tensors of the run but the constants."""
        for held in (self.tensors, self._members, self._memories, self._kept):
            held.clear()

    def unchanged_tensor(self, value: int) -> torch.Tensor | None:
        """The tensor that held a value, unless it has been changed in place since then."""
        tensor = self.tensors[value] if value < len(self.tensors) else None
        memory = None if tensor is None else self._memories.get(_storage(tensor))
        return None if tensor is _NOTHING or (memory is not None and memory.changes) else tensor

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = func._schema.name.removeprefix("aten::")
        flat = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)]
        is_random = torch.Tag.nondeterministic_seeded in func.tags
        if (name in _FACTORIES and not is_random) or not any(self.depends_on_frame(leaf) for leaf in flat):
            # Nothing here depends on the frame's values: a constant of this frame size.
            if is_random:
                self.refuse(f"{func} draws random numbers")
            result = func(*args, **kwargs)
            if name in _UNINITIALISED:
                result.zero_()  # alike in every run
            self._follow_views(func, args, kwargs, result)
            return result
        function, *written = self._twin(func, name, args, kwargs)
        recorded_args, recorded_kwargs = pytree.tree_map(self._recorded, tuple(written))
        if torch.Tag.inplace_view in func.tags:
            return self._turn(func, args, kwargs, function, recorded_args)
        if _changes_first(func):
            self._prepare_change(args[0])
            result = func(*args, **kwargs)
            self._finish_change(func, args[0], function, recorded_args, recorded_kwargs)
            return result
        result = func(*args, **kwargs)
        made = result if isinstance(result, (tuple, list)) else (result,)
        results = tuple(self._new_value(item) if isinstance(item, torch.Tensor) else -1 for item in made)
        self._append(function, recorded_args, recorded_kwargs, results)
        self._follow_views(func, args, kwargs, result, results)
        for item, value in zip(made, results, strict=True):
            if isinstance(item, torch.Tensor) and id(item) not in self._members:
                self._place(item, value)
        return result

    def _twin(self, func: Any, name: str, args: Any, kwargs: Any) -> tuple[Any, Any, Any]:
        """What to write down for a call: a function of its arguments alone."""
        if name in ("rrelu_with_noise", "rrelu_with_noise_"):
            given = list(args[2:5])
            lower, upper, training = given + [0.125, 1 / 3, False][len(given) :]
            if training:
                self.refuse(f"{func} draws random numbers")
            return torch.ops.aten.leaky_relu.default, (args[0], (lower + upper) / 2), {}
        depends = {torch.Tag.dynamic_output_shape, torch.Tag.data_dependent_output} & set(func.tags)
        if depends and not (name == "index" and all(map(self._keeps_shape, args[1]))):
            self.refuse(f"{func} makes control flow or shapes depend on values")
        if torch.Tag.nondeterministic_seeded in func.tags and name != (
            "_scaled_dot_product_flash_attention_for_cpu"
        ):
            self.refuse(f"{func} draws random numbers")
        if name == "as_strided":
            self.refuse(f"{func} addresses memory, whose order is another inside")
        if name in _BATCH_NORMS and args[5]:
            # Statistics of this frame: the running ones are not read. Whether they are part of the module's
            # state, a comparison before and after the run shows.
            return func, (*args[:3], None, None, *args[5:]), kwargs
        if not func._schema.is_mutable:
            return func, args, kwargs
        twin = _functional(func, name)
        if twin is None or not _changes_first(func) or name in ("set_", "resize_"):
            self.refuse(f"{func} changes a tensor in place in a way that has no functional form")
        return twin, args, kwargs

    def _keeps_shape(self, index: Any) -> bool:
        """Whether an index makes the same shape for every frame: one of positions, or a constant mask."""
        if index is None or index.dtype not in (torch.bool, torch.uint8):
            return True
        return not self.depends_on_frame(index)

    def _recorded(self, leaf: Any) -> Any:
        return self.read(leaf) if isinstance(leaf, torch.Tensor) else leaf

    def _append(self, function: Any, args: Any, kwargs: Any, results: tuple[int, ...]) -> None:
        self.trace.calls.append(RecordedCall(function, tuple(args), kwargs, results, self.stack[-1]))

    def _copy_of(self, constant: torch.Tensor) -> torch.Tensor:
        """A constant as it is now: the model may change it later in this run, and its owner afterwards."""
        known = id(constant), 0 if constant.is_inference() else constant._version
        if known not in self._copies:
            self._constants.append(constant)
            self._copies[known] = constant.detach().clone()
        return self._copies[known]

    def _new_value(self, tensor: torch.Tensor) -> int:
        self.tensors.append(tensor)
        self._made_in.append(self.stack[-1])
        self.trace.shapes.append(tuple(tensor.shape))
        self.trace.dtypes.append(tensor.dtype)
        return len(self.trace.shapes) - 1

    # Memory that several tensors share.

    def _place(self, tensor: torch.Tensor, value: int | None) -> Member:
        """Enter a tensor that no known call made a view of another."""
        known = self._memories.get(_storage(tensor))
        if known is None:
            leaf = None if value is None else TracedValue(value)
            known = self._memories[_storage(tensor)] = SharedMemory(tensor, leaf)
            return self._enter(tensor, Member(known, (), value, 0))
        return self._enter(tensor, Member(known, None, value, len(known.changes)))

    def _enter(self, tensor: torch.Tensor, member: Member) -> Member:
        self._kept.append(tensor)
        self._members[id(tensor)] = member
        return member

    def _follow_views(
        self, func: Any, args: Any, kwargs: Any, result: Any, values: tuple[int, ...] = ()
    ) -> None:
        steps = view_steps(func, args, kwargs, result)
        if not steps:
            return
        source = args[0]
        member = self._members.get(id(source)) or self._place(source, None)
        made = result if isinstance(result, (tuple, list)) else (result,)
        for number, (item, step) in enumerate(zip(made, steps, strict=True)):
            if item is source or id(item) in self._members:
                continue
            chain = None if member.chain is None else (*member.chain, step)
            value = values[number] if values else None
            self._enter(item, Member(member.memory, chain, value, len(member.memory.changes)))

    def _prepare_change(self, target: torch.Tensor) -> None:
        member = self._members.get(id(target)) or self._place(target, None)
        if member.memory.value is None:
            member.memory.value = self._copy_of(member.memory.root)

    def _finish_change(self, func: Any, target: torch.Tensor, twin: Any, args: Any, kwargs: Any) -> None:
        member, value = self._members[id(target)], self._new_value(target)
        memory = member.memory
        self._append(twin, args, kwargs, (value,))
        memory.changes.append(Change(member.chain, TracedValue(value), f"{self.here()}: {func}"))
        member.value, member.version = value, len(memory.changes)
        if member.chain == ():
            memory.value, memory.applied = TracedValue(value), len(memory.changes)

    def _turn(self, func: Any, args: Any, kwargs: Any, twin: Any, recorded_args: Any) -> Any:
        """The same tensor from now on shows its memory another way, as after `squeeze_`."""
        target = args[0]
        member = self._members.get(id(target)) or self._place(target, None)
        before = tuple(target.shape), target.dtype
        result = func(*args, **kwargs)
        value = self._new_value(target)
        self._append(twin, recorded_args, kwargs, (value,))
        step = ViewStep(twin, tuple(args[1:]), dict(kwargs), tuple(target.shape), target.dtype, *before)
        chain = None if member.chain is None else (*member.chain, step)
        self._members[id(target)] = Member(member.memory, chain, value, member.version)
        return result

    def _bring_up_to_date(self, member: Member) -> None:
        """Put the value of a tensor together after another that shares its memory was changed."""
        memory = member.memory
        changed = memory.changes[-1]
        if member.chain is None or not memory.can_apply():
            self._refuse_change(changed)
        for change in memory.outstanding():
            assert change.chain is not None
            memory.value = self._scatter(memory.value, change.chain, change.value)
        memory.applied = len(memory.changes)
        leaf = memory.value
        for step in member.chain or ():
            leaf = self._emit(step.function, (leaf, *step.args), step.kwargs, step.shape, step.dtype)
        assert isinstance(leaf, TracedValue)
        member.value, member.version = leaf.index, len(memory.changes)

    def _scatter(self, parent: Any, chain: tuple[ViewStep, ...], value: Any) -> TracedValue:
        """`parent` with the part that a chain of views shows replaced by `value`."""
        step = chain[0]
        if len(chain) > 1:
            inner = self._emit(step.function, (parent, *step.args), step.kwargs, step.shape, step.dtype)
            value = self._scatter(inner, chain[1:], value)
        inverse = step.put_back(parent, value)
        if inverse is None:
            assert isinstance(value, TracedValue)
            return value
        return self._emit(*inverse, {}, step.parent_shape, step.parent_dtype)

    def _emit(
        self, function: Any, args: Any, kwargs: Any, shape: tuple[int, ...], dtype: torch.dtype
    ) -> TracedValue:
        """Write down a call that the module did not make."""
        value = self._new_value(_NOTHING)
        self.trace.shapes[value], self.trace.dtypes[value] = shape, dtype
        self._append(function, args, kwargs, (value,))
        return TracedValue(value)

    def _refuse_change(self, change: Change) -> None:
        raise UnsupportedModule(f"{change.where} changes a tensor in place that is read another way later")


class DetourWatch(TorchFunctionMode):
    """Refuses what leaves PyTorch with values of the frame, where no recorder sees them."""

    def __init__(self, recorder: Recorder) -> None:
        super().__init__()
        self.recorder = recorder
        self.found = False

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = getattr(func, "__name__", "")
        if name in _DETOURS or (func in _FROM_NUMBERS and args and not isinstance(args[0], torch.Tensor)):
            self._check(name, args[:1])
        return func(*args, **(kwargs or {}))

    def _check(self, name: str, arguments: Any) -> None:
        for leaf in tree_leaves(arguments):
            if isinstance(leaf, torch.Tensor) and self.recorder.depends_on_frame(leaf):
                self.found = True
                self.recorder.refuse(f"{name}() takes values out of PyTorch, where they are not followed")


_NOTHING = torch.empty(0)


def _storage(tensor: torch.Tensor) -> int:
    return int(storage_of(tensor)._cdata)


def _functional(func: Any, name: str) -> Any:
    """The overload without side effects of an in-place one, which takes the same arguments; or None."""
    packet = getattr(torch.ops.aten, name[:-1], None) if name.endswith("_") else None
    wanted = [(str(argument.type), argument.kwarg_only) for argument in func._schema.arguments]
    for overload in () if packet is None else packet.overloads():
        twin = getattr(packet, overload)
        taken = [(str(argument.type), argument.kwarg_only) for argument in twin._schema.arguments]
        if taken == wanted and not twin._schema.is_mutable:
            return twin
    return None


def _changes_first(func: Any) -> bool:
    """Whether a call changes its first argument in place."""
    arguments = func._schema.arguments
    alias = arguments[0].alias_info if arguments else None
    return alias is not None and bool(alias.is_write)
