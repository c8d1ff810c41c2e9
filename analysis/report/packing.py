"""Numbers and bytes as a page carries them: whole numbers of a resolution, in planes, deflated, as text.

A column of n numbers becomes n whole numbers of 32 bits, `round(value / step)`, :data:`UNKNOWN` where a value
is not known. They are laid out byte plane by byte plane (all lowest bytes first), which deflates to a third
of what the same numbers take as text. `assets/data.js` has the way back.
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

UNKNOWN = -(2**31)


class Column(NamedTuple):
    """A column of numbers: its name and the step that they are rounded to."""

    name: str
    step: float


def pack_columns(columns: Sequence[Column], values: Mapping[str, ArrayLike]) -> dict[str, Any]:
    """Columns as one packed text, with what is needed to read it: rows, names and steps.

    Args:
        columns: those to pack; what has no values is left out.
        values: (rows,) numbers by name; NaN where unknown.

    Raises:
        ValueError: a value does not fit 32 bits at its step.
    """
    kept = [column for column in columns if column.name in values]
    arrays = [_whole(np.asarray(values[column.name], dtype=np.float64), column) for column in kept]
    rows = len(arrays[0]) if arrays else 0
    stacked = np.stack(arrays) if arrays else np.zeros((0, 0), "<i4")
    planes = stacked.astype("<i4").view(np.uint8).reshape(len(kept), rows, 4).transpose(0, 2, 1)
    return {
        "rows": rows,
        "columns": [list(column) for column in kept],
        "data": deflated(np.ascontiguousarray(planes).tobytes()),
    }


def _whole(values: np.ndarray[Any, np.dtype[np.float64]], column: Column) -> np.ndarray[Any, Any]:
    known = np.isfinite(values)
    steps = np.round(np.where(known, values, 0.0) / column.step)
    if np.abs(steps).max(initial=0.0) >= -UNKNOWN:
        raise ValueError(f"{column.name}: does not fit 32 bits in steps of {column.step}")
    return np.where(known, steps, UNKNOWN).astype("<i4")


def deflated(content: bytes) -> str:
    """Bytes as a page carries them: zlib's format, base64."""
    return base64.b64encode(zlib.compress(content, 9)).decode("ascii")


def rounded(value: Any, digits: int = 6) -> Any:
    """A number with as many significant digits as anybody reads; everything else as it is, NaN as None."""
    if isinstance(value, (bool, np.bool_)):
        return bool(value)
    if isinstance(value, (int, np.integer)):
        return int(value)
    if isinstance(value, (float, np.floating)):
        return float(f"{value:.{digits}g}") if np.isfinite(value) else None
    return value
