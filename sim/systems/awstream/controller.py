"""Which level of degradation a stream is sent at: a state machine over what its queue says.

Levels are numbered from the most degraded one, 0; each needs a higher rate than the one before. Four
signals move the machine: the queue has been empty for long (EMPTY), it holds bytes (CONGESTED, with the rate
that the link is thought to carry), the receiver lacks something (RECEIVER), a probe is through (PROBED).

    state    EMPTY                  CONGESTED               RECEIVER          PROBED
    startup  one level up, at the   the 4th in a row:       -                 -
             top: steady            degrade, adjust
    degrade  steady                 adjust                  -                 -
    steady   the 4th in a row:      degrade                 -                 -
             probe
    probe    probe faster           steady, stop probing    steady, stop      steady, one level up

Adjusting goes to the highest level whose rate the link carries, and only ever down: where that is no lower
level, the machine holds out three times, then goes one down. Probing adds traffic to the stream in three
steps, up to 1.05 times what the next level needs more than this one; the last step's EMPTY is PROBED.

It knows neither clock nor link, so that any system whose levels have rates can be adapted by it.
The machine is AWStream's (Zhang et al., SIGCOMM 2018); what it leaves open: README.md beside this module.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import pairwise
from typing import NamedTuple

PATIENCE = 4  # equal signals in a row before what is not done at the first
HOLDING = 3  # adjustments that find no lower level before the machine goes down all the same
PROBE_STEPS = 3
PROBE_MARGIN = 1.05


class State(Enum):
    """What the machine is doing."""

    STARTUP = "startup"
    DEGRADE = "degrade"
    STEADY = "steady"
    PROBE = "probe"


class Signal(Enum):
    """What it is told."""

    EMPTY = "the queue has been empty for long"
    CONGESTED = "the queue holds bytes"
    RECEIVER = "the receiver lacks something"
    PROBED = "the probe is through"


class Action(Enum):
    """What it does about it."""

    NONE = "nothing"
    ADVANCE = "one level up"
    ADJUST = "down to what the link carries"
    FASTER = "probe at the next step's rate"


class Transition(NamedTuple):
    """Where a signal leads.

    Args:
        state: the next one.
        action: on the way there.
        after: the signal must come so many times in a row.
    """

    state: State
    action: Action = Action.NONE
    after: int = 1


TRANSITIONS: dict[tuple[State, Signal], Transition] = {
    (State.STARTUP, Signal.EMPTY): Transition(State.STARTUP, Action.ADVANCE),
    (State.STARTUP, Signal.CONGESTED): Transition(State.DEGRADE, Action.ADJUST, PATIENCE),
    (State.STARTUP, Signal.RECEIVER): Transition(State.STARTUP),
    (State.STARTUP, Signal.PROBED): Transition(State.STARTUP),
    (State.DEGRADE, Signal.EMPTY): Transition(State.STEADY),
    (State.DEGRADE, Signal.CONGESTED): Transition(State.DEGRADE, Action.ADJUST),
    (State.DEGRADE, Signal.RECEIVER): Transition(State.DEGRADE),
    (State.DEGRADE, Signal.PROBED): Transition(State.DEGRADE),
    (State.STEADY, Signal.EMPTY): Transition(State.PROBE, Action.FASTER, PATIENCE),
    (State.STEADY, Signal.CONGESTED): Transition(State.DEGRADE),
    (State.STEADY, Signal.RECEIVER): Transition(State.STEADY),
    (State.STEADY, Signal.PROBED): Transition(State.STEADY),
    (State.PROBE, Signal.EMPTY): Transition(State.PROBE, Action.FASTER),
    (State.PROBE, Signal.CONGESTED): Transition(State.STEADY),
    (State.PROBE, Signal.RECEIVER): Transition(State.STEADY),
    (State.PROBE, Signal.PROBED): Transition(State.STEADY, Action.ADVANCE),
}


@dataclass(slots=True, eq=False)
class RateController:
    """One stream's.

    Args:
        rates_bps: what each level sends, rising.
        level: to begin with.
    """

    rates_bps: Sequence[float]
    level: int = 0
    state: State = State.STARTUP
    _last: Signal | None = None
    _repeated: int = 0  # how often the last signal has come in a row
    _held: int = 0  # adjustments that found no lower level
    _step: int = 0  # of the probe

    def __post_init__(self) -> None:
        rates = list(self.rates_bps)
        if not rates or any(high <= low for low, high in pairwise(rates)):
            raise ValueError(f"rates_bps must rise from level to level, one at least (got {rates})")
        if not 0 <= self.level < len(rates):
            raise ValueError(f"level must be in 0 to {len(rates) - 1} (got {self.level})")

    @property
    def top(self) -> int:
        """The level with the least degradation."""
        return len(self.rates_bps) - 1

    @property
    def probe_bps(self) -> float:
        """What is to be sent beside the stream, to see whether the link carries the next level."""
        if self.state is not State.PROBE:
            return 0.0
        more_bps = self.rates_bps[self.level + 1] - self.rates_bps[self.level]
        return PROBE_MARGIN * more_bps * self._step / PROBE_STEPS

    def take(self, signal: Signal, rate_bps: float = 0.0) -> None:
        """Move by one signal.

        Args:
            signal: what is told.
            rate_bps: with CONGESTED, what the link is thought to carry.
        """
        self._repeated = self._repeated + 1 if signal is self._last else 1
        self._last = signal
        if self.level == self.top and signal is Signal.EMPTY and self.state is not State.DEGRADE:
            self._enter(State.STEADY)  # there is nothing above to go to or to probe for
            return
        transition = TRANSITIONS[self.state, signal]
        if self._repeated < transition.after:
            return
        if transition.action is Action.FASTER and self._step == PROBE_STEPS:
            self.take(Signal.PROBED)
            return
        self._enter(transition.state)
        if transition.action is Action.ADVANCE:
            self.level += 1
        elif transition.action is Action.ADJUST:
            self._adjust(rate_bps)
        elif transition.action is Action.FASTER:
            self._step += 1

    def _enter(self, state: State) -> None:
        if state is self.state:
            return
        self.state = state
        self._repeated = self._held = self._step = 0

    def _adjust(self, rate_bps: float) -> None:
        fits = max((level for level, bps in enumerate(self.rates_bps) if bps <= rate_bps), default=0)
        if fits < self.level:
            self.level, self._held = fits, 0
        elif self._held < HOLDING:
            self._held += 1
        else:
            self.level, self._held = max(self.level - 1, 0), 0
