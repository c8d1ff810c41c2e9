"""Certificates: at which positions of each layer the moved cache is, provably, the dense output.

The receptive-field alignment principle (the remap paper, §II-D): with m the vector field, I the
frame, I′ the reference, RF_l(p) the set of pixels that position p of layer l depends on, and P_l the least
common multiple of the strides on every path, reuse at p is exact if over RF_l(p)

1. m is constant;
2. m ≡ 0 (mod P_l), in both axes;
3. I(x) = I′(x + m) for every x;
4. RF_l(p) and RF_l(p) + m lie inside the image, or m is 0 along the axis in which one of them does not.

The sets are followed exactly, through the taps of every layer (dilated kernels have holes, and so do their
receptive fields); nothing is bounded by a box. What is followed is small: whether any pixel fails condition
3, and the extremes of m, which agree where m is constant. Features are never looked at.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from kernels.executor.geometry import spread
from kernels.executor.graph import Enter, Node
from kernels.executor.plan import Plan

CONDITIONS = frozenset({"constant", "period", "pixels", "border"})


@dataclass(frozen=True, slots=True)
class Certificate:
    """Where a layer may be reused.

    Attributes:
        certified: bool (H, W).
        displacement: int16 (H, W, 2), (dx, dy) in positions; meaningful where certified.
    """

    certified: torch.Tensor
    displacement: torch.Tensor


def certify(
    plan: Plan,
    frame: torch.Tensor,
    reference: torch.Tensor,
    active: torch.Tensor,
    vectors: torch.Tensor,
    conditions: frozenset[str] = CONDITIONS,
) -> dict[int, Certificate]:
    """The certificate of every map of a plan.

    Condition 3 is checked pixel by pixel, not taken on trust; pixels of active blocks count as changed, since
    the caller wants them computed.

    Args:
        plan: of the network.
        frame, reference: (H, W, C).
        active: bool (H, W), True where the caller asks for recomputation.
        vectors: int (H, W, 2), (dx, dy) of every pixel.
        conditions: which of `CONDITIONS` to ask for; dropping one shows that it is needed.
    """
    states: dict[int, torch.Tensor | None] = {}
    start, unchanged = _pixels(frame, reference, active, vectors, conditions)
    found: dict[int, Certificate] = {}
    # Layers that read one map through one window share its state, and if the rest is equal its certificate.
    # States are told apart by id, so all of them are kept until the end.
    kept: list[torch.Tensor] = []
    spreads: dict[tuple[int, int, int], torch.Tensor] = {}
    judged: dict[tuple[int, ...], Certificate] = {}
    for index, node in enumerate(plan.nodes):
        if not node.is_map:
            continue
        state: torch.Tensor | None
        if index == 0:
            state = start
        elif isinstance(node.work, Enter):
            # What is behind a value has seen the whole frame: it holds if nothing at all has changed.
            height, width, _ = node.map_shape()
            state = torch.zeros(5, height, width, dtype=torch.int32) if unchanged else None
        else:
            state = _joined(node, states, spreads)
        states[index] = state
        if state is not None:
            kept.append(state)
        border = plan.borders[index]
        assert border is not None
        key: tuple[int, ...] = (-1, plan.level(index))
        if state is not None:
            key = (id(state), *node.period, id(border[0]), id(border[1]))
        if key not in judged:
            judged[key] = _nothing(node) if state is None else _judge(plan, index, node, state, conditions)
        found[index] = judged[key]
        if state is not None and index > 0 and not bool(_possible(state, conditions).any()):
            states[index] = None
    return found


def _joined(
    node: Node, states: dict[int, torch.Tensor | None], spreads: dict[tuple[int, int, int], torch.Tensor]
) -> torch.Tensor | None:
    """The state of a node from its inputs'; None where nothing behind an input can be certified any more."""
    joined: torch.Tensor | None = None
    for source, (vertical, horizontal) in zip(node.inputs, node.taps, strict=True):
        state = states[source]
        if state is None:
            return None
        key = (id(state), id(vertical), id(horizontal))
        if key not in spreads:
            spreads[key] = spread(state, vertical, horizontal)
        part = spreads[key]
        joined = part if joined is None or part is joined else torch.maximum(joined, part)
    return joined


def _possible(state: torch.Tensor, conditions: frozenset[str]) -> torch.Tensor:
    """Where the conditions that only ever fail further on still hold."""
    changed, right, left, down, up = state
    possible = changed == 0
    if "constant" in conditions:
        possible = possible & (right == -left) & (down == -up)
    return possible


def _nothing(node: Node) -> Certificate:
    height, width, _ = node.map_shape()
    return Certificate(
        torch.zeros(height, width, dtype=torch.bool), torch.zeros(height, width, 2, dtype=torch.int16)
    )


def _pixels(
    frame: torch.Tensor,
    reference: torch.Tensor,
    active: torch.Tensor,
    vectors: torch.Tensor,
    conditions: frozenset[str],
) -> tuple[torch.Tensor, bool]:
    """Of every pixel, int32 (5, H, W): changed, max of m_x, −m_x, m_y, −m_y; and whether nothing did."""
    height, width, _ = frame.shape
    x = torch.arange(width)[None, :] + vectors[..., 0]
    y = torch.arange(height)[:, None] + vectors[..., 1]
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    moved = reference[y.clamp(0, height - 1), x.clamp(0, width - 1)]
    changed = ~(frame == moved).all(-1) | ~inside
    if "pixels" not in conditions:
        changed = torch.zeros_like(changed)
    changed = changed | active
    state = torch.stack([changed.int(), vectors[..., 0], -vectors[..., 0], vectors[..., 1], -vectors[..., 1]])
    unchanged = not bool(changed.any()) and not bool(vectors.any())
    return state.int(), unchanged


def _judge(
    plan: Plan, index: int, node: Node, state: torch.Tensor, conditions: frozenset[str]
) -> Certificate:
    _, right, _, down, _ = state
    height, width, _ = node.map_shape()
    certified = _possible(state, conditions)
    if "period" in conditions:
        period_y, period_x = node.period
        certified = certified & (right % period_x == 0) & (down % period_y == 0)
    scale_y, scale_x = node.map_scale()
    # Floor division is exact wherever the period holds.
    shift_x = torch.div(right * scale_x.denominator, scale_x.numerator, rounding_mode="floor")
    shift_y = torch.div(down * scale_y.denominator, scale_y.numerator, rounding_mode="floor")
    column, row = torch.arange(width)[None, :] + shift_x, torch.arange(height)[:, None] + shift_y
    certified = certified & (column >= 0) & (column < width) & (row >= 0) & (row < height)
    if "border" in conditions:
        border = plan.borders[index]
        assert border is not None
        rows, columns = border
        crossing_x = columns[None, :] | columns[column.clamp(0, width - 1)]
        crossing_y = rows[:, None] | rows[row.clamp(0, height - 1)]
        certified = certified & ((right == 0) | ~crossing_x) & ((down == 0) | ~crossing_y)
    displacement = torch.stack([shift_x, shift_y], dim=-1).to(torch.int16)
    return Certificate(certified, displacement)
