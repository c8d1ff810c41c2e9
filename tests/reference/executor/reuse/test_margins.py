"""`margin_px`: what is computed beyond the given blocks, on every backend; layers of salient outputs only."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from kernels import SparseExecutor
from kernels.executor.plan.resolution import Resolution
from kernels.executor.state.active_sets import decide_active_sets
from kernels.ops import reference, registry
from tests.reference.executor.test_executor_active_sets import BLOCK_PX, frames
from tests.strategies.kernels import SHIM
from tests.strategies.networks import MovingFrame, RandomNetwork, cases, moving_frames, poisoned_memory

Frame = tuple[dict[int, Resolution], torch.Tensor, torch.Tensor, dict[int, torch.Tensor | None]]
MARGINS_PX = [0, 1, 4, 8, 12, 16, 24, 40, 1000]


@contextmanager
def all_backends() -> Iterator[list[str]]:
    """The backends that this processor can run, the CUDA sources among them."""
    with mock.patch.object(registry, "BACKENDS", (*registry.BACKENDS, SHIM)):
        yield [name for name in ("reference", "cpu", SHIM) if registry.unavailable(name, "cpu") is None]


def within(mask: torch.Tensor, rows: int, columns: int) -> list[list[bool]]:
    """By definition: whether a position of the mask lies within so many rows and columns of each."""
    height, width = mask.shape
    return [
        [
            bool(mask[max(0, y - rows) : y + rows + 1, max(0, x - columns) : x + columns + 1].any())
            for x in range(width)
        ]
        for y in range(height)
    ]


@settings(max_examples=60, deadline=None)
@given(frame=frames(), margin_px=st.sampled_from(MARGINS_PX))
def test_a_set_grows_by_the_margin_in_positions_rounded_up(frame: Frame, margin_px: int) -> None:
    resolutions, active, vectors, residuals = frame
    plain = decide_active_sets(resolutions, active, vectors, BLOCK_PX, False, residuals).to(None)
    made = decide_active_sets(
        resolutions, active, vectors, BLOCK_PX, False, residuals, margin_px=margin_px
    ).to(None)
    for key, resolution in resolutions.items():
        reach = -(-margin_px // int(resolution.scale_y))
        assert made[key].fresh.bool().tolist() == within(plain[key].fresh.bool(), reach, reach)
        covered = torch.zeros_like(made[key].fresh)
        height, width = made[key].tile
        for y, x in made[key].tiles.tolist():
            assert not bool(covered[y : y + height, x : x + width].any()), "tiles overlap"
            covered[y : y + height, x : x + width] = 1
        assert torch.equal(covered, made[key].fresh)
        assert made[key].positions == int(covered.sum())
        if residuals.get(key) is None:  # else a cell has what the cell left over that it came from
            assert torch.equal(made[key].displacement, plain[key].displacement)


@settings(max_examples=30, deadline=None)
@given(frame=frames(), margin_px=st.sampled_from(MARGINS_PX), spare=st.integers(0, 3))
def test_room_for_a_number_of_blocks_is_enough_for_their_margin(
    frame: Frame, margin_px: int, spare: int
) -> None:
    resolutions, active, vectors, residuals = frame
    host_sets = decide_active_sets(
        resolutions, active, vectors, BLOCK_PX, False, residuals, margin_px=margin_px
    )
    plain, padded = host_sets.to(None), host_sets.padded(host_sets.blocks + spare).to(None)
    for key in resolutions:
        count = len(plain[key].tiles)
        assert torch.equal(padded[key].tiles[:count], plain[key].tiles)
        assert len(padded[key].tiles) >= count


@pytest.mark.parametrize("margin_px", [4, 8, 24])
@settings(max_examples=10, deadline=None)
@given(data=st.data())
def test_every_layer_computes_the_margin(margin_px: int, data: st.DataObject) -> None:
    """Layer by layer: new within the margin, the moved map elsewhere."""
    motion = data.draw(moving_frames(2))
    vectors = motion.vectors // 2 * 2  # whole positions of every layer
    active = torch.rand(4, 4, generator=torch.Generator().manual_seed(data.draw(st.integers(0, 999)))) < 0.3
    torch.manual_seed(0)
    layers = [nn.Conv2d(2, 6, 3, 1, 1), nn.Conv2d(6, 5, 3, 2, 1), nn.Conv2d(5, 4, 3, 1, 1)]
    network = nn.Sequential(*layers).eval()
    with torch.no_grad():
        value, old = motion.reference, []
        for layer in layers:
            value = layer(value)
            old.append(value)
        value = motion.frame
        for layer, before in zip(layers, old, strict=True):
            new = layer(value)
            size = new.shape[2] // 4
            blocks = active.repeat_interleave(size, 0).repeat_interleave(size, 1)
            reach = -(-margin_px * size // 8)
            mask = torch.tensor(within(blocks, reach, reach))
            field = vectors.repeat_interleave(size, 0).repeat_interleave(size, 1).float() * size / 8
            moved = torch.empty(*new.shape[2:], new.shape[1])
            reference.remap(before[0].permute(1, 2, 0).contiguous(), field.round().to(torch.int16), moved)
            value = torch.where(mask, new, moved.permute(2, 0, 1)[None])
    with all_backends() as backends:
        for backend in backends:
            with poisoned_memory():
                executor = SparseExecutor(network, "fixed", backend, block_px=8, margin_px=margin_px)
                _, cache = executor.dense(motion.reference)
                made, _, report = executor.sparse(motion.frame, active, vectors, cache)
            torch.testing.assert_close(made, value, rtol=1e-4, atol=1e-4)
            assert report.given is not None
            assert report.computed is not None
            assert torch.equal(report.given, active)
            blocks_reached = -(-margin_px // 8)
            assert report.computed.tolist() == within(active, blocks_reached, blocks_reached)


@settings(max_examples=15, deadline=None)
@given(case=cases(), margin_px=st.sampled_from([1, 4, 8, 16]))
def test_backends_agree_with_the_reference(case: tuple[RandomNetwork, MovingFrame], margin_px: int) -> None:
    network, motion = case
    results = []
    with all_backends() as backends:
        for backend in backends:
            with poisoned_memory():
                executor = SparseExecutor(network, "fixed", backend, block_px=8, margin_px=margin_px)
                _, cache = executor.dense(motion.reference)
                outputs, after, _ = executor.sparse(motion.frame, motion.active, motion.vectors, cache)
                again, _, _ = executor.sparse(motion.reference, motion.active, -motion.vectors, after)
            results.append([*outputs, *again])
    for made in results[1:]:
        assert all(torch.equal(one, other) for one, other in zip(results[0], made, strict=True))
    assert not any(value.isnan().any() for value in results[0])


@settings(max_examples=15, deadline=None)
@given(case=cases())
def test_no_margin_is_fixed_and_a_large_one_dense(case: tuple[RandomNetwork, MovingFrame]) -> None:
    network, motion = case
    active = motion.active.clone()
    active[1, 2] = True
    results = {}
    for margin_px in (None, 0, 64):
        with poisoned_memory():
            executor = SparseExecutor(network, "fixed", block_px=8, margin_px=margin_px)
            _, cache = executor.dense(motion.reference)
            results[margin_px], after, _ = executor.sparse(motion.frame, active, motion.vectors, cache)
            assert (after.residuals == {}) == (margin_px == 64)
    with torch.no_grad():
        dense = network(motion.frame)
    for one, other, large, whole in zip(results[None], results[0], results[64], dense, strict=True):
        assert torch.equal(one, other)
        assert torch.equal(large, whole)


class Detector(nn.Module):
    """A trunk, a branch that finds and one that only salient content needs."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.trunk = nn.Conv2d(2, 4, 3, 2, 1)
        self.found = nn.Conv2d(4, 3, 3, 1, 1)
        self.fine = nn.Sequential(nn.Conv2d(4, 4, 3, 1, 1), nn.ConvTranspose2d(4, 2, 2, 2))

    def forward(self, frame: torch.Tensor) -> dict[str, torch.Tensor | tuple[torch.Tensor]]:
        value = functional.relu(self.trunk(frame))
        return {"found": (self.found(value),), "fine": self.fine(value)}


