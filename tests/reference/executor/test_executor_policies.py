"""`fixed` and `truncate` against slow formulas; what empty and full sets mean under every policy."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from kernels import SparseExecutor
from kernels.executor.calibration.truncation_profile import TruncationProfile, TruncationRow
from kernels.ops import reference, registry
from tests.strategies.networks import MovingFrame, RandomNetwork, cases, moving_frames, poisoned_memory

BACKENDS = [name for name in ("reference", "cpu") if registry.unavailable(name, "cpu") is None]


@pytest.mark.parametrize("policy", ["exact", "truncate", "fixed"])
@settings(max_examples=15, deadline=None)
@given(case=cases())
def test_a_full_set_is_a_dense_run(policy: str, case: tuple[RandomNetwork, MovingFrame]) -> None:
    network, motion = case
    with poisoned_memory():
        executor = SparseExecutor(
            network, policy, block_px=8, truncation=TruncationProfile((TruncationRow(0, 0, 0, 0.0),))
        )
        _, cache = executor.dense(motion.reference)
        everything = torch.ones_like(motion.active)
        outputs, _, report = executor.sparse(motion.frame, everything, motion.vectors, cache)
    with torch.no_grad():
        expected = network(motion.frame)
    assert all(torch.equal(one, other) for one, other in zip(outputs, expected, strict=True))
    assert set(report.reused.values()) <= {0.0}
    if policy == "fixed":
        assert report.computed is not None
        assert bool(report.computed.all())
    else:  # what these compute are positions
        assert report.given is None
        assert report.computed is None


@pytest.mark.parametrize("policy", ["exact", "fixed", "truncate"])
def test_reports_are_equal_where_all_of_them_is(policy: str) -> None:
    layer, still = nn.Conv2d(1, 3, 3, 2, 1).eval(), torch.zeros(4, 4, 2, dtype=torch.int16)
    executor = SparseExecutor(layer, policy, block_px=8, margin_px=0)
    image = torch.zeros(1, 1, 32, 32)
    _, cache = executor.dense(image)
    one, other = torch.zeros(2, 4, 4, dtype=torch.bool)
    one[1, 1] = other[2, 2] = True

    def report(active: torch.Tensor) -> Any:
        frame = image + active.repeat_interleave(8, 0).repeat_interleave(8, 1).float()
        return executor.sparse(frame, active, still, cache)[2]

    assert report(one) == report(one)
    assert report(one) != report(torch.ones_like(one))
    assert report(one) != "a report"
    # As much is reused, at other places, which `truncate` does not report.
    assert (report(one) == report(other)) == (policy == "truncate")


@pytest.mark.parametrize("sampling", ["nearest", "bilinear"])
@pytest.mark.parametrize("policy", ["truncate", "fixed"])
@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_an_empty_set_is_the_moved_cache(policy: str, sampling: str, data: st.DataObject) -> None:
    motion = data.draw(moving_frames(1))
    layer = nn.Conv2d(1, 3, 3, 2, 1).eval()
    with poisoned_memory():
        executor = SparseExecutor(layer, policy, block_px=8, sampling=sampling)
        before, cache = executor.dense(motion.reference)
        nothing = torch.zeros_like(motion.active)
        outputs, _, report = executor.sparse(motion.frame, nothing, motion.vectors, cache)
    field = motion.vectors.repeat_interleave(4, 0).repeat_interleave(4, 1).float() / 2
    displacement = field if sampling == "bilinear" else field.round().to(torch.int16)
    moved = torch.empty(16, 16, 3)
    reference.remap(before[0].permute(1, 2, 0).contiguous(), displacement.contiguous(), moved)
    torch.testing.assert_close(outputs[0].permute(1, 2, 0), moved)
    assert report.reused == {"conv": 1.0} or set(report.reused.values()) == {1.0}


@pytest.mark.parametrize("backend", BACKENDS)
@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_fixed_reads_its_halo_from_the_moved_cache(backend: str, data: st.DataObject) -> None:
    """Layer by layer: input = new where active, moved cache elsewhere; the output is kept where active."""
    motion = data.draw(moving_frames(2))
    vectors = (
        motion.vectors // 2 * 2
    )  # whole positions of every layer: what rounding leaves over is tested below
    active = torch.rand(4, 4, generator=torch.Generator().manual_seed(data.draw(st.integers(0, 999)))) < 0.4
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(2, 6, 3, 1, 1), nn.ReLU(), nn.Conv2d(6, 5, 3, 2, 1), nn.Conv2d(5, 4, 3, 1, 1)
    )
    network.eval()
    with poisoned_memory():
        executor = SparseExecutor(network, "fixed", backend, block_px=8)
        _, cache = executor.dense(motion.reference)
        outputs, after, _ = executor.sparse(motion.frame, active, vectors, cache)
        second, _, _ = executor.sparse(motion.reference, ~active, -vectors, after)

    def oracle(
        frame: torch.Tensor, blocks: torch.Tensor, vectors: torch.Tensor, maps: list[torch.Tensor]
    ) -> list[torch.Tensor]:
        value, made = frame, []
        for layer, old in zip((network[:2], network[2], network[3]), maps, strict=True):
            new = layer(value)
            size = new.shape[2] // blocks.shape[0]
            mask = blocks.repeat_interleave(size, 0).repeat_interleave(size, 1)
            field = vectors.repeat_interleave(size, 0).repeat_interleave(size, 1).float() * size / 8
            moved = torch.empty(*new.shape[2:], new.shape[1])
            reference.remap(old[0].permute(1, 2, 0).contiguous(), field.round().to(torch.int16), moved)
            value = torch.where(mask, new, moved.permute(2, 0, 1)[None])
            made.append(value)
        return made

    with torch.no_grad():
        start, value = [], motion.reference
        for layer in (network[:2], network[2], network[3]):
            value = layer(value)
            start.append(value)
        first = oracle(motion.frame, active, vectors, start)
        then = oracle(motion.reference, ~active, -vectors, first)
    torch.testing.assert_close(outputs, first[-1], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(second, then[-1], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("policy", ["truncate", "fixed"])
@pytest.mark.parametrize("step_px", [1, 3, -5])
def test_slow_motion_adds_up(policy: str, step_px: int) -> None:
    """Content that moves a fraction of a layer's stride a frame is followed to within half a position."""
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(1, 2, 3, 2, 1), nn.Conv2d(2, 2, 3, 2, 1), nn.Conv2d(2, 4, 3, 2, 1)
    ).eval()
    scene = torch.rand(1, 1, 64, 160)
    nothing, vectors = torch.zeros(4, 4, dtype=torch.bool), torch.zeros(4, 4, 2, dtype=torch.int32)
    vectors[..., 0] = step_px
    executor = SparseExecutor(network, policy)
    start, cache = executor.dense(scene[..., 48:112].contiguous())
    for frame in range(1, 7):
        view = scene[..., 48 + frame * step_px :][..., :64].contiguous()
        outputs, cache, _ = executor.sparse(view, nothing, vectors, cache)
        if frame * step_px % 8 == 4:
            continue  # half a position: either neighbour will do
        moved = round(frame * step_px / 8)
        inside = slice(max(0, -moved), 8 - max(0, moved))
        came_from = slice(inside.start + moved, inside.stop + moved)
        torch.testing.assert_close(outputs[..., inside], start[..., came_from], msg=f"frame {frame}")


