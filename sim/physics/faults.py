"""What goes wrong on the edge: a device that is slower than its profile says, a belief that is wrong.

Faults of the link and of the server are theirs: `link.outages_s`, `link.loss`, `server.crashes_s`.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import deque
from dataclasses import dataclass, field

from sim.physics.windows import Windows, check_windows
from traces.errors import InputError


@dataclass(frozen=True, slots=True)
class Slowdown:
    """A device that is throttled, or shared with another program: its work takes `factor` times as long.

    Whoever plans with the device's profile does not know. The factor is that of the moment at which the work
    is asked for, to its end: windows are seconds long, work is milliseconds.

    Args:
        factor: of all work's time, ≥ 1.
        during_s: ascending, disjoint [start, end) in seconds; empty: throughout.

    Raises:
        InputError: a factor below 1 or not finite, or windows that are out of order.
    """

    factor: float = 1.0
    during_s: Windows = ()
    _bounds_s: tuple[float, ...] = field(init=False)

    def __post_init__(self) -> None:
        if not (math.isfinite(self.factor) and self.factor >= 1.0):
            raise InputError(f"faults.edge_slowdown: expected a factor >= 1, found {self.factor}")
        check_windows("faults.edge_slow_s", self.during_s)
        object.__setattr__(self, "_bounds_s", tuple(bound for window in self.during_s for bound in window))

    def factor_at(self, now_s: float) -> float:
        """How much longer work takes that is asked for now."""
        slow = not self._bounds_s or bisect_right(self._bounds_s, now_s) % 2
        return self.factor if slow else 1.0


@dataclass(slots=True, eq=False)
class Misbelief:
    """What a camera takes the uplink's rate to be, where that is not what its estimator says.

    Estimates are scaled and late: at t the scheduler is told `factor` times what the estimator said at the
    last question up to t − `delay_s`. Nothing is told before there is such a question, as before a first
    sample. What the estimator learns, and when the link is probed, stays as it is.

    Args:
        factor: > 0; 2: twice the rate.
        delay_s: ≥ 0.

    Raises:
        InputError: a factor or a delay outside of that.
    """

    factor: float = 1.0
    delay_s: float = 0.0
    _said: deque[tuple[float, float | None]] = field(
        default_factory=deque
    )  # (when, bit/s), the oldest in use

    def __post_init__(self) -> None:
        if not (math.isfinite(self.factor) and self.factor > 0.0):
            raise InputError(f"faults.estimate_factor: expected a factor > 0, found {self.factor}")
        if not (math.isfinite(self.delay_s) and self.delay_s >= 0.0):
            raise InputError(f"faults.estimate_delay_s: expected a time >= 0 s, found {self.delay_s}")

    def told_bps(self, now_s: float, estimate_bps: float | None) -> float | None:
        """What the scheduler is told when the estimator says so now; None: nothing is known."""
        if self.delay_s > 0.0:
            said = self._said
            said.append((now_s, estimate_bps))
            while len(said) > 1 and said[1][0] <= now_s - self.delay_s:
                said.popleft()
            estimate_bps = said[0][1] if said[0][0] <= now_s - self.delay_s else None
        return None if estimate_bps is None else self.factor * estimate_bps
