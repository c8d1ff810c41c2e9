"""Stretches of time in which something is otherwise than usual: outages, crashes, a slow device."""

from __future__ import annotations

import math
from collections.abc import Sequence

from traces.errors import InputError

Windows = Sequence[tuple[float, float]]


def check_windows(key: str, windows: Windows) -> None:
    """Refuse windows that are not ascending, disjoint and finite.

    Raises:
        InputError: they are not; names the key.
    """
    previous_end_s = 0.0
    for start_s, end_s in windows:
        if not previous_end_s <= start_s < end_s < math.inf:
            raise InputError(
                f"{key}: expected ascending, disjoint [start, end] pairs in seconds, "
                f"found [{start_s}, {end_s}] after {previous_end_s}"
            )
        previous_end_s = end_s
