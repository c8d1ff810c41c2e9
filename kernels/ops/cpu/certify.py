"""Certificates of all classes of a plan in one call into the C++ library: the structures of certify.cpp."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import torch

from kernels.ops.cpu.axis import AxisStructure, axis_structure
from kernels.ops.cpu.loader import library

_long = ctypes.c_int64
_pointer = ctypes.c_void_p
FRAME, INPUTS, FROM_DENSE_CALL = range(3)
Table = tuple[torch.Tensor, "tuple[int, int, int] | None"]


class _ClassInput(ctypes.Structure):
    _fields_ = [("source", _long), ("vertical", AxisStructure), ("horizontal", AxisStructure)]


class _Class(ctypes.Structure):
    _fields_ = [
        *((name, _long) for name in ("kind", "wanted", "input_count")),
        ("inputs", _pointer),
        *((name, _long) for name in ("offset", "height", "width", "period_y", "period_x")),
        *((name, _long) for name in ("numerator_y", "denominator_y", "numerator_x", "denominator_x")),
        *((name, _pointer) for name in ("rows", "columns")),
        *((name, _long) for name in ("certified", "alive")),
    ]


@dataclass(frozen=True, slots=True)
class CompiledClass:
    """A certificate class, as the C++ library takes it.

    Attributes:
        kind: FRAME, INPUTS or FROM_DENSE_CALL.
        size: (height, width).
        period, scale: pixels, (vertical, horizontal).
        border: bool (height,) and (width,): what reads padding.
        inputs: source class, and for each axis its table (outputs, K) with (stride, start, dilation), if any.
        wanted: whether its results are asked for, and not only the labels that others need.
    """

    kind: int
    size: tuple[int, int]
    period: tuple[int, int]
    scale: tuple[Fraction, Fraction]
    border: tuple[torch.Tensor, torch.Tensor]
    inputs: Sequence[tuple[int, Table, Table]] = ()
    wanted: bool = True


class CompiledCertifier:
    """The classes of one plan, and memory for their labels; results are valid until the next run.

    Attributes:
        spans: first position of each class where all lie one after another, and the one behind its last.
        displacement: int16 (positions of all classes, 2).
        fresh: uint8 (positions), 1 where nothing has to be moved: not certified, or unmoved and up to date.
        missing: int32 (positions, 2): from a class's first on, its positions (y, x) that are not certified.
    """

    def __init__(self, classes: Sequence[CompiledClass]) -> None:
        self._kept: list[Any] = []
        self._array = (_Class * len(classes))()
        self.spans: list[tuple[int, int]] = []
        positions = 0
        for made, known in zip(self._array, classes, strict=True):
            self._fill(made, known)
            made.offset = positions
            positions += known.size[0] * known.size[1]
            self.spans.append((made.offset, positions))
        self._labels = torch.empty(positions, dtype=torch.int32)
        self.fresh = torch.empty(positions, dtype=torch.uint8)
        self.displacement = torch.empty(positions, 2, dtype=torch.int16)
        self.missing = torch.empty(positions, 2, dtype=torch.int32)

    def _fill(self, made: _Class, known: CompiledClass) -> None:
        made.kind, made.wanted, made.input_count = known.kind, known.wanted, len(known.inputs)
        made.height, made.width = known.size
        made.period_y, made.period_x = known.period
        made.numerator_y, made.denominator_y = known.scale[0].as_integer_ratio()
        made.numerator_x, made.denominator_x = known.scale[1].as_integer_ratio()
        rows, columns = (edge.to(torch.uint8).contiguous() for edge in known.border)
        made.rows, made.columns = rows.data_ptr(), columns.data_ptr()
        made_inputs = (_ClassInput * len(known.inputs))()
        for made_input, (source, vertical, horizontal) in zip(made_inputs, known.inputs, strict=True):
            made_input.source = source
            made_input.vertical, made_input.horizontal = self._axis(*vertical), self._axis(*horizontal)
        made.inputs = ctypes.addressof(made_inputs)
        self._kept += [rows, columns, made_inputs]

    def _axis(self, table: torch.Tensor, strided: tuple[int, int, int] | None) -> AxisStructure:
        whole = table.to(torch.int32).contiguous()
        self._kept.append(whole)
        return axis_structure(whole, strided)

    def run(
        self,
        frame: torch.Tensor,
        reference: torch.Tensor,
        blocks: torch.Tensor,
        block_px: int,
        up_to_date: torch.Tensor | None = None,
    ) -> tuple[list[int], torch.Tensor, torch.Tensor]:
        """Labels and conditions of every class.

        Args:
            frame, reference: float32 (H, W, C), contiguous.
            blocks: int32 (rows, columns), the label of every block.
            block_px: side of a block.
            up_to_date: bool (positions,), where the new maps' memory has the reference's values already; None
                for nowhere.

        Returns:
            How many positions of each class are certified, and bool (positions,): which; and which of these
            have not moved.
        """
        for name, image in (("frame", frame), ("reference", reference)):
            if image.dtype != torch.float32 or not image.is_contiguous():
                raise ValueError(f"{name} must be contiguous float32 (got {image.dtype}, {image.stride()})")
        blocks = blocks.contiguous()
        certified, unmoved = torch.empty(2, len(self.fresh), dtype=torch.bool)
        library().fluxshard_certify(
            self._array,
            _long(len(self._array)),
            _pointer(frame.data_ptr()),
            _pointer(reference.data_ptr()),
            _long(frame.shape[2]),
            _pointer(blocks.data_ptr()),
            _long(blocks.shape[1]),
            _long(block_px),
            *(_pointer(memory.data_ptr()) for memory in (self._labels, certified, self.fresh, unmoved)),
            _pointer(None if up_to_date is None else up_to_date.data_ptr()),
            _pointer(self.displacement.data_ptr()),
            _pointer(self.missing.data_ptr()),
        )
        return [made.certified for made in self._array], certified, unmoved
