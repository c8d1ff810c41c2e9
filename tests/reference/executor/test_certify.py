"""Certificates in C++ against the same in torch: every class, whatever the taps."""

from __future__ import annotations

from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kernels import SparseExecutor
from kernels.executor.certificates.certificate import (
    Certificate,
    Certifier,
    certify_in_torch,
    labels_over_taps,
)
from kernels.executor.certificates.certificate_classes import (
    CertificateClass,
    CertificateClasses,
    ClassInput,
    find_classes,
)
from kernels.executor.graph import tap_tables
from kernels.executor.plan.execution_plan import Resolution
from kernels.ops import registry
from tests.strategies.networks import MovingFrame, RandomNetwork, cases

pytestmark = pytest.mark.skipif(
    registry.unavailable("cpu", "cpu") is not None, reason="no C++ compiler: torch is all there is"
)
BLOCK = 8


def assert_same(made: list[Certificate], wanted: list[Certificate]) -> None:
    for one, other in zip(made, wanted, strict=True):
        assert one.count == other.count
        assert torch.equal(one.certified, other.certified)
        if one.count:
            assert torch.equal(one.fresh, other.fresh)
            assert torch.equal(one.missing, other.missing)
            assert torch.equal(one.displacement[one.certified], other.displacement[one.certified])


def blocked(motion: MovingFrame) -> tuple[torch.Tensor, ...]:
    """(frame, reference, active, vectors) as certificates take them."""
    images = (image[0].permute(1, 2, 0).contiguous() for image in (motion.frame, motion.reference))
    return *images, motion.active, motion.vectors.long()


@settings(max_examples=60, deadline=None)
@given(case=cases())
def test_of_networks(case: tuple[RandomNetwork, MovingFrame]) -> None:
    network, motion = case
    plan = SparseExecutor(network, "exact", block_px=BLOCK).plan(motion.frame)
    classes = find_classes(plan)
    frames = blocked(motion)
    assert_same(Certifier(classes).certify(*frames, BLOCK), certify_in_torch(classes, *frames, BLOCK))
    # The labels of one frame must leave nothing behind for the next.
    certifier = Certifier(classes)
    certifier.certify(*frames, BLOCK)
    back = (frames[1], frames[0], ~motion.active, -motion.vectors.long())
    assert_same(certifier.certify(*back, BLOCK), certify_in_torch(classes, *back, BLOCK))


@st.composite
def tables(draw: st.DrawFn, size: int) -> torch.Tensor:
    """The taps of one axis of `size` inputs: of a layer, or any."""
    kind = draw(st.sampled_from(["window", "transposed", "nearest", "bilinear", "padded", "any"]))
    kernel, stride, dilation = draw(st.integers(1, 5)), draw(st.integers(1, 4)), draw(st.integers(1, 3))
    padding = draw(st.integers(0, 4))
    outputs = draw(st.integers(1, 2 * size))
    if kind == "window":
        return tap_tables.window(size, outputs, kernel, stride, padding, dilation)
    if kind == "transposed":
        return tap_tables.transposed(size, outputs, kernel, stride, padding, dilation)
    if kind == "nearest":
        return tap_tables.nearest(size, size * stride)
    if kind == "bilinear":
        return tap_tables.bilinear(size, size * stride, draw(st.booleans()))
    if kind == "padded":
        return tap_tables.padded(size, padding, draw(st.integers(-size + 1, 4)))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 999)))
    return torch.randint(-1, size, (outputs, kernel), generator=generator)


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_of_any_taps(data: st.DataObject) -> None:
    """A frame and one class that reads it; half of the blocks move, and some of the pixels differ."""
    height, width = data.draw(st.integers(3, 24)), data.draw(st.integers(3, 40))
    inputs = tuple(
        ClassInput(0, data.draw(tables(height)), data.draw(tables(width)))
        for _ in range(data.draw(st.integers(1, 2)))
    )
    size = min(len(read.vertical) for read in inputs), min(len(read.horizontal) for read in inputs)
    inputs = tuple(ClassInput(0, read.vertical[: size[0]], read.horizontal[: size[1]]) for read in inputs)
    generator = torch.Generator().manual_seed(data.draw(st.integers(0, 999)))

    def random_edge(length: int) -> torch.Tensor:
        return torch.rand(length, generator=generator) < 0.1

    scale = Fraction(data.draw(st.integers(1, 4)), data.draw(st.integers(1, 3)))
    period = data.draw(st.integers(1, 4)), data.draw(st.integers(1, 4))
    none = torch.zeros(height, dtype=torch.bool), torch.zeros(width, dtype=torch.bool)
    classes = CertificateClasses(
        [
            CertificateClass(Resolution(height, width, Fraction(1), Fraction(1)), (1, 1), *none),
            CertificateClass(
                Resolution(*size, scale, Fraction(1)),
                period,
                random_edge(size[0]),
                random_edge(size[1]),
                inputs,
            ),
        ],
        [0, 1],
    )
    grid = -(-height // 4), -(-width // 4)
    vectors = torch.randint(-2, 3, (*grid, 2), generator=generator) * data.draw(st.sampled_from([0, 1, 2]))
    vectors = torch.where(torch.rand(*grid, 1, generator=generator) < 0.5, vectors, 0)
    active = torch.rand(grid, generator=generator) < 0.1
    frame = torch.rand(height, width, 2, generator=generator).round()
    differs = torch.rand(height, width, 1, generator=generator) < data.draw(st.sampled_from([0.0, 0.02]))
    reference = torch.where(differs, 7.0, frame)
    frames = (frame, reference, active, vectors)
    assert_same(Certifier(classes).certify(*frames, 4), certify_in_torch(classes, *frames, 4))


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_a_spread_label_is_the_one_of_all_that_is_read(data: st.DataObject) -> None:
    """By its definition, position by position: the one label of what is not padding, or MIXED."""
    height, width = data.draw(st.integers(2, 8)), data.draw(st.integers(2, 8))
    vertical, horizontal = data.draw(tables(height)), data.draw(tables(width))
    generator = torch.Generator().manual_seed(data.draw(st.integers(0, 999)))
    labels = torch.randint(-2, 2, (height, width), generator=generator, dtype=torch.int32)
    labels[torch.rand(height, width, generator=generator) < 0.5] = 1
    mixed, nothing = torch.iinfo(torch.int32).max, torch.iinfo(torch.int32).min
    made = labels_over_taps(labels, vertical, horizontal)
    for y, rows in enumerate(vertical.tolist()):
        for x, columns in enumerate(horizontal.tolist()):
            read = {int(labels[row, column]) for row in rows for column in columns if min(row, column) >= 0}
            wanted = nothing if not read else read.pop() if len(read) == 1 else mixed
            assert made[y, x] == wanted