def scene(seed: int) -> tuple[Detector, torch.Tensor, torch.Tensor, torch.Tensor]:
    model, generator = Detector().eval(), torch.Generator().manual_seed(seed)
    return model, *torch.rand(3, 1, 2, 64, 64, generator=generator)


def test_salient_outputs_follow_at_salient_blocks_and_catch_up_later() -> None:
    """Nothing moves: other outputs are those of a run without salience, and what is behind is as it was."""
    model, first, second, _ = scene(1)
    still = torch.zeros(4, 4, 2, dtype=torch.int16)
    active = torch.zeros(4, 4, dtype=torch.bool)
    active[1, 0] = active[1, 3] = True
    left, nothing = torch.zeros_like(active), torch.zeros_like(active)
    left[:, :2] = True
    with all_backends() as backends:
        for backend in backends:
            usual = SparseExecutor(model, "fixed", backend)
            _, cache = usual.dense(first)
            wanted, _, _ = usual.sparse(second, active, still, cache)
            with poisoned_memory():
                executor = SparseExecutor(model, "adaptive", backend, margin_px=0, salient_outputs=("fine",))
                start, cache = executor.dense(first)
                made, cache, report = executor.sparse(second, active, still, cache, left)
                later, _, caught_up = executor.sparse(second, nothing, still, cache, ~left)
                elsewhere, _, _ = executor.sparse(second, nothing, still, cache, left)
            torch.testing.assert_close(made["found"], wanted["found"])
            torch.testing.assert_close(made["fine"][..., :32], wanted["fine"][..., :32])
            torch.testing.assert_close(made["fine"][..., 32:], start["fine"][..., 32:])
            torch.testing.assert_close(later["fine"], wanted["fine"])
            torch.testing.assert_close(elsewhere["fine"], made["fine"])
            assert report.policy == "adaptive"
            assert report.reused["found"] == 1 - 2 / 16
            assert report.reused["fine.0"] == 1 - 1 / 16
            assert caught_up.reused["fine.0"] == 1 - 1 / 16
            assert caught_up.computed is not None
            assert caught_up.computed.nonzero().tolist() == [[1, 3]]
            assert caught_up.given is not None
            assert not bool(caught_up.given.any())


