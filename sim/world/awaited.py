"""What a frame has asked for and must wait for: a forgotten `yield` is a mistake, not a faster system.

Work that is asked for is booked at once; a system that does not yield it would go on in no time, and nobody
would see. Two things may run at once, `yield a & b`, so that it is not enough to look when the second is
asked for: what had no one waiting by then is looked at again when it is through.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from simpy.events import Event

from sim.world.contract import asking_line
from traces.errors import InputError


class Awaited:
    """The events that one frame has asked for, as far as nobody is known to wait for them.

    Attributes:
        last: what was asked for last; by the time that something else is, it should have come.
        open: of what nobody waited for when something else was asked for, the callbacks and the line.
    """

    __slots__ = ("last", "open")

    def __init__(self) -> None:
        self.last: Event | None = None
        self.open: list[tuple[list[Callable[[Event], Any]], str]] = []

    def look_again(self, event: Event) -> None:
        """What was asked for before has not come: it must have somebody who waits, now or by then."""
        waiting = event.callbacks
        if waiting:
            return  # somebody does
        assert waiting is not None
        place = asking_line()

        def through(_: Event) -> None:
            if len(waiting) == 1:  # nobody but this
                raise forgotten(place)

        waiting.append(through)
        self.open.append((waiting, place))

    def check(self, place: str) -> None:
        """The frame has ended.

        Args:
            place: file and line to name for what was asked for last.

        Raises:
            InputError: something that was asked for has not been waited for.
        """
        for waiting, asked in self.open:
            if len(waiting) == 1:
                raise forgotten(asked)
        if self.last is not None and self.last.callbacks == []:
            raise forgotten(place)


def forgotten(place: str) -> InputError:
    """The error for work that was asked for and not waited for."""
    return InputError(
        f"{place}: expected `yield` before everything that is asked of world and takes time, found something "
        "asked for before this line that nobody waits for"
    )
