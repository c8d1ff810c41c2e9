"""What a sender's queue says of the link, tick by tick.

    rate_t = (rate_{t−1} + consumed_t / tick) / 2        consumed: bytes that have left in the tick
    delay  = queued / rate

The link is congested where the delay exceeds a millisecond, and is then thought to carry 0.9 of its rate; the
queue counts as empty once it has been so for more than a number of ticks in a row, and in each tick from then
on. (AWStream's monitor: Zhang et al., SIGCOMM 2018; constants as in its implementation.)
"""

from __future__ import annotations

import math
from dataclasses import dataclass

NEWEST = 0.5  # weight of the newest tick
MOST_DELAY_S = 0.001
HEADROOM = 0.9  # of the rate that a congested link is thought to carry


@dataclass(slots=True, eq=False)
class QueueMonitor:
    """One stream's queue.

    Args:
        tick_s: from one look to the next.
        empty_ticks: in a row, after which the queue is called empty.
        rate_bps: what has left of late.
    """

    tick_s: float = 0.1
    empty_ticks: int = 20
    rate_bps: float = 0.0
    _empty: int = 0

    def look(self, consumed_bytes: float, queued_bytes: float) -> bool | None:
        """One tick: True where the link is congested, False where the queue is called empty, else None.

        Args:
            consumed_bytes: what has left since the last tick.
            queued_bytes: what waits now.
        """
        self.rate_bps += NEWEST * (8.0 * consumed_bytes / self.tick_s - self.rate_bps)
        if self._delay_s(queued_bytes) > MOST_DELAY_S:
            self._empty = 0
            return True
        self._empty += 1
        return False if self._empty > self.empty_ticks else None

    def _delay_s(self, queued_bytes: float) -> float:
        if queued_bytes <= 0.0:
            return 0.0
        return 8.0 * queued_bytes / self.rate_bps if self.rate_bps > 0.0 else math.inf
