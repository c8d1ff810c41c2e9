"""Axes whose numbers can be read: 20 and 50, and not 2×10¹ and 5×10¹."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any


def plain_axis(axes: Any, values: Sequence[float]) -> None:
    """Make x logarithmic, with as many plain numbers as have room; linear where all values are of one size.

    Args:
        axes: matplotlib's.
        values: what is shown along x.
    """
    from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullFormatter

    low, high = (min(values), max(values)) if values else (1.0, 10.0)
    plain = FuncFormatter(lambda value, _: f"{value:g}")
    if low <= 0.0 or high / low < 4.0:
        axes.xaxis.set_major_locator(MaxNLocator(8))
        axes.xaxis.set_major_formatter(plain)
        return
    axes.set_xscale("log")
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    steps = (1, 2, 5) if high / low < 2000.0 else (1,)
    ticks = [step * 10.0**decade for decade in decades for step in steps]
    axes.xaxis.set_major_locator(FixedLocator([tick for tick in ticks if low / 1.3 <= tick <= high * 1.3]))
    axes.xaxis.set_major_formatter(plain)
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlim(low / 1.15, high * 1.15)
