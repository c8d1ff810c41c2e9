"""The taps of outputs along one axis, as the C++ library takes them: the structure of axis.h."""

from __future__ import annotations

import ctypes

import torch


class AxisStructure(ctypes.Structure):
    """Holds a pointer only: its owner keeps the table alive."""

    _fields_ = [
        ("table", ctypes.c_void_p),
        *((name, ctypes.c_int64) for name in ("taps", "stride", "start", "dilation")),
    ]


def axis_structure(table: torch.Tensor, strided: tuple[int, int, int] | None) -> AxisStructure:
    """Of an int32 (outputs, taps) table; `strided` is its stride, start and dilation, where it has them."""
    return AxisStructure(table.data_ptr(), table.shape[1], *(strided or (0, 0, 0)))
