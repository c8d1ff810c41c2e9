"""Tap tables: which input positions an output position reads, one axis at a time.

Every local layer reads a product of two axis sets, so its dependency is two tables. A table is int64
(outputs, K): row o lists the inputs that output o reads, `PADDING` standing for padding; short rows repeat
one.
"""

from __future__ import annotations

from functools import lru_cache

import torch

from kernels.ops.reference.upsample import linear_taps

PADDING = -1


@lru_cache(maxsize=1024)
def identity(size: int) -> torch.Tensor:
    """Output o reads input o."""
    return torch.arange(size)[:, None]


@lru_cache(maxsize=1024)
def window(size: int, outputs: int, kernel: int, stride: int, padding: int, dilation: int) -> torch.Tensor:
    """Convolution or pooling: output o reads o·stride − padding + k·dilation for k < kernel."""
    table = torch.arange(outputs)[:, None] * stride - padding + torch.arange(kernel) * dilation
    return torch.where((table >= 0) & (table < size), table, PADDING)


@lru_cache(maxsize=1024)
def transposed(
    size: int, outputs: int, kernel: int, stride: int, padding: int, dilation: int
) -> torch.Tensor:
    """Transposed convolution: output o reads every i with i·stride − padding + k·dilation = o for some k."""
    position = torch.arange(outputs)[:, None] + padding - torch.arange(kernel) * dilation
    source = torch.div(position, stride, rounding_mode="floor")
    source = torch.where((source >= 0) & (source < size), source, PADDING)
    return _only(source, position % stride == 0)


@lru_cache(maxsize=1024)
def nearest(size: int, outputs: int) -> torch.Tensor:
    """Nearest upsampling by a whole factor: output o reads o // factor."""
    return (torch.arange(outputs) // (outputs // size))[:, None]


@lru_cache(maxsize=1024)
def bilinear(size: int, outputs: int, align_corners: bool) -> torch.Tensor:
    """Bilinear upsampling: the two neighbours, or one where the other's weight is 0.

    A neighbour beyond the border is the border repeated, which is padding: it does not move with the content.
    With `align_corners` the weights are of the place in the map, and so no output moves with the content.
    """
    positions = torch.arange(outputs)
    first, second, weight = linear_taps(positions, size, outputs, align_corners)
    table = torch.stack([first, torch.where(weight > 0, second, first)], dim=1)
    if align_corners:
        return torch.cat([table, torch.full((outputs, 1), PADDING)], dim=1)
    # Source positions in units of 1 / (2 · outputs).
    where = (2 * positions + 1) * size - outputs
    table[where < 0, 1] = PADDING
    table[where > (size - 1) * 2 * outputs, 1] = PADDING
    return table


@lru_cache(maxsize=1024)
def padded(size: int, before: int, after: int) -> torch.Tensor:
    """Padding by `before` and `after` (negative crops)."""
    table = torch.arange(size + before + after)[:, None] - before
    return torch.where((table >= 0) & (table < size), table, PADDING)


def _only(table: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
    """Replace entries that are no taps by one of the row's own; a row with none reads padding."""
    chosen = table.gather(1, real.int().argmax(dim=1, keepdim=True))
    chosen = torch.where(real.any(dim=1, keepdim=True), chosen, PADDING)
    return torch.where(real, table, chosen)


def is_identity(table: torch.Tensor) -> bool:
    """Whether output o reads input o and nothing else."""
    return table.shape[1] == 1 and torch.equal(table[:, 0], torch.arange(table.shape[0]))


def includes_identity(table: torch.Tensor) -> bool:
    """Whether output o reads input o, perhaps among others."""
    return bool((table == torch.arange(table.shape[0])[:, None]).any(dim=1).all())


def strided_form(table: torch.Tensor, size: int) -> tuple[int, int, int] | None:
    """(stride, start, dilation) if output o reads o·stride + start + k·dilation wherever that lies inside.

    Args:
        table: (outputs, K).
        size: how many inputs there are.
    """
    full = (table >= 0).all(dim=1).nonzero()[:, 0]
    if len(full) < 2:
        return None
    first = int(full[0])
    start = table[first, 0]
    stride = int(table[first + 1, 0] - start)
    dilation = int(table[first, 1] - start) if table.shape[1] > 1 else 1
    if stride < 1:
        return None
    offset = int(start) - first * stride
    wanted = torch.arange(table.shape[0])[:, None] * stride + offset + torch.arange(table.shape[1]) * dilation
    wanted = torch.where((wanted >= 0) & (wanted < size), wanted, PADDING)
    return (stride, offset, dilation) if torch.equal(wanted, table) else None


def max_over_taps(values: torch.Tensor, vertical: torch.Tensor, horizontal: torch.Tensor) -> torch.Tensor:
    """The largest of `values` (..., h, w) over what each output reads: (..., H, W). Padding never wins.

    With bools: whether any input read is True. Separable, because the dependency is a product.
    """
    turned = _max_over_last(_max_over_last(values, horizontal).transpose(-1, -2), vertical)
    return turned.transpose(-1, -2).contiguous()


def _max_over_last(values: torch.Tensor, table: torch.Tensor) -> torch.Tensor:
    if is_identity(table) and table.shape[0] == values.shape[-1]:
        return values
    lowest = False if values.dtype == torch.bool else torch.iinfo(values.dtype).min
    border = torch.full((*values.shape[:-1], 1), lowest, dtype=values.dtype)
    # Index -1 (OUTSIDE) is the appended border.
    columns = torch.cat([values, border], dim=-1)
    result = columns[..., table[:, 0]]
    for tap in range(1, table.shape[1]):
        other = columns[..., table[:, tap]]
        result = result | other if values.dtype == torch.bool else torch.maximum(result, other)
    return result
