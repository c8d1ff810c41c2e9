"""Which quantiser makes a frame of so many bytes: a model of the stream, learnt as it goes.

An H.264 frame's bytes halve about every QP_HALVING steps of the quantiser, so that

    log2(bytes) = c − qp / QP_HALVING

with a complexity c that the content decides. It is kept for keyframes and for predicted frames apart: the
newest frame counts half. What a frame took beyond its budget the next ones give back.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

# Of predicted frames on DAVIS at 640×640, veryfast: 72 kB at 10, 20 kB at 20, 4.5 kB at 30, 1 kB at 40.
QP_HALVING = 5.0
NEWEST = 0.5  # weight of the newest frame's complexity
LEAST_SHARE = 0.25  # of its budget that a frame has at least, whatever the ones before it took too much


@dataclass(slots=True, eq=False)
class RateControl:
    """One stream's.

    Args:
        best_qp, worst_qp: the range.
        start_qp: while nothing is known of the link, or of frames of a kind.
    """

    best_qp: int
    worst_qp: int
    start_qp: int
    debt_bytes: float = 0.0
    _complexity: dict[bool, float] = field(default_factory=dict)  # by whether it is a keyframe

    def choose(self, budget_bytes: float | None, keyframe: bool) -> int:
        """The quantiser of the next frame.

        Args:
            budget_bytes: what it may take; None: nobody knows.
            keyframe: whether it builds on none.
        """
        complexity = self._complexity.get(keyframe)
        if budget_bytes is None or complexity is None:
            return self.start_qp
        wanted_bytes = max(budget_bytes - self.debt_bytes, LEAST_SHARE * budget_bytes, 1.0)
        qp = math.ceil(QP_HALVING * (complexity - math.log2(wanted_bytes)))
        return min(max(qp, self.best_qp), self.worst_qp)

    def learn(self, qp: int, size_bytes: int, budget_bytes: float | None, keyframe: bool) -> None:
        """Take in what the frame took.

        A keyframe is let pass: what it takes beyond its budget would starve the frames that repair it.
        """
        found = math.log2(max(1, size_bytes)) + qp / QP_HALVING
        known = self._complexity.get(keyframe, found)
        self._complexity[keyframe] = known + NEWEST * (found - known)
        if budget_bytes is not None and not keyframe:
            self.debt_bytes = max(0.0, self.debt_bytes + size_bytes - budget_bytes)
