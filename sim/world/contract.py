"""What a system must keep to; one that does not is told so with its own file and line."""

from __future__ import annotations

import inspect
from collections.abc import Generator
from types import CodeType, FrameType, GeneratorType
from typing import Any

from sim.records.outcome import PATHS, Outcome
from traces.errors import InputError


def checked_bound(system: Any) -> int:
    """How many frames of its camera a system allows to be under way.

    Raises:
        InputError: its `max_in_flight` is no number of frames, or it has no method `process`.
    """
    kind = type(system)
    if not callable(getattr(kind, "process", None)):
        raise InputError(
            f"{_place_of_class(kind)}: expected class {kind.__name__} to have a method process(frame, world)"
        )
    bound = getattr(system, "max_in_flight", 1)
    if isinstance(bound, bool) or not isinstance(bound, int) or bound < 1:
        raise InputError(
            f"{_place_of_class(kind)}: expected {kind.__name__}.max_in_flight to be a whole number >= 1, "
            f"found {bound!r}"
        )
    return bound


def _place_of_class(kind: type) -> str:
    try:
        return f"{inspect.getsourcefile(kind)}:{inspect.getsourcelines(kind)[1]}"
    except (OSError, TypeError):
        return kind.__qualname__


def checked_generator(made: Any, system: Any) -> Generator[Any, Any, Any]:
    """What `process` returned, if it is a generator.

    Raises:
        InputError: it is not: `process` yields nothing, so that no time can pass.
    """
    if isinstance(made, GeneratorType):
        return made
    raise InputError(
        f"{_place(type(system).process.__code__)}: expected {type(system).__name__}.process to yield what it "
        f"asks of the world, found one without yield, which returned {made!r}"
    )


def checked_outcome(outcome: Any, system: Any) -> Outcome:
    """What a system returned for a frame, if it is an outcome.

    Raises:
        InputError: it is not, or its path is none of PATHS.
    """
    if isinstance(outcome, Outcome) and outcome.path in PATHS:
        return outcome
    found = f"path {outcome.path!r}" if isinstance(outcome, Outcome) else repr(outcome)
    raise InputError(
        f"{_place(type(system).process.__code__)}: expected {type(system).__name__}.process to return an "
        f"Outcome whose path is one of {', '.join(PATHS)}, found {found}"
    )


def wrong_yield(generator: Any, found: str) -> InputError:
    """The error for a system that yielded what the world did not give it.

    Args:
        generator: the system's, suspended where it yielded.
        found: what it yielded.
    """
    frame = _innermost(generator)
    place = f"{frame.f_code.co_filename}:{frame.f_lineno}" if frame is not None else "a system"
    return InputError(f"{place}: expected yield of what a method of world returned, found {found}")


def _innermost(generator: Any) -> FrameType | None:
    """Where a generator stands, followed through `yield from`."""
    frame: FrameType | None = None
    while inspect.isgenerator(generator) and generator.gi_frame is not None:
        frame, generator = generator.gi_frame, generator.gi_yieldfrom
    return frame


def _place(code: CodeType) -> str:
    return f"{code.co_filename}:{code.co_firstlineno}"