@settings(max_examples=15, deadline=None)
@given(case=cases())
def test_backends_agree_under_fixed(case: tuple[RandomNetwork, MovingFrame]) -> None:
    network, motion = case
    results = []
    for backend in BACKENDS:
        with poisoned_memory():
            executor = SparseExecutor(network, "fixed", backend, block_px=8)
            _, cache = executor.dense(motion.reference)
            outputs, after, _ = executor.sparse(motion.frame, motion.active, motion.vectors, cache)
            again, _, _ = executor.sparse(motion.frame, ~motion.active, motion.vectors, after)
            results.append([*outputs, *again])
    for made in results[1:]:
        assert all(torch.equal(one, other) for one, other in zip(results[0], made, strict=True))
    assert not any(value.isnan().any() for value in results[0])


@settings(max_examples=15, deadline=None)
@given(case=cases())
def test_truncation_by_nothing_follows_every_change(case: tuple[RandomNetwork, MovingFrame]) -> None:
    """With ε = 0 and no motion, what the active set reaches is all that can differ."""
    network, motion = case
    frame = motion.reference.clone()
    frame[..., 8:16, 8:24] += 1
    active = torch.zeros(4, 4, dtype=torch.bool)
    active[1, 1:3] = True
    still = torch.zeros_like(motion.vectors)
    with poisoned_memory():
        executor = SparseExecutor(
            network, "truncate", block_px=8, truncation=TruncationProfile((TruncationRow(0, 0, 0, 0.0),))
        )
        _, cache = executor.dense(motion.reference)
        outputs, _, _ = executor.sparse(frame, active, still, cache)
    with torch.no_grad():
        assert all(torch.equal(one, two) for one, two in zip(outputs, network(frame), strict=True))


