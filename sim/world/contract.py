"""What a system must keep to; one that does not is told so with its own file and line."""

from __future__ import annotations

import inspect
from collections.abc import Generator
from pathlib import Path
from types import CodeType, FrameType, GeneratorType
from typing import Any

from sim.records.outcome import PATHS, Outcome
from traces.errors import InputError

_HERE = str(Path(__file__).parent)


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
    return _checked_count(system, "max_in_flight")


def checked_input(system: Any) -> int:
    """How many frames of its camera one input of a system is made of.

    Raises:
        InputError: its `frames_an_input` is no number of frames.
    """
    return _checked_count(system, "frames_an_input")


def _checked_count(system: Any, name: str) -> int:
    count = getattr(system, name, 1)
    if isinstance(count, bool) or not isinstance(count, int) or count < 1:
        kind = type(system)
        raise InputError(
            f"{_place_of_class(kind)}: expected {kind.__name__}.{name} to be a whole number >= 1, "
            f"found {count!r}"
        )
    return count


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


def stuck(generator: Any, camera: int, frame: int, under_way: int, to_come: bool) -> InputError:
    """The error for a run in which nothing can happen any more.

    Args:
        generator: the system's, suspended where the oldest frame waits.
        camera, frame: whose it is.
        under_way: frames of that camera that are.
        to_come: whether others are still to enter.
    """
    at = _innermost(generator, outside=_HERE)
    place = f"{at.f_code.co_filename}:{at.f_lineno}" if at is not None else "a system"
    found = f"that nothing can happen any more, with {under_way} frame{'s' * (under_way > 1)} under way"
    if to_come:
        found += " and others that may not enter (an input of several frames: set frames_an_input)"
    return InputError(
        f"{place}: expected an end of the wait of frame {frame} of camera {camera} here, found {found}"
    )


def callers_place() -> str:
    """File and line from which a system has called a method of the world."""
    frame = inspect.currentframe()
    while frame is not None and frame.f_code.co_filename.startswith(_HERE):
        frame = frame.f_back
    return "a system" if frame is None else f"{frame.f_code.co_filename}:{frame.f_lineno}"


def _innermost(generator: Any, outside: str | None = None) -> FrameType | None:
    """Where a generator stands, followed through `yield from` but for what lies in a folder."""
    found: FrameType | None = None
    while inspect.isgenerator(generator) and generator.gi_frame is not None:
        frame, generator = generator.gi_frame, generator.gi_yieldfrom
        if outside is None or not frame.f_code.co_filename.startswith(outside):
            found = frame
    return found


def _place(code: CodeType) -> str:
    return f"{code.co_filename}:{code.co_firstlineno}"
