"""Certificates: each condition is needed, and together they give away nothing that brute force finds."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from kernels import SparseExecutor
from kernels.executor import policies
from kernels.executor.certificates.certificate import CONDITIONS
from tests.strategies.networks import LayerSpec, MovingFrame, RandomNetwork, moving_frames, poisoned_memory

SIZE, BLOCK, MARGIN = 16, 4, 16


def conv(*settings: int) -> tuple[str, tuple[int, ...]]:
    return "convolve", settings


# outputs, kernel, stride, dilation, groups, activation, padding
CHAINS = {
    "3×3": [conv(1, 3, 1, 1, 1, 1, 1)],
    "two 3×3": [conv(1, 3, 1, 1, 1, 1, 1), conv(1, 3, 1, 1, 1, 0, 1)],
    "strided": [conv(1, 3, 2, 1, 1, 1, 1), conv(1, 3, 1, 1, 1, 0, 1)],
    "strided 1×1": [conv(1, 1, 2, 1, 1, 0, 1), conv(1, 3, 1, 1, 1, 0, 1)],
    "dilated": [conv(1, 3, 1, 2, 1, 1, 1)],
    "stride, pool, up": [conv(1, 3, 2, 1, 1, 1, 1), ("pool", (3, 1, 1)), ("nearest", ())],
    "transposed": [conv(1, 3, 2, 1, 1, 1, 1), ("unfold", (4,))],
    "patches": [conv(1, 3, 2, 1, 1, 1, 1), ("unfold", (2,))],
    "unpadded": [conv(1, 3, 1, 1, 1, 1, 0)],
}


def chain(name: str) -> RandomNetwork:
    return RandomNetwork(
        1, [LayerSpec(kind, (i,), how) for i, (kind, how) in enumerate(CHAINS[name])], seed=1
    )


def receptive_fields(network: RandomNetwork) -> list[torch.Tensor]:
    """Which pixels each output position reads, found by putting a NaN in every pixel in turn.

    The image lies in the middle of a larger one, so that reads beyond its border are seen as well.

    Returns:
        For each map, bool (h, w, canvas, canvas) over the canvas's positions h, w.
    """
    canvas = SIZE + 2 * MARGIN
    probes = torch.ones(canvas * canvas, 1, canvas * canvas)
    probes[torch.arange(canvas**2), 0, torch.arange(canvas**2)] = float("nan")
    with torch.no_grad():
        maps = network(probes.view(-1, 1, canvas, canvas))
    return [made[:, 0].isnan().permute(1, 2, 0).unflatten(2, (canvas, canvas)) for made in maps]


def brute_force(network: RandomNetwork, motion: MovingFrame) -> list[torch.Tensor]:
    """The four conditions by their definition, at every position of every map: bool (h, w)."""
    found = []
    period = 1
    with torch.no_grad():
        maps = network(motion.frame)
    for fields, made in zip(receptive_fields(network), maps, strict=True):
        height, width = made.shape[2:]
        scale = SIZE // height if SIZE % height == 0 else 1
        period = max(period, scale)
        offset = MARGIN // scale
        result = torch.zeros(height, width, dtype=torch.bool)
        for y in range(height):
            for x in range(width):
                pixels = fields[offset + y, offset + x].nonzero() - MARGIN
                result[y, x] = holds(pixels, period, motion)
        found.append(result)
    return found


def holds(pixels: torch.Tensor, period: int, motion: MovingFrame) -> bool:
    """Conditions 1 to 4 for one receptive field: (n, 2) pixels (y, x), some perhaps outside the image."""
    inside = ((pixels >= 0) & (pixels < SIZE)).all(1)
    read = pixels[inside]
    vectors = motion.vectors[read[:, 0] // BLOCK, read[:, 1] // BLOCK]
    if not (vectors == vectors[0]).all():
        return False
    dx, dy = vectors[0].tolist()
    if dx % period or dy % period:
        return False
    if motion.active[read[:, 0] // BLOCK, read[:, 1] // BLOCK].any():
        return False
    for y, x in read.tolist():
        if not (0 <= y + dy < SIZE and 0 <= x + dx < SIZE):
            return False
        if not torch.equal(motion.frame[0, :, y, x], motion.reference[0, :, y + dy, x + dx]):
            return False
    for axis, move in ((0, dy), (1, dx)):
        for shift in (0, move):
            span = pixels[:, axis] + shift
            if move != 0 and (int(span.min()) < 0 or int(span.max()) >= SIZE):
                return False
    return True


@pytest.mark.parametrize("name", CHAINS)
@settings(max_examples=6, deadline=None)
@given(data=st.data())
def test_certificates_are_exactly_what_brute_force_finds(name: str, data: st.DataObject) -> None:
    network = chain(name)
    motion = data.draw(moving_frames(1, SIZE, BLOCK))
    executor = SparseExecutor(network, "exact", block_px=BLOCK)
    _, cache = executor.dense(motion.reference)
    _, _, report = executor.sparse(motion.frame, motion.active, motion.vectors, cache)
    plan = executor.plan(motion.frame)
    nodes = list(plan.graph.output_nodes())
    for node, expected in zip(nodes, brute_force(network, motion), strict=True):
        assert torch.equal(report.certified(plan.nodes[node].name), expected), plan.nodes[node].name


def shifted(dx: int, dy: int) -> MovingFrame:
    """A frame that is its reference moved by one vector; new content where that comes from outside."""
    generator = torch.Generator().manual_seed(7)
    reference = torch.randint(1, 4, (1, 1, SIZE, SIZE), generator=generator).float()
    frame = torch.full_like(reference, 9.0)
    for y in range(SIZE):
        for x in range(SIZE):
            if 0 <= y + dy < SIZE and 0 <= x + dx < SIZE:
                frame[..., y, x] = reference[..., y + dy, x + dx]
    blocks = SIZE // BLOCK
    vectors = torch.zeros(blocks, blocks, 2, dtype=torch.int32)
    vectors[:] = torch.tensor([dx, dy])
    return MovingFrame(reference, frame, vectors, torch.zeros(blocks, blocks, dtype=torch.bool))


def two_motions() -> MovingFrame:
    """The left half still, the right half moved by a block."""
    still, moved = shifted(0, 0), shifted(-BLOCK, 0)
    frame, vectors = still.frame.clone(), still.vectors.clone()
    frame[..., SIZE // 2 :] = moved.frame[..., SIZE // 2 :]
    vectors[:, SIZE // BLOCK // 2 :] = moved.vectors[:, SIZE // BLOCK // 2 :]
    return MovingFrame(still.reference, frame, vectors, still.active)


def occluded() -> MovingFrame:
    """Nothing moves, one pixel changes, and nobody flags it."""
    motion = shifted(0, 0)
    motion.frame[0, 0, 5, 5] += 1
    return motion


BREAKS = {
    "constant": ([conv(1, 3, 1, 1, 1, 0, 1)], two_motions),
    "period": ([conv(1, 3, 2, 1, 1, 0, 1)], lambda: shifted(1, 0)),
    "pixels": ([conv(1, 3, 1, 1, 1, 0, 1)], occluded),
    "border": ([conv(1, 3, 1, 1, 1, 0, 1)], lambda: shifted(BLOCK, 0)),
}


@pytest.mark.parametrize("condition", BREAKS)
def test_every_condition_is_needed(condition: str) -> None:
    """With all four the sparse run is the dense one; without any one of them it is not."""
    steps, make = BREAKS[condition]
    network = RandomNetwork(1, [LayerSpec(kind, (i,), how) for i, (kind, how) in enumerate(steps)], seed=1)
    with torch.no_grad():
        network.layers[0][0].weight.copy_(torch.arange(1.0, 10.0).view(1, 1, 3, 3))
    motion = make()
    executor = SparseExecutor(network, "exact", block_px=BLOCK)
    _, cache = executor.dense(motion.reference)
    expected = network(motion.frame)[0]
    prepared = executor._prepared[tuple(motion.frame.shape)]
    request = policies.SparseRequest(motion.frame, motion.active, motion.vectors.long(), cache, BLOCK)
    for conditions, same in ((CONDITIONS, True), (CONDITIONS - {condition}, False)):
        runner, _, _ = policies.run_exact(prepared.plan, prepared.pool, request, conditions)
        assert torch.equal(runner.outputs()[0], expected) is same


def test_a_strided_layer_is_reused_only_along_multiples_of_its_period() -> None:
    network = chain("strided")
    for dx, reusable in ((1, False), (2, True), (3, False), (4, True)):
        motion = shifted(dx, 0)
        executor = SparseExecutor(network, "exact", block_px=BLOCK)
        _, cache = executor.dense(motion.reference)
        _, _, report = executor.sparse(motion.frame, motion.active, motion.vectors, cache)
        assert (report.reused["layers.1.0"] > 0) is reusable, dx


def test_a_global_layer_is_reused_only_when_nothing_changed() -> None:
    """Behind global pooling every position has seen every pixel."""

    class Attended(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Conv2d(1, 2, 3, padding=1)
            self.last = nn.Conv2d(2, 1, 3, padding=1)

        def forward(self, frame: torch.Tensor) -> torch.Tensor:
            value = self.first(frame)
            return self.last(value * value.mean((2, 3), keepdim=True))

    network = Attended().eval()
    for motion, share in ((shifted(0, 0), 1.0), (occluded(), 0.0), (shifted(BLOCK, 0), 0.0)):
        executor = SparseExecutor(network, "exact", block_px=BLOCK)
        _, cache = executor.dense(motion.reference)
        with poisoned_memory():
            outputs, _, report = executor.sparse(motion.frame, motion.active, motion.vectors, cache)
        assert report.reused["last"] == share
        torch.testing.assert_close(outputs, network(motion.frame))