def test_a_larger_epsilon_computes_less_and_errs_more() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(
        *(nn.Sequential(nn.Conv2d(8 if i else 3, 8, 3, 1, 1), nn.SiLU()) for i in range(5))
    )
    network.eval()
    reference_frame = torch.rand(1, 3, 64, 64)
    frame = reference_frame.clone()
    frame[..., 16:32, 16:32] = torch.rand(1, 3, 16, 16)
    active, vectors = torch.zeros(4, 4, dtype=torch.bool), torch.zeros(4, 4, 2, dtype=torch.int32)
    active[1, 1] = True
    with torch.no_grad():
        truth = network(frame)
    rows = []
    for epsilon in (0.0, 0.01, 0.1, 1.0):
        executor = SparseExecutor(
            network, "truncate", truncation=TruncationProfile((TruncationRow(0, 0, 0, epsilon),))
        )
        _, cache = executor.dense(reference_frame)
        outputs, _, report = executor.sparse(frame, active, vectors, cache)
        rows.append((report.reused["4.0"], float((outputs - truth).abs().max())))
    reused, errors = zip(*rows, strict=True)
    assert list(reused) == sorted(reused)
    assert reused[0] < reused[-1]
    assert errors[0] <= 1e-5 < errors[-1]


def test_the_profile_finds_the_nearest_motion() -> None:
    still, fast = TruncationRow(0.0, 0.0, 0.1, 0.2), TruncationRow(20.0, 5.0, 0.5, 0.01)
    profile = TruncationProfile((still, fast))
    active, vectors = torch.zeros(4, 4, dtype=torch.bool), torch.zeros(4, 4, 2, dtype=torch.int32)
    assert profile.lookup(active, vectors) == still.epsilon
    assert profile.lookup(active | True, vectors + 14) == fast.epsilon
    assert replace(still, epsilon=0.3) != still


