"""Processes that a system runs beside its frames: how they are driven, and what their errors come to."""

from __future__ import annotations

import traceback
from collections.abc import Generator
from types import GeneratorType
from typing import Any

from simpy.events import Event

from sim.physics.events import Unreachable
from sim.world.contract import asking_line, wrong_yield
from traces.errors import InputError


def spawned(process: Any) -> Generator[Any, Any, Any]:
    """What a system has handed to `world.spawn`, if it is a generator.

    Raises:
        InputError: it is not.
    """
    if isinstance(process, GeneratorType):
        return process
    raise InputError(f"{asking_line()}: expected world.spawn(process) with a generator, found {process!r}")


def driven(process: Generator[Any, Any, Any]) -> Generator[Event, Any, None]:
    """The process as SimPy drives it; ended by Unreachable where it does not catch that itself.

    Then what it was for does not happen, and the run goes on.

    Raises:
        InputError: it has raised anything else, or yielded what the world did not give it: with its line.
    """
    try:
        awaited = next(process)
        while True:
            if not isinstance(awaited, Event):
                raise wrong_yield(process, repr(awaited))
            try:
                value = yield awaited
            except Exception as error:
                awaited = process.throw(error)
            else:
                awaited = process.send(value)
    except (StopIteration, Unreachable):
        return
    except InputError:
        raise
    except Exception as error:
        raise InputError(_failure(process, error)) from error


def _failure(process: Any, error: Exception) -> str:
    """Where a process has raised an error, in its own file if it has got that far, and what it says."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if frame.filename == process.gi_code.co_filename]
    place = (own or frames)[-1]
    said = " ".join(f"{type(error).__name__}: {error}".split())
    return (
        f"{place.filename}:{place.lineno}: expected {process.__qualname__}, run by world.spawn, to end or to "
        f"raise Unreachable, found {said}"
    )