def test_what_is_behind_moves_with_the_content() -> None:
    model, first, second, third = scene(2)
    active, salient = torch.zeros(4, 4, dtype=torch.bool), torch.zeros(4, 4, dtype=torch.bool)
    active[1, 3] = True
    vectors = torch.zeros(4, 4, 2, dtype=torch.int16)
    executor = SparseExecutor(model, "adaptive", margin_px=0, salient_outputs=("fine",))
    _, cache = executor.dense(first)
    _, cache, _ = executor.sparse(second, active, vectors, cache, salient)
    vectors[..., 0] = 16  # content was a block further to the right
    _, cache, report = executor.sparse(third, salient, vectors, cache, salient)
    assert report.computed is not None
    assert not bool(report.computed.any())
    assert cache.behind is not None
    assert cache.behind.nonzero().tolist() == [[1, 2], [1, 3]]  # the last column has no other source
    _, cache, report = executor.sparse(third, salient, torch.zeros_like(vectors), cache, ~salient)
    assert report.computed is not None
    assert report.computed.nonzero().tolist() == [[1, 2], [1, 3]]
    assert cache.behind is None


def test_without_salience_adaptive_is_fixed_with_its_margin() -> None:
    model, first, second, _ = scene(3)
    active = torch.zeros(4, 4, dtype=torch.bool)
    active[2, 1] = True
    vectors = torch.full((4, 4, 2), 2)
    results = []
    for policy, outputs in (("fixed", ()), ("adaptive", ()), ("adaptive", ("fine",))):
        executor = SparseExecutor(model, policy, margin_px=16, salient_outputs=outputs)
        _, cache = executor.dense(first)
        made, _, report = executor.sparse(second, active, vectors, cache)
        results.append((made, report.reused))
    assert SparseExecutor(model, "adaptive").margin_px == 16
    assert SparseExecutor(model, "fixed").margin_px == 0
    for made, reused in results[1:]:
        assert torch.equal(made["fine"], results[0][0]["fine"])
        assert torch.equal(made["found"][0], results[0][0]["found"][0])
        assert reused == results[0][1]


def test_cameras_in_one_call_have_their_own_salience() -> None:
    model, first, second, third = scene(5)
    active, salient = torch.zeros(2, 4, 4, dtype=torch.bool), torch.zeros(2, 4, 4, dtype=torch.bool)
    active[:, 1, 1] = salient[0, 1] = True
    vectors = torch.ones(2, 4, 4, 2, dtype=torch.int16)
    executor = SparseExecutor(model, "adaptive", salient_outputs=("fine",))
    _, caches = executor.dense(torch.cat([first, second]))
    made, _, reports = executor.sparse(torch.cat([third, first]), active, vectors, caches, salient)
    for number, frame in enumerate((third, first)):
        alone = executor.sparse(frame, active[number], vectors[number], caches[number], salient[number])
        assert torch.equal(made["fine"][number], alone[0]["fine"][0])
        assert torch.equal(made["found"][0][number], alone[0]["found"][0][0])
        assert reports[number].reused == alone[2].reused
    assert reports[0].reused["fine.0"] < reports[1].reused["fine.0"] == 1.0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"policy": "fixed", "margin_px": -1}, "margin_px must be a whole number of pixels, at least 0"),
        ({"policy": "fixed", "margin_px": 8.0}, r"margin_px must be .* \(got 8.0\)"),
        ({"policy": "exact", "margin_px": 8}, "margin_px must be 0 under 'exact'"),
        ({"policy": "fixed", "salient_outputs": ("fine",)}, "salient_outputs are read under 'adaptive' only"),
    ],
)
def test_options_that_do_not_fit_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SparseExecutor(Detector().eval(), **options)  # type: ignore[arg-type]


def test_arguments_that_do_not_fit_are_refused() -> None:
    model, first, second, _ = scene(4)
    nothing, vectors = torch.zeros(4, 4, dtype=torch.bool), torch.zeros(4, 4, 2, dtype=torch.int16)
    with pytest.raises(ValueError, match=r"of \['fine', 'found'\] \(got 'masks'\)"):
        SparseExecutor(model, "adaptive", salient_outputs=("masks",)).dense(first)
    executor = SparseExecutor(model, "adaptive", salient_outputs=("fine",))
    _, cache = executor.dense(first)
    with pytest.raises(TypeError, match="salient must be a bool tensor"):
        executor.sparse(second, nothing, vectors, cache, nothing.int())
    with pytest.raises(ValueError, match=r"salient must have shape \(4, 4\)"):
        executor.sparse(second, nothing, vectors, cache, nothing[1:])
    fixed = SparseExecutor(model, "fixed")
    _, cache = fixed.dense(first)
    with pytest.raises(ValueError, match="salient must be None under 'fixed'"):
        fixed.sparse(second, nothing, vectors, cache, nothing)
