"""Which implementation runs an operation here, and why the others do not.

A backend is a module `kernels.ops.<name>` with the functions of `kernels.ops.reference`, a subset of them at
will, and two more:

    unavailable(device: str) -> str | None      why it cannot run on "cpu" or "cuda" at all, or None
    refuses(operation: str, **traits) -> str | None    why it cannot do this one, or None

`traits` are plain values known at planning: dtype (torch.dtype); for convolve also groups, in_channels,
out_channels, kernel, stride, dilation, activation; for any reading operation bilinear (bool).
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import Any

BACKENDS = ("reference", "cpu", "cuda", "triton")
OPERATIONS = ("gather", "scatter", "convolve", "pool", "pointwise", "upsample", "remap", "prune")
VARIABLE = "FLUXSHARD_BACKEND"

_PREFERENCE = {"cpu": ("cpu", "reference"), "cuda": ("triton", "cuda", "reference")}


@dataclass(frozen=True, slots=True)
class ChosenBackend:
    """The backend chosen for one operation, and the reasons of those preferred to it that were refused."""

    name: str
    module: ModuleType
    refusals: tuple[str, ...] = ()


def unavailable(name: str, device: str) -> str | None:
    """Why backend `name` cannot run on `device` ("cpu" or "cuda") on this machine, or None if it can."""
    if name not in BACKENDS:
        return f"unknown backend: expected one of {BACKENDS}"
    spec = find_spec(f"kernels.ops.{name}")
    if spec is None or spec.origin is None:  # a folder without __init__.py has no origin
        return "not part of this installation"
    try:
        module = import_module(f"kernels.ops.{name}")
    except ImportError as error:
        return f"cannot be imported: {error}"
    reason: str | None = module.unavailable(device)
    return reason


def requested(backend: str | None = None) -> tuple[str | None, str]:
    """The backend that was asked for, and where: FLUXSHARD_BACKEND goes before the argument `backend`."""
    asked = os.environ.get(VARIABLE)
    return (asked, VARIABLE) if asked else (backend, "backend")


def preferences(device: str, backend: str | None = None) -> tuple[str, ...]:
    """Backends to try on `device`, best first.

    The environment's FLUXSHARD_BACKEND goes before the argument, the argument before the default order. A
    backend that was asked for must be available; what it refuses falls to the default order.

    Raises:
        ValueError: an unknown device, or a backend asked for that does not exist or cannot run here.
    """
    if device not in _PREFERENCE:
        raise ValueError(f"device must be one of {tuple(_PREFERENCE)} (got {device!r})")
    asked, origin = requested(backend)
    order = _PREFERENCE[device]
    if asked is None:
        return order
    reason = unavailable(asked, device)
    if reason is not None:
        raise ValueError(f"{origin}={asked!r} cannot run on {device}: {reason}")
    return (asked, *(name for name in order if name != asked))


def choose(operation: str, device: str, backend: str | None = None, **traits: Any) -> ChosenBackend:
    """The best available backend that does `operation` with these traits.

    Raises:
        ValueError: an unknown operation, or as `preferences`.
    """
    if operation not in OPERATIONS:
        raise ValueError(f"operation must be one of {OPERATIONS} (got {operation!r})")
    refusals: list[str] = []
    for name in preferences(device, backend):
        reason = unavailable(name, device)
        if reason is None:
            module = import_module(f"kernels.ops.{name}")
            if not hasattr(module, operation):
                reason = f"has no {operation}"
            else:
                reason = module.refuses(operation, **traits)
            if reason is None:
                return ChosenBackend(name, module, tuple(refusals))
        refusals.append(f"{name}: {reason}")
    raise RuntimeError(f"no backend for {operation} on {device}: {'; '.join(refusals)}")
