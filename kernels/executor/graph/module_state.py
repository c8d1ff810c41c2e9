"""What a module holds, to find out whether a call has changed it."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from kernels.executor.graph.module_trace import UnsupportedModule

_OWN = nn.Module().__dict__.keys() - {"training"}  # parameters and buffers are looked at by themselves
_DEEPEST = 4  # objects inside objects
_MOST = 100_000  # entries of lists and the like, in all


@dataclass(frozen=True, slots=True)
class _Tensor:
    tensor: torch.Tensor
    version: int
    copy: torch.Tensor | None  # None for a parameter: its version says enough

    def is_still(self, tensor: torch.Tensor) -> bool:
        if self.tensor is tensor and self.version == _version(tensor) and self.copy is None:
            return True
        before = self.tensor if self.copy is None else self.copy
        if self.tensor is tensor and self.copy is None:
            return False
        same = before.shape == tensor.shape and before.dtype == tensor.dtype
        if not same or before.device.type == "meta":
            return same
        return bool(((before == tensor) | ((before != before) & (tensor != tensor))).all())


@dataclass(frozen=True, slots=True)
class ModuleState:
    """Parameters, buffers and attributes of a module and its submodules, by path and name."""

    entries: dict[tuple[str, str], Any]

    @classmethod
    def of(cls, model: nn.Module) -> ModuleState:
        """The state now; a copy of all but the parameters."""
        return cls(dict(_entries(model)))

    def check(self, model: nn.Module) -> None:
        """Refuse a module whose state is another now.

        Raises:
            UnsupportedModule: with the path of the submodule and the name of the attribute.
        """
        now = dict(_entries(model))
        for key in (*self.entries, *(key for key in now if key not in self.entries)):
            missing = object()
            if not _unchanged(self.entries.get(key, missing), now.get(key, missing)):
                where = f"model.{key[0]}".removesuffix(".")
                raise UnsupportedModule(f"{where}: changes {key[1]!r} in every call; state is not followed")


def attribute_of(model: nn.Module, tensor: torch.Tensor) -> tuple[str, str] | None:
    """Path of the submodule and name of the attribute, in quotes, that hold a tensor; None if none."""
    for path, module in model.named_modules():
        for name, value in (*module._buffers.items(), *module.__dict__.items()):
            held = list(value.values()) if isinstance(value, dict) and name not in _OWN else value
            if any(item is tensor for item in (held if isinstance(held, (list, tuple, deque)) else (held,))):
                return path, repr(name)
    return None


def _entries(model: nn.Module) -> Iterator[tuple[tuple[str, str], Any]]:
    left = [_MOST]
    for path, module in model.named_modules():
        for name, value in module._parameters.items():
            if value is not None:
                yield (path, name), _Tensor(value, _version(value), None)
        for name, value in module._buffers.items():
            yield (path, name), _seen(value, 0, left)
        for name, value in module.__dict__.items():
            if name not in _OWN:
                yield (path, name), _seen(value, 0, left)


def _seen(value: Any, depth: int, left: list[int]) -> Any:
    """A value as it is now, to be compared with `_unchanged`."""
    left[0] -= 1
    if isinstance(value, nn.Parameter):
        return _Tensor(value, _version(value), None)
    if isinstance(value, torch.Tensor):
        return _Tensor(value, _version(value), value.detach().clone())
    if isinstance(value, np.ndarray):
        return value.copy()
    if value is None or isinstance(value, (bool, int, float, complex, str, bytes, torch.dtype, torch.device)):
        return value
    if isinstance(value, nn.Module) or depth == _DEEPEST or left[0] < 0:
        return type(value)
    if isinstance(value, (list, tuple, deque)):
        return tuple(_seen(item, depth + 1, left) for item in value)
    if isinstance(value, dict):
        return {repr(key): _seen(item, depth + 1, left) for key, item in value.items()}
    if isinstance(value, (set, frozenset)):
        return frozenset(map(repr, value))
    held = getattr(value, "__dict__", None)
    if isinstance(held, dict) and not isinstance(value, type) and not callable(value):
        return {name: _seen(item, depth + 1, left) for name, item in held.items()}
    return type(value)


def _unchanged(before: Any, now: Any) -> bool:
    if isinstance(before, _Tensor) and isinstance(now, _Tensor):
        return before.is_still(now.tensor)
    if type(before) is not type(now):
        return False
    if isinstance(before, np.ndarray):
        return before.shape == now.shape and bool(
            np.array_equal(before, now, equal_nan=before.dtype.kind == "f")
        )
    if isinstance(before, tuple):
        return len(before) == len(now) and all(map(_unchanged, before, now))
    if isinstance(before, dict):
        return before.keys() == now.keys() and all(_unchanged(before[key], now[key]) for key in before)
    return bool(before == now or (before != before and now != now))


def _version(tensor: torch.Tensor) -> int:
    return 0 if tensor.is_inference() else tensor._version
