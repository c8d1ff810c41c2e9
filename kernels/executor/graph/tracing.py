"""Tracing a module: it runs once on a real frame, and every ATen call it makes is recorded.

The recorder is a `TorchDispatchMode`: it sees the ATen calls below autograd and below the module's Python, so
lists, splits, loops over layers and shape arithmetic need no rewriting. The price is that a trace holds for
one frame size, and that what depends on tensor *values* cannot be traced: what can be seen of that is refused
here, the rest by comparing traces of different frames (`verification`).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import nn
from torch.utils import _pytree as pytree

from kernels.executor.graph.module_trace import ModuleTrace, UnsupportedModule, first_line
from kernels.executor.graph.recorder import DetourWatch, Recorder

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
        trains = isinstance(module, nn.modules.instancenorm._InstanceNorm) and module.track_running_stats
        if module.training and (trains or isinstance(module, _STATEFUL)):
            raise UnsupportedModule(f"{where}: {kind} is in training mode; call model.eval() first")
    for path, parameter in model.named_parameters():
        if parameter.dtype != torch.float32:
            raise UnsupportedModule(f"model.{path}: parameters must be float32 (got {parameter.dtype})")


def trace_module(model: nn.Module, frame: torch.Tensor) -> ModuleTrace:
    """Run `model` on `frame` (1, C, H, W) and record it.

    Raises:
        UnsupportedModule: control flow or shapes that depend on values, random numbers, in-place changes that
            cannot be followed, or a result that is no nest of tensors.
        ValueError: the model itself fails on such a frame.
    """
    recorder = Recorder(frame)
    record_run(model, frame, recorder)
    return recorder.trace


def record_run(
    model: nn.Module, frame: torch.Tensor, recorder: Recorder, watch: DetourWatch | None = None
) -> list[Any]:
    """`trace_module` with a recorder made for the frame; returns the leaves of the module's own result.

    Args:
        watch: refuses detours as well. Under it, some modules of PyTorch take another way to the same result.
    """
    try:
        with torch.no_grad(), _paths(model, recorder), watch or nullcontext(), recorder:
            result = model(frame)
    except UnsupportedModule:
        raise
    except Exception as error:
        size = tuple(frame.shape)
        raise ValueError(
            f"frame of shape {size} does not go through the model: at {recorder.here()}: "
            f"{type(error).__name__}: {first_line(error)}"
        ) from error
    leaves, structure = pytree.tree_flatten(result)
    for leaf in leaves:
        if isinstance(leaf, torch.Tensor):
            recorder.trace.outputs.append(recorder.read(leaf))
        elif leaf is None or isinstance(leaf, (bool, int, float, str)):
            recorder.trace.outputs.append(leaf)
        else:
            raise UnsupportedModule(
                f"model: returns a {type(leaf).__name__}; expected tensors in tuples, lists or dicts"
            )
    recorder.trace.structure = structure
    return leaves


@contextmanager
def _paths(model: nn.Module, recorder: Recorder) -> Iterator[None]:
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
