"""A discrete-event simulator of edge-cloud video analytics.

``run`` is a run as a call; ``Outcome`` is what a system returns for a frame, ``SystemContext`` what it is
built from. The names load on first use, so that `import sim` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sim.command.call import run
    from sim.components.context import SystemContext
    from sim.records.outcome import Outcome

_HOME = {
    "Outcome": "sim.records.outcome",
    "SystemContext": "sim.components.context",
    "run": "sim.command.call",
}

__all__ = ["Outcome", "SystemContext", "run"]


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module 'sim' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME])
