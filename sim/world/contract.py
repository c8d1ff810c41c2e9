"""What a system must keep to; one that does not is told so with its own file and line."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Generator
from numbers import Integral
from pathlib import Path
from types import CodeType, FrameType, GeneratorType
from typing import Any

from sim.records.outcome import PATH_CODES, PATHS, Outcome
from traces.errors import InputError, place_of

_HERE = str(Path(__file__).parent)


def checked_bound(system: Any) -> int:
    """How many frames of its camera a system allows to be under way.

    Raises:
        InputError: its `max_in_flight` is no number of frames, or it has no method `process(frame, world)`.
    """
    kind = type(system)
    if not callable(getattr(kind, "process", None)):
        raise InputError(
            f"{place_of(kind)}: expected class {kind.__name__} to have a method process(frame, world)"
        )
    try:
        inspect.signature(system.process).bind("frame", "world")
    except TypeError as error:
        raise InputError(
            f"{place_of_process(system)}: expected {kind.__name__}.process(frame, world), found {error}"
        ) from None
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
            f"{place_of(kind)}: expected {kind.__name__}.{name} to be a whole number >= 1, found {count!r}"
        )
    return count


def checked_payload(system: Any) -> tuple[str | None, float | None]:
    """What a system says it codes pixels with, and in which quality; None where it does not say.

    Raises:
        InputError: its `payload_codec` is no name, or its `payload_quality` no number.
    """
    codec, quality = (getattr(system, f"payload_{name}", None) for name in ("codec", "quality"))
    kind = type(system)
    for name, found, types, expected in (
        ("codec", codec, str, "a codec's name"),
        ("quality", quality, (int, float), "a number"),
    ):
        if found is not None and (isinstance(found, bool) or not isinstance(found, types)):
            raise InputError(
                f"{place_of(kind)}: expected {kind.__name__}.payload_{name} to be {expected} or None, "
                f"found {found!r}"
            )
    return codec, quality


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
        InputError: it is not, its path is none of PATHS, or a count of blocks is none.
    """
    if outcome.__class__ is not Outcome or outcome.path not in PATHS:
        found = f"path {outcome.path!r}" if isinstance(outcome, Outcome) else repr(outcome)
        raise _wrong_outcome(system, f"whose path is one of {', '.join(PATHS)}", found)
    _, active, processed, stale, active_edge, active_cloud, _, _, _, _, computed, sent = outcome
    if not (  # written out for speed: one a frame
        processed.__class__ is int
        and stale.__class__ is int
        and processed >= 0
        and stale >= 0
        and (active is None or (active.__class__ is int and active >= 0))
        and (active_edge is None or (active_edge.__class__ is int and active_edge >= 0))
        and (active_cloud is None or (active_cloud.__class__ is int and active_cloud >= 0))
        and (computed is None or (computed.__class__ is int and computed >= 0))
        and (sent is None or (sent.__class__ is int and sent >= 0))
    ):
        _check_counts(outcome, system)
    return outcome


def _check_counts(outcome: Outcome, system: Any) -> None:
    """Refuse counts of blocks that are no whole numbers >= 0, or None where there must be one."""
    for name in ("active", "processed", "stale", "active_edge", "active_cloud", "computed", "sent"):
        count = getattr(outcome, name)
        if count is None and name not in ("processed", "stale"):
            continue
        if not isinstance(count, Integral) or count < 0:
            raise _wrong_outcome(system, f"whose {name} is a number of blocks", repr(count))


def _wrong_outcome(system: Any, expected: str, found: str) -> InputError:
    return InputError(
        f"{_place(type(system).process.__code__)}: expected {type(system).__name__}.process to return an "
        f"Outcome {expected}, found {found}"
    )


def checked_size(size_bytes: Any) -> int:
    """A message's size, if it is one.

    Raises:
        InputError: it is no whole number >= 0; names the line that asked for it.
    """
    if isinstance(size_bytes, Integral) and int(size_bytes) >= 0:
        return int(size_bytes)
    raise InputError(f"{asking_line()}: expected a whole number of bytes, found {size_bytes!r}")


def wrong_service(service_s: float) -> InputError:
    """The error for work that takes a negative or an unknown time; names the line that asked for it."""
    return InputError(f"{asking_line()}: expected work that takes 0 s or more, found {service_s!r} s")


def checked_path(path: Any) -> int:
    """A path's position in PATHS.

    Raises:
        InputError: there is no such path; names the line that decided for it.
    """
    code = PATH_CODES.get(path)
    if code is None:
        raise InputError(
            f"{asking_line()}: expected a path that is one of {', '.join(PATHS)}, found {path!r}"
        )
    return code


def asking_line() -> str:
    """File and line outside this folder that a method of the world was called from."""
    frame: FrameType | None = sys._getframe()
    while frame is not None and frame.f_code.co_filename.startswith(_HERE):
        frame = frame.f_back
    return "a system" if frame is None else f"{frame.f_code.co_filename}:{frame.f_lineno}"


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


def _innermost(generator: Any, outside: str | None = None) -> FrameType | None:
    """Where a generator stands, followed through `yield from` but for what lies in a folder."""
    found: FrameType | None = None
    while inspect.isgenerator(generator) and generator.gi_frame is not None:
        frame, generator = generator.gi_frame, generator.gi_yieldfrom
        if outside is None or not frame.f_code.co_filename.startswith(outside):
            found = frame
    return found


def place_of_process(system: Any) -> str:
    """File and line of a system's `process`."""
    return _place(type(system).process.__code__)


def _place(code: CodeType) -> str:
    return f"{code.co_filename}:{code.co_firstlineno}"
