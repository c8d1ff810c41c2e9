"""Weights in and out of safetensors files, strictly: every tensor of the model, and no other."""

from __future__ import annotations

import os
from pathlib import Path

import torch
from torch import Tensor, nn


def load_weights(model: nn.Module, path: str | Path) -> nn.Module:
    """Load a safetensors file into ``model``, converting to the model's own precision.

    Returns:
        The same model, in evaluation mode.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file is no safetensors file, misses a tensor, has one too many, has one of another
            shape or one that is not finite.
    """
    load_state(model, read_state(path), str(path))
    return model.eval()


def read_state(path: str | Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file by name."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if not Path(path).is_file():
        raise FileNotFoundError(f"{path}: no such file; expected a safetensors file of weights")
    try:
        return load_file(path)
    except SafetensorError as error:
        raise ValueError(f"{path}: expected a safetensors file, found something else ({error})") from error


def load_state(model: nn.Module, state: dict[str, Tensor], source: str) -> None:
    """Copy ``state`` into ``model``; ``source`` names its origin in errors.

    Raises:
        ValueError: on missing, unexpected, differently shaped or non-finite tensors.
    """
    own = {k: v for k, v in model.state_dict().items() if not k.endswith("num_batches_tracked")}
    given = {k: v for k, v in state.items() if not k.endswith("num_batches_tracked")}
    for what, names in (("missing", own.keys() - given.keys()), ("unexpected", given.keys() - own.keys())):
        if names:
            raise ValueError(f"{source}: {what} {_some(sorted(names))} for this model of {len(own)} tensors")
    for name, tensor in given.items():
        if tensor.shape != own[name].shape:
            raise ValueError(f"{source}: {name} must be {tuple(own[name].shape)} (got {tuple(tensor.shape)})")
        if not torch.isfinite(tensor).all():
            raise ValueError(f"{source}: {name} must be finite (got nan or inf)")
    with torch.no_grad():
        for name, tensor in given.items():
            own[name].copy_(tensor)  # state_dict() shares memory with the module


def save_weights(model: nn.Module, path: str | Path, *, half: bool = True) -> None:
    """Write the model's tensors, in fp16 unless ``half`` is false; the file appears whole or not at all."""
    from safetensors.torch import save

    dtype = torch.float16 if half else torch.float32
    state = {
        k: v.detach().to(dtype).contiguous()
        for k, v in model.state_dict().items()
        if not k.endswith("num_batches_tracked")
    }
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.partial")
    partial.write_bytes(save(state))
    os.replace(partial, target)


def parameter_count(model: nn.Module) -> int:
    """Number of parameters, running statistics of batch norm not counted."""
    return sum(p.numel() for p in model.parameters())


def _some(names: list[str], shown: int = 3) -> str:
    listed = ", ".join(names[:shown])
    return listed if len(names) <= shown else f"{listed} and {len(names) - shown} more"
