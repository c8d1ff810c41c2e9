"""The systems by name: what each is called, its options, and how one is built for a camera."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from profiler.latency import Profile
from sim.config import choose, read_section
from sim.content.interface import Content
from sim.schedulers import OracleScheduler, Scheduler
from sim.systems.interface import System
from traces.errors import InputError


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a system may be built from: one camera's content, the scheduler, both devices' profiles."""

    content: Content
    scheduler: Scheduler
    regret_against: OracleScheduler | None
    edge: Profile
    cloud: Profile


# name: (module, class of the system, class of its options); modules load when they are needed.
_HOMES: dict[str, tuple[str, str, str]] = {
    "fluxshard_ea": ("sim.systems.fluxshard", "FluxShard", "FluxShardOptions"),
    "full_offload": ("sim.systems.full_offload", "FullOffload", "FullOffloadOptions"),
    "edge_only": ("sim.systems.edge_only", "EdgeOnly", "EdgeOnlyOptions"),
    "deltacnn": ("sim.systems.deltacnn", "DeltaCnn", "DeltaCnnOptions"),
    "spinn": ("sim.systems.spinn", "Spinn", "SpinnOptions"),
    "coach": ("sim.systems.coach", "Coach", "CoachOptions"),
}
SYSTEMS = tuple(_HOMES)


def system_factory(section: Mapping[str, Any]) -> Callable[[Surroundings], System]:
    """What builds the system that the configuration's `system` section describes.

    Raises:
        InputError: an unknown system (the nearest is named) or option.
    """
    options = dict(section)
    name = options.pop("name", None)
    if not isinstance(name, str):
        raise InputError(f"system.name: expected one of {', '.join(SYSTEMS)}, found {name!r}")
    module, system, options_class = _HOMES[choose("system", name, SYSTEMS)]
    home = import_module(module)
    read = read_section(getattr(home, options_class), options, "system")

    def build(surroundings: Surroundings) -> System:
        made: System = getattr(home, system).build(surroundings, read)
        return made

    return build