def test_a_cache_can_be_used_again_and_again() -> None:
    """The edge of the later system starts every frame from the same dense refresh."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.SiLU(), nn.Conv2d(8, 8, 3, 1, 1)).eval()
    executor = SparseExecutor(network, "fixed")
    frames = torch.rand(4, 1, 3, 64, 64)
    active, vectors = torch.rand(4, 4) < 0.5, torch.randint(-9, 9, (4, 4, 2))
    _, cache = executor.dense(frames[0])
    first, _, _ = executor.sparse(frames[1], active, vectors, cache)
    _, longer, _ = executor.sparse(frames[2], ~active, vectors, cache)
    executor.sparse(frames[3], active, vectors, longer)
    again, _, _ = executor.sparse(frames[1], active, vectors, cache)
    assert torch.equal(first, again)


def test_attention_and_global_layers_run_densely() -> None:
    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem = nn.Sequential(
                nn.Conv2d(3, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8), nn.SiLU(inplace=True)
            )
            self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
            self.last = nn.Conv2d(8, 4, 3, 1, 1)

        def forward(self, frame: torch.Tensor) -> dict[str, torch.Tensor | list[torch.Tensor]]:
            value = self.stem(frame)
            tokens = value.flatten(2).transpose(1, 2)
            tokens = tokens + self.attention(tokens, tokens, tokens)[0]
            back = tokens.transpose(1, 2).unflatten(2, value.shape[2:])
            gate = functional.adaptive_avg_pool2d(value, 1).sigmoid()
            return {"map": self.last(back), "list": [value * gate, tokens.mean(1)]}

    torch.manual_seed(0)
    network = Network().eval()
    nn.init.normal_(network.stem[1].running_mean)
    before, frame = torch.rand(2, 1, 3, 32, 32)
    active, vectors = torch.ones(2, 2, dtype=torch.bool), torch.zeros(2, 2, 2, dtype=torch.int32)
    for policy in ("exact", "truncate", "fixed"):
        with poisoned_memory():
            executor = SparseExecutor(network, policy)
            _, cache = executor.dense(before)
            outputs, _, _ = executor.sparse(frame, active, vectors, cache)
        with torch.no_grad():
            expected = network(frame)
        torch.testing.assert_close(outputs, expected, rtol=1e-4, atol=1e-5)


def test_past_the_break_even_a_frame_runs_densely() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.SiLU(), nn.Conv2d(8, 8, 3, 1, 1)).eval()
    executor = SparseExecutor(network, "fixed")
    before, frame = torch.rand(2, 1, 3, 64, 64)
    dense, cache = executor.dense(frame)
    active, vectors = torch.arange(16).view(4, 4) < 8, torch.zeros(4, 4, 2, dtype=torch.int64)
    _, cache = executor.dense(before)
    executor.break_even = 0.5
    outputs, _, report = executor.sparse(frame, active, vectors, cache)
    assert torch.equal(outputs, dense)
    assert set(report.reused.values()) == {0.0}
    executor.break_even = 0.51
    _, _, report = executor.sparse(frame, active, vectors, cache)
    assert set(report.reused.values()) == {0.5}
    assert 0.0 <= executor.calibrate(frame, repeats=1) == executor.break_even <= 1.0


@pytest.mark.parametrize("policy", ["exact", "truncate", "fixed"])
def test_half_precision_errs_at_most_twice_as_much_as_torch(policy: str) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 16, 3, 2, 1),
        nn.SiLU(),
        nn.Conv2d(16, 16, 3, 1, 1),
        nn.ConvTranspose2d(16, 8, 2, 2),
        nn.GELU(),
    ).eval()
    before, frame = torch.rand(2, 1, 3, 32, 32)
    executor = SparseExecutor(network, policy, dtype=torch.float16)
    _, cache = executor.dense(before)
    active, vectors = torch.ones(2, 2, dtype=torch.bool), torch.zeros(2, 2, 2, dtype=torch.int64)
    outputs, _, _ = executor.sparse(frame, active, vectors, cache)
    assert outputs.dtype == torch.float32
    with torch.no_grad():
        truth = network(frame)
        half = network.half()(frame.half()).float()
    assert float((outputs - truth).abs().max()) <= 2 * float((half - truth).abs().max())


@pytest.mark.parametrize("dx", [0, 8, 3])
def test_layers_without_a_kernel_of_their_own_keep_their_place(dx: int) -> None:
    """Padding, shuffling, odd transposed convolutions and rarer activations: dense, and still certified."""
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.ZeroPad2d((1, 2, 1, 2)),
        nn.Conv2d(1, 8, 4, 2),
        nn.GELU(),
        nn.PixelShuffle(2),
        nn.Conv2d(2, 4, 3, 2, 1),
        nn.ConvTranspose2d(4, 3, 3, 2, 1, output_padding=1),
        nn.AvgPool2d(3, 2, 1, ceil_mode=True),
        nn.Hardtanh(-0.5, 0.5),
        nn.Conv2d(3, 2, 3, padding=1, padding_mode="reflect"),
    ).eval()
    scene = torch.rand(1, 1, 64, 80)
    before, frame = scene[..., :64].contiguous(), scene[..., dx : dx + 64].contiguous()
    nothing, vectors = torch.zeros(4, 4, dtype=torch.bool), torch.zeros(4, 4, 2, dtype=torch.int64)
    vectors[..., 0] = dx
    with poisoned_memory():
        executor = SparseExecutor(network, "exact")
        _, cache = executor.dense(before)
        outputs, _, report = executor.sparse(frame, nothing, vectors, cache)
    with torch.no_grad():
        torch.testing.assert_close(outputs, network(frame), rtol=1e-4, atol=1e-5)
    certified = float(report.certified("5").float().mean())
    assert (certified > 0.4) is (dx != 3)


@pytest.mark.parametrize("size", [(40, 56), (33, 47), (64, 64)])
@pytest.mark.parametrize("policy", ["exact", "truncate", "fixed"])
def test_maps_larger_than_the_frame_and_frames_of_odd_sizes(policy: str, size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=2),
        nn.Conv2d(4, 4, 5, 2, padding=4),
        nn.MaxPool2d(3, 2, 1),
        nn.Conv2d(4, 2, 3),
    ).eval()
    before, frame = torch.rand(2, 1, 1, *size)
    blocks = (-(-size[0] // 16), -(-size[1] // 16))
    vectors = torch.full((*blocks, 2), 3)
    with poisoned_memory():
        executor = SparseExecutor(network, policy)
        _, cache = executor.dense(before)
        full, after, _ = executor.sparse(frame, torch.ones(blocks, dtype=torch.bool), vectors, cache)
        some, _, _ = executor.sparse(before, torch.rand(blocks) < 0.5, -vectors, after)
    with torch.no_grad():
        torch.testing.assert_close(full, network(frame), rtol=1e-4, atol=1e-5)
    assert not some.isnan().any()
