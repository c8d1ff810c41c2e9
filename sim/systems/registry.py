"""The systems by name: what each is called, its options, and how one is built for a camera."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any, NamedTuple

from profiler.latency import Profile, load_split_table
from sim.config import choose, read_section
from sim.content.interface import Content
from sim.schedulers import OracleScheduler, Scheduler
from sim.world.system import System
from traces.errors import InputError


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a system may be built from: one camera's content, the scheduler, both devices' profiles."""

    content: Content
    scheduler: Scheduler
    regret_against: OracleScheduler | None
    edge: Profile
    cloud: Profile


def _fluxshard_ea(home: Any, around: Surroundings, options: Any) -> Any:
    return home.FluxShard(around.content, around.scheduler, options, around.regret_against)


def _full_offload(home: Any, around: Surroundings, options: Any) -> Any:
    return home.FullOffload(around.content, options)


def _edge_only(home: Any, around: Surroundings, options: Any) -> Any:
    return home.EdgeOnly(around.content, options)


def _deltacnn(home: Any, around: Surroundings, options: Any) -> Any:
    return home.DeltaCnn(around.content, options)


def _spinn(home: Any, around: Surroundings, options: Any) -> Any:
    return home.Spinn(around.content, load_split_table(around.edge.model).cuts, options)


def _coach(home: Any, around: Surroundings, options: Any) -> Any:
    cuts = load_split_table(around.edge.model).cuts if options.variant == "split" else ()
    return home.Coach(around.content, options, cuts)


class _Entry(NamedTuple):
    module: str  # loaded when the system is chosen
    options: str
    make: Callable[[Any, Surroundings, Any], Any]


_ENTRIES = {
    "fluxshard_ea": _Entry("sim.systems.fluxshard", "FluxShardOptions", _fluxshard_ea),
    "full_offload": _Entry("sim.systems.full_offload", "FullOffloadOptions", _full_offload),
    "edge_only": _Entry("sim.systems.edge_only", "EdgeOnlyOptions", _edge_only),
    "deltacnn": _Entry("sim.systems.deltacnn", "DeltaCnnOptions", _deltacnn),
    "spinn": _Entry("sim.systems.spinn", "SpinnOptions", _spinn),
    "coach": _Entry("sim.systems.coach", "CoachOptions", _coach),
}
SYSTEMS = tuple(_ENTRIES)


def system_factory(section: Mapping[str, Any]) -> Callable[[Surroundings], System]:
    """What builds the system that the configuration's `system` section describes.

    Raises:
        InputError: an unknown system (the nearest is named) or option.
    """
    options = dict(section)
    name = options.pop("name", None)
    if not isinstance(name, str):
        raise InputError(f"system.name: expected one of {', '.join(SYSTEMS)}, found {name!r}")
    entry = _ENTRIES[choose("system", name, SYSTEMS)]
    home = import_module(entry.module)
    read = read_section(getattr(home, entry.options), options, "system")

    def build(around: Surroundings) -> System:
        made: System = entry.make(home, around, read)
        return made

    return build
