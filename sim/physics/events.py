"""The events that the simulated world hands to systems, beside SimPy's own timeout."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from simpy import Environment
from simpy.events import Event


class Unreachable(Exception):
    """The far side did not answer within the caller's patience: an outage, a crash, a link too slow."""


class Unanswered(Event):
    """An event that fails with :class:`Unreachable` after `delay_s`.

    SimPy can only fail an event now; waiting first would cost a second event.
    """

    def __init__(self, env: Environment, delay_s: float, message: str) -> None:
        super().__init__(env)
        self._ok = False
        self._value: Any = Unreachable(message)
        env.schedule(self, delay=delay_s)


class Answer(Event):
    """An event with two possible ends, of which only the first counts."""

    @property
    def settled(self) -> bool:
        """Whether one of the ends has come."""
        return self.triggered

    def succeed_once(self, delay_s: float) -> None:
        """Succeed after `delay_s`, unless the event has failed."""
        if not self.triggered:
            self._ok = True
            self._value = None
            self.env.schedule(self, delay=delay_s)

    def fail_once(self, error: Exception) -> None:
        """Fail now, unless the event has succeeded (or will: its message is through)."""
        if not self.triggered:
            self.fail(error)


class SharedEvent(Event):
    """What several frames of a camera wait for, until one of them says that it has happened.

    It happens once: a second call of either method is an error.

    Args:
        env: the clock.
        on_told: called when it is said, before those who wait are resumed.
    """

    def __init__(self, env: Environment, on_told: Callable[[SharedEvent], None]) -> None:
        super().__init__(env)
        self._on_told = on_told

    def succeed(self, value: Any = None) -> SharedEvent:
        """Resume those who wait, and have them get `value`."""
        super().succeed(value)
        self._on_told(self)
        return self

    def fail(self, exception: Exception) -> SharedEvent:
        """Raise an error where the others wait; nothing happens where nobody does."""
        super().fail(exception)
        self.defused = True
        self._on_told(self)
        return self


class Happened(Event):
    """What takes no time: it has happened, and whoever waits for it goes on at once."""

    def __init__(self, env: Environment) -> None:
        super().__init__(env)
        self._ok, self._value = True, None
        self.callbacks = None  # type: ignore[assignment] # SimPy's sign that an event is over
