"""What systems of deltas have among their options, checked in one place."""

from __future__ import annotations

import math
from typing import Protocol

from sim.components.message_sizes import check_result_bytes
from traces.errors import InputError

PLACEMENTS = ("cloud", "edge", "latency")


class DeltaOptions(Protocol):
    """Options that these systems share; `Options` of each describes them."""

    @property
    def threshold(self) -> float: ...
    @property
    def dilation_px(self) -> int: ...
    @property
    def placement(self) -> str: ...
    @property
    def dense_fallback(self) -> bool: ...
    @property
    def difference_s(self) -> float: ...
    @property
    def result_bytes(self) -> int | None: ...


def check_delta_options(options: DeltaOptions) -> None:
    """Refuse what is none of the above.

    Raises:
        InputError: an option out of its range.
    """
    if not 0.0 <= options.threshold <= 1.0:
        raise InputError(f"system.threshold: expected a difference in [0, 1], found {options.threshold}")
    if options.dilation_px < 1 or options.dilation_px % 2 == 0:
        raise InputError(f"system.dilation_px: expected an odd side >= 1 px, found {options.dilation_px}")
    if options.placement not in PLACEMENTS:
        raise InputError(
            f"system.placement: expected one of {', '.join(PLACEMENTS)}, found {options.placement!r}"
        )
    check_time("difference_s", options.difference_s)
    check_result_bytes(options.result_bytes)


def check_time(name: str, seconds: float) -> None:
    """Refuse what is no time.

    Raises:
        InputError: it is negative, or not finite.
    """
    if not 0.0 <= seconds < math.inf:
        raise InputError(f"system.{name}: expected a time >= 0 s, found {seconds}")
