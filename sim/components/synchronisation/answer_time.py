"""How long an edge waits for an answer: the patience that it is given, or longer where answers take longer.

A patience shorter than the way there and back would give up every frame that is offloaded, and
resynchronise a server that has lost nothing, again and again. So the wait is never shorter than half as long
again as the longest of the last answers took; what a handshake would have shown, the propagation both ways,
counts as the first of them (schedulers are told it as well). After an answer that has not come in time the
next one may take twice as long, until one has come, as with TCP's retransmission timeout (RFC 6298, §5.5).
Its mean and variance (§2) were tried and fit worse: on a link that stalls now and then the spread of answers
in between is small, and each stall a lost server; RFC 6298 has a minimum of 1 s against that.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

REMEMBERED = 32  # answers
SLACK = 1.5  # of the longest of them


@dataclass(slots=True)
class AnswerTime:
    """What is known of the time from a message's first byte to its answer.

    Args:
        patience_s: the shortest wait.
    """

    patience_s: float
    _took_s: deque[float] = field(default_factory=lambda: deque(maxlen=REMEMBERED))
    _longer: float = 1.0  # after answers that have not come

    @property
    def usual_s(self) -> float:
        """How long an answer may take, whether or not the last ones have come."""
        return max(self.patience_s, SLACK * max(self._took_s, default=0.0))

    @property
    def wait_s(self) -> float:
        """How long to wait for the next answer."""
        return self._longer * self.usual_s

    def expect(self, propagation_s: float) -> None:
        """There and back, before there was any answer; later calls do nothing."""
        if not self._took_s:
            self._took_s.append(propagation_s)

    def learn(self, seconds: float) -> None:
        """An answer has come, so long after its message's first byte."""
        self._took_s.append(seconds)
        self._longer = 1.0

    def missed(self) -> None:
        """None has come in time."""
        self._longer *= 2.0
