"""Certificates: at which positions of each layer the moved cache is, provably, the dense output.

The receptive-field alignment principle (the remap paper, §II-D): with m the vector field, I the
frame, I′ the reference, RF_l(p) the set of pixels that position p of layer l depends on, and P_l the least
common multiple of the strides on every path, reuse at p is exact if over RF_l(p)

1. m is constant;
2. m ≡ 0 (mod P_l), in both axes;
3. I(x) = I′(x + m) for every x, bit by bit;
4. RF_l(p) and RF_l(p) + m lie inside the image, or m is 0 along the axis in which one of them does not.

The sets are followed exactly, through the taps of every layer (dilated kernels have holes, and so do their
receptive fields); nothing is bounded by a box. What is followed is one number a position, its label: the
vector of all the pixels it depends on, or MIXED where they differ or one of them fails condition 3. Features
are never looked at. Labels are joined in C++ where there is a compiler (`kernels/ops/cpu/certify.cpp`), and
in torch, as below, where there is none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from kernels.executor.certificates.certificate_classes import CertificateClass, CertificateClasses
from kernels.executor.graph import tap_tables
from kernels.executor.state.active_sets import per_pixel
from kernels.ops import registry
from kernels.ops.cpu import certify as compiled
from kernels.ops.maps import list_tiles

CONDITIONS = frozenset({"constant", "period", "pixels", "border"})
MIXED = torch.iinfo(torch.int32).max  # above all vectors
PADDING_ONLY = torch.iinfo(torch.int32).min  # of padding alone; its own negative, and below all vectors


@dataclass(frozen=True, slots=True)
class Certificate:
    """Where the maps of one class may be reused.

    Attributes:
        count: how many positions are certified.
        certified: bool (H, W).
        fresh: uint8 (H, W), 1 where nothing has to be moved: not certified, or up to date already
            (`Certifier.certify`).
            None, as the next two, where nothing is certified.
        displacement: int16 (H, W, 2), (dx, dy) in positions; meaningful where certified.
        missing: int32 (n, 2), the positions (y, x) that are not certified.
    """

    count: int
    certified: torch.Tensor
    fresh: torch.Tensor | None = None
    displacement: torch.Tensor | None = None
    missing: torch.Tensor | None = None

    @property
    def share(self) -> float:
        """Of positions that are certified."""
        return self.count / self.certified.numel()


class Certifier:
    """Makes the certificates of one plan's classes. A result is valid until the next is made.

    Args:
        classes: of the plan.
        wanted: classes whose certificates are; None for all.

    Attributes:
        unmoved: bool, one a position of all wanted classes: certified without motion in the last result.
            None where that is not followed.
    """

    def __init__(self, classes: CertificateClasses, wanted: Sequence[int] | None = None) -> None:
        self.classes = classes
        self.unmoved: torch.Tensor | None = None
        self._compiled: compiled.CompiledCertifier | None = None
        if registry.unavailable("cpu", "cpu") is None:
            self._compiled = _compile(classes, wanted)
            self._views = [
                (
                    self._compiled.fresh[first:end].view(known.size),
                    self._compiled.displacement[first:end].view(*known.size, 2),
                )
                for known, (first, end) in zip(classes.classes, self._compiled.spans, strict=True)
            ]

    def certify(
        self,
        frame: torch.Tensor,
        reference: torch.Tensor,
        active: torch.Tensor,
        vectors: torch.Tensor,
        block_px: int,
        conditions: frozenset[str] = CONDITIONS,
        up_to_date: torch.Tensor | None = None,
    ) -> list[Certificate]:
        """The certificate of every class.

        Condition 3 is checked pixel by pixel, not taken on trust; pixels of active blocks count as changed,
        since the caller wants them computed.

        Args:
            frame, reference: float32 or float16 (H, W, C), on the CPU.
            active: bool (rows, columns) of blocks, True where the caller asks for recomputation.
            vectors: int (rows, columns, 2), (dx, dy) of every block in pixels.
            block_px: side of a block.
            conditions: which of `CONDITIONS` to ask for; dropping one shows that it is needed.
            up_to_date: in the order of `unmoved`: positions whose memory already has the reference's values.
        """
        self.unmoved = None
        if self._compiled is None or conditions != CONDITIONS:
            return certify_in_torch(self.classes, frame, reference, active, vectors, block_px, conditions)
        images = frame.float().contiguous(), reference.float().contiguous()
        counts, certified, self.unmoved = self._compiled.run(
            *images, _labels(active, vectors), block_px, up_to_date
        )
        made = []
        for known, span, count, views in zip(
            self.classes.classes, self._compiled.spans, counts, self._views, strict=True
        ):
            where = certified[span[0] : span[1]].view(known.size)
            if count == 0:
                made.append(Certificate(0, where))
            else:
                missing = self._compiled.missing[span[0] : span[1] - count]
                made.append(Certificate(count, where, *views, missing))
        return made


def certify_in_torch(
    classes: CertificateClasses,
    frame: torch.Tensor,
    reference: torch.Tensor,
    active: torch.Tensor,
    vectors: torch.Tensor,
    block_px: int,
    conditions: frozenset[str] = CONDITIONS,
) -> list[Certificate]:
    """`Certifier.certify` in torch."""
    labels: list[torch.Tensor | None] = []
    found: list[Certificate] = []
    unchanged = False
    for known in classes.classes:
        state: torch.Tensor | None
        if not labels:
            state = _pixels(frame, reference, active, vectors, block_px, conditions)
            unchanged = not bool(state.any())
        elif known.from_dense_call:
            # It depends on the whole frame: certified only if nothing has changed or moved.
            state = torch.zeros(known.size, dtype=torch.int32) if unchanged else None
        else:
            state = _joined(known, labels, conditions)
        certificate = Certificate(0, torch.zeros(known.size, dtype=torch.bool))
        if state is not None:
            state, certificate = _judge(known, state, conditions)
        labels.append(state)
        found.append(certificate)
    return found


def _compile(classes: CertificateClasses, wanted: Sequence[int] | None) -> compiled.CompiledCertifier:
    made = []
    for index, known in enumerate(classes.classes):
        kind = (
            compiled.FROM_DENSE_CALL
            if known.from_dense_call
            else compiled.INPUTS
            if index
            else compiled.FRAME
        )
        inputs = []
        for read in known.inputs:
            height, width = classes.classes[read.source].size
            vertical = read.vertical, tap_tables.strided_form(read.vertical, height)
            horizontal = read.horizontal, tap_tables.strided_form(read.horizontal, width)
            inputs.append((read.source, vertical, horizontal))
        scale = known.resolution.scale_y, known.resolution.scale_x
        border = known.rows, known.columns
        asked = wanted is None or index in wanted
        made.append(compiled.CompiledClass(kind, known.size, known.period, scale, border, inputs, asked))
    return compiled.CompiledCertifier(made)


def _labels(active: torch.Tensor, vectors: torch.Tensor) -> torch.Tensor:
    """int32 (rows, columns) of blocks: the vector, dy above dx, or MIXED where recomputation is asked for."""
    packed = (vectors[..., 1] << 16) | (vectors[..., 0] & 0xFFFF)
    return packed.masked_fill(active, MIXED).to(torch.int32)


def _vector(labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """(dx, dy) of labels, int32; of MIXED and NOTHING, any."""
    return (labels << 16) >> 16, labels >> 16


def _pixels(
    frame: torch.Tensor,
    reference: torch.Tensor,
    active: torch.Tensor,
    vectors: torch.Tensor,
    block_px: int,
    conditions: frozenset[str],
) -> torch.Tensor:
    """The label of every pixel."""
    height, width, _ = frame.shape
    labels = per_pixel(_labels(active, vectors), height, width, block_px)
    if "pixels" not in conditions:
        return labels
    dx, dy = _vector(labels)
    x, y = torch.arange(width)[None, :] + dx, torch.arange(height)[:, None] + dy
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    moved = reference[y.clamp(0, height - 1), x.clamp(0, width - 1)]
    same = same_bits(frame, moved).all(-1) & inside
    return labels.masked_fill(~same, MIXED)


def labels_over_taps(
    labels: torch.Tensor,
    vertical: torch.Tensor,
    horizontal: torch.Tensor,
    conditions: frozenset[str] = CONDITIONS,
) -> torch.Tensor:
    """The label of what each output reads: int32 (h, w) to (H, W).

    Labels agree where the largest of them is the smallest, which is the largest negative's negative.
    """
    return _agreed(tap_tables.max_over_taps(torch.stack([labels, -labels]), vertical, horizontal), conditions)


def same_bits(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """Where two maps agree bit by bit: -0 is not 0 (its reciprocal is another), a NaN is the same NaN."""
    whole = torch.int16 if one.dtype == torch.float16 else torch.int32
    return one.contiguous().view(whole) == other.contiguous().view(whole)


def _agreed(extremes: torch.Tensor, conditions: frozenset[str]) -> torch.Tensor:
    largest, negative = extremes
    return torch.where(largest == -negative, largest, MIXED) if "constant" in conditions else largest


def _joined(
    known: CertificateClass, labels: list[torch.Tensor | None], conditions: frozenset[str]
) -> torch.Tensor | None:
    """Labels of a class; None where an input has none, so that nothing can be certified any more."""
    joined: torch.Tensor | None = None
    for read in known.inputs:
        source = labels[read.source]
        if source is None:
            return None
        state = labels_over_taps(source, read.vertical, read.horizontal, conditions)
        if joined is not None:
            extremes = torch.stack([torch.maximum(state, joined), torch.maximum(-state, -joined)])
            state = _agreed(extremes, conditions)
        joined = state
    return joined


def _judge(
    known: CertificateClass, labels: torch.Tensor, conditions: frozenset[str]
) -> tuple[torch.Tensor | None, Certificate]:
    """Conditions 2 and 4; and the labels, MIXED where no layer further on can be certified either."""
    height, width = known.size
    right, down = _vector(labels)
    possible = (labels != MIXED) & (labels != PADDING_ONLY)
    if "period" in conditions:
        period_y, period_x = known.period
        possible = possible & (right % period_x == 0) & (down % period_y == 0)
    scale_y, scale_x = known.resolution.scale_y, known.resolution.scale_x
    # Floor division is exact wherever the period holds.
    shift_x = torch.div(right * scale_x.denominator, scale_x.numerator, rounding_mode="floor")
    shift_y = torch.div(down * scale_y.denominator, scale_y.numerator, rounding_mode="floor")
    column, row = torch.arange(width)[None, :] + shift_x, torch.arange(height)[:, None] + shift_y
    certified = possible & (column >= 0) & (column < width) & (row >= 0) & (row < height)
    if "border" in conditions:
        crossing_x = known.columns[None, :] | known.columns[column.clamp(0, width - 1)]
        crossing_y = known.rows[:, None] | known.rows[row.clamp(0, height - 1)]
        certified = certified & ((right == 0) | ~crossing_x) & ((down == 0) | ~crossing_y)
    left = labels.masked_fill(~possible & (labels != PADDING_ONLY), MIXED) if bool(possible.any()) else None
    count = int(certified.sum())
    if count == 0:
        return left, Certificate(0, certified)
    displacement = torch.stack([shift_x, shift_y], dim=-1).to(torch.int16)
    fresh = (~certified).to(torch.uint8)
    return left, Certificate(count, certified, fresh, displacement, list_tiles(~certified))
