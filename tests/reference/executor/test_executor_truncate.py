"""`truncate` against its definition, layer by layer; the C++ run of it against single operations."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from kernels import SparseExecutor
from kernels.executor.graph.nodes import Convolution
from kernels.executor.plan.execution_plan import ExecutionPlan
from kernels.executor.policies import SparseRequest, run_dense, run_truncate
from kernels.executor.policies.truncate import MOST_OF, SAMPLED, piece_positions
from kernels.executor.reports.reuse_report import ReuseReport
from kernels.executor.state.arenas import ArenaPool
from kernels.ops import reference, registry
from tests.strategies.networks import MovingFrame, RandomNetwork, cases, moving_frames, poisoned_memory

BACKENDS = [name for name in ("reference", "cpu") if registry.unavailable(name, "cpu") is None]
BLOCK_PX = 8


class Runner:
    """A network under `truncate` with one ε for all layers, frame after frame; none past a break-even."""

    def __init__(self, network: nn.Module, backend: str, first: torch.Tensor) -> None:
        with torch.no_grad():
            self.plan: ExecutionPlan = SparseExecutor(network, "truncate", backend, BLOCK_PX).plan(first)
            self.plan.break_even.update((index, 1.0) for index in range(len(self.plan.nodes)))
            self.pool = ArenaPool(self.plan)
            _, self.cache = run_dense(self.plan, self.pool, first, BLOCK_PX)

    def run(self, frame: torch.Tensor, active: torch.Tensor, vectors: torch.Tensor, epsilon: float) -> Any:
        request = SparseRequest(frame, active, vectors.long(), self.cache, BLOCK_PX)
        with torch.no_grad():
            steps, self.cache, report = run_truncate(self.plan, self.pool, request, lambda _: epsilon)
            return steps.outputs(), report


def layers(seed: int) -> nn.Sequential:
    """Small integers: exact in float32. A stride, a 1×1 layer behind a 3×3 one, and one at the end."""
    torch.manual_seed(seed)
    network = nn.Sequential(
        nn.Conv2d(2, 6, 3, 1, 1),
        nn.Conv2d(6, 20, 3, 2, 1),
        nn.Conv2d(20, 7, 3, 1, 1),
        nn.Conv2d(7, 4, 1),
        nn.Conv2d(4, 3, 3, 1, 1),
    ).eval()
    for parameter in network.parameters():
        parameter.data = torch.randint(-1, 2, parameter.shape).float()
    return network


PASSING = 2  # this layer is read by the 1×1 layer alone


def moved(old: torch.Tensor, vectors: torch.Tensor) -> torch.Tensor:
    """A map (1, C, H, W) along the vectors of blocks, which are whole positions."""
    size = old.shape[2] // vectors.shape[0]
    field = vectors.repeat_interleave(size, 0).repeat_interleave(size, 1).float() * size / BLOCK_PX
    made = torch.empty(*old.shape[2:], old.shape[1])
    reference.remap(old[0].permute(1, 2, 0).contiguous(), field.round().to(torch.int16), made)
    return made.permute(2, 0, 1)[None]


def by_definition(
    network: nn.Sequential,
    frame: torch.Tensor,
    active: torch.Tensor,
    before: list[torch.Tensor],
    epsilon: float,
) -> tuple[list[torch.Tensor], list[float]]:
    """Every layer's map, and the share of its positions that are no candidates; `before` has been moved.

    Where 19 of 20 of a sample of the candidates changed, all of them count; these maps are one piece.
    """
    changed = active.repeat_interleave(BLOCK_PX, 0).repeat_interleave(BLOCK_PX, 1)[None, None].float()
    value, made, reused = frame, [], []
    for number, (layer, old) in enumerate(zip(network, before, strict=True)):
        new = layer(value)
        candidates = functional.max_pool2d(changed, layer.kernel_size, layer.stride, layer.padding)
        far = ((new - old).abs().amax(1, keepdim=True) > epsilon).float()
        sample = far[candidates.bool()][::SAMPLED]
        most = int(sample.sum()) * MOST_OF >= len(sample) * (MOST_OF - 1)
        changed = candidates if number == PASSING or most else candidates * far
        value = torch.where(changed.bool(), new, old)
        made.append(value)
        reused.append(1.0 - float(candidates.mean()))
    return made, reused


@pytest.mark.parametrize("backend", BACKENDS)
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_each_layer_keeps_what_differs_and_passes_that_on(backend: str, data: st.DataObject) -> None:
    motion = data.draw(moving_frames(2))
    network = layers(data.draw(st.integers(0, 99)))
    epsilon = data.draw(st.sampled_from([0.0, 1.0, 5.0, 12.0, 50.0]))
    generator = torch.Generator().manual_seed(data.draw(st.integers(0, 999)))
    first, second = torch.rand(2, 4, 4, generator=generator) < 0.3
    vectors = motion.vectors // 2 * 2
    with poisoned_memory():
        runner = Runner(network, backend, motion.reference)
        outputs, report = runner.run(motion.frame, first, vectors, epsilon)
        again, after = runner.run(motion.reference, second, -vectors, epsilon)
    with torch.no_grad():
        value, start = motion.reference, []
        for layer in network:
            value = layer(value)
            start.append(value)
        maps, reused = by_definition(
            network, motion.frame, first, [moved(old, vectors) for old in start], epsilon
        )
        then, left = by_definition(
            network, motion.reference, second, [moved(old, -vectors) for old in maps], epsilon
        )
    assert torch.equal(outputs, maps[-1])
    assert torch.equal(again, then[-1])
    assert list(report.reused.values()) == pytest.approx(reused)
    assert list(after.reused.values()) == pytest.approx(left)


@pytest.mark.skipif("cpu" not in BACKENDS, reason="no C++ compiler here")
@settings(max_examples=40, deadline=None)
@given(
    case=cases(), epsilon=st.sampled_from([0.0, 0.5, 1.0, 3.0, 20.0]), share=st.sampled_from([0.0, 0.4, 1.0])
)
def test_one_call_does_what_single_operations_do(
    case: tuple[RandomNetwork, MovingFrame], epsilon: float, share: float
) -> None:
    """Whatever the network has: layers without a kernel of their own, maps of several parts, dead ends."""
    network, motion = case
    results: list[list[torch.Tensor]] = []
    reports: list[list[ReuseReport]] = []
    for backend in BACKENDS:
        with poisoned_memory():
            runner = Runner(network, backend, motion.reference)
            for index, node in enumerate(runner.plan.nodes):
                if isinstance(node.operation, Convolution) and index % 2:
                    runner.plan.break_even[index] = share
            outputs, report = runner.run(motion.frame, motion.active, motion.vectors, epsilon)
            again, after = runner.run(motion.reference, ~motion.active, motion.vectors, epsilon)
        results.append([*outputs, *again])
        reports.append([report, after])
    assert all(torch.equal(one, two) for one, two in zip(*results, strict=True))
    assert not any(value.isnan().any() for value in results[0])
    assert reports[0] == reports[1]


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_network_that_computes_no_map_hands_the_frame_on(backend: str) -> None:
    frame = torch.arange(32.0 * 32).reshape(1, 1, 32, 32)
    active = torch.zeros(4, 4, dtype=torch.bool)
    active[1, 2] = True
    with poisoned_memory():
        runner = Runner(torch.nn.Identity(), backend, torch.zeros_like(frame))
        outputs, report = runner.run(frame, active, torch.zeros(4, 4, 2, dtype=torch.int16), 0.0)
    assert torch.equal(outputs.reshape(32, 32), frame[0, 0])
    assert not report.reused


@pytest.mark.parametrize("chained", [True, False])
@pytest.mark.parametrize("backend", BACKENDS)
@settings(max_examples=20, deadline=None)
@given(case=cases(), data=st.data())
def test_memory_is_used_again_with_what_it_holds(
    backend: str, chained: bool, case: tuple[RandomNetwork, MovingFrame], data: st.DataObject
) -> None:
    """Each frame from the one before, or all from the first, as in memory of which nothing is known."""
    network, motion = case
    frame, still = motion.reference, torch.zeros_like(motion.vectors)
    runners = [Runner(network, backend, frame), Runner(network, backend, frame)]
    first = [runner.cache for runner in runners]
    for _ in range(5):
        y, x = data.draw(st.integers(0, 3)), data.draw(st.integers(0, 3))
        active, vectors = torch.zeros_like(motion.active), still
        active[y, x] = data.draw(st.booleans())
        if data.draw(st.integers(0, 3)) == 0:
            frame, active, vectors = motion.frame, motion.active, motion.vectors
        else:
            frame = frame.clone()
            frame[..., 8 * y : 8 * y + 8, 8 * x : 8 * x + 8] += data.draw(st.sampled_from([0.0, 0.5, 3.0]))
        results = []
        for runner, start in zip(runners, first, strict=True):
            if not chained:
                runner.cache = start
            with poisoned_memory() if runner is runners[1] else nullcontext():
                results.append(runner.run(frame, active, vectors, 0.5))
        assert all(torch.equal(one, two) for one, two in zip(results[0][0], results[1][0], strict=True))
        assert results[0][1] == results[1][1]
        if chained:
            first = [None, None]


@pytest.mark.parametrize("backend", BACKENDS)
def test_what_memory_holds_is_not_moved_again(backend: str) -> None:
    """A camera that stands still: after two frames, maps are moved only where the last frames differ."""
    runner = Runner(layers(0), backend, frame := torch.randint(0, 8, (1, 2, 32, 32)).float())
    active, still = torch.zeros(4, 4, dtype=torch.bool), torch.zeros(4, 4, 2, dtype=torch.int32)
    active[1, 1] = True
    for step in range(4):
        frame = frame.clone()
        frame[:, :, 8:16, 8:16] += 1
        runner.run(frame, active, still, 0.0)
        origin, positions = runner.cache.arena.origin, 32 * 32 + 4 * 16 * 16
        assert origin is not None
        assert int(origin.unmoved.sum()) > 0.5 * positions
        if step > 0:  # what is known about this frame's memory came from the one before
            assert runner.cache.arena.before[0] is not None


def test_a_frame_in_which_nothing_changed_is_its_reference() -> None:
    frame = torch.randint(0, 8, (1, 2, 32, 32)).float()
    runner = Runner(layers(1), BACKENDS[-1], frame)
    before, nothing = runner.cache, torch.zeros(4, 4, dtype=torch.bool)
    outputs, report = runner.run(frame, nothing, torch.zeros(4, 4, 2, dtype=torch.int32), 0.0)
    assert runner.cache is before
    assert set(report.reused.values()) == {1.0}
    assert torch.equal(outputs, layers(1)(frame))


@pytest.mark.skipif("cpu" not in BACKENDS, reason="no C++ compiler here")
def test_maps_too_wide_for_one_piece() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(2, 150, 3, 1, 1), nn.Conv2d(150, 3, 3, 1, 1)).eval()
    for parameter in network.parameters():
        parameter.data = torch.randint(-1, 2, parameter.shape).float()
    before, frame = torch.randint(0, 8, (2, 1, 2, 48, 48)).float()
    active, vectors = torch.rand(6, 6) < 0.6, torch.randint(-9, 9, (6, 6, 2))
    results = []
    for backend in BACKENDS:
        with poisoned_memory():
            results.append(Runner(network, backend, before).run(frame, active, vectors, 30.0))
    assert torch.equal(results[0][0], results[1][0])
    assert results[0][1] == results[1][1]
    assert 0.0 < results[0][1].reused["1"] < 0.4


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("everywhere", [False, True])
def test_each_piece_is_compared_if_its_sample_says_that_it_pays(backend: str, everywhere: bool) -> None:
    """Of the upper half all changed, of the lower half only every other row: 192 positions are a piece."""
    network = nn.Sequential(nn.Conv2d(2, 256, 1), nn.Conv2d(256, 1, 3, 1, 1)).eval()
    for parameter in network.parameters():
        parameter.data = torch.ones_like(parameter)
    before, active = torch.zeros(1, 2, 48, 48), torch.ones(6, 6, dtype=torch.bool)
    frame = before.clone()
    frame[:, :, :24], frame[:, :, 24::2] = 1.0, 1.0
    frame[:, :, :24:4, 5] = 0.0  # one position of a piece is as it was
    if not everywhere:
        active[0, 0], frame[:, :, :8, :8] = False, 0.0
    runner = Runner(network, backend, before)
    runner.plan.break_even.update((index, 0.9 if everywhere else 1.0) for index in range(3))
    if everywhere:
        active[5, 5] = False  # a frame of which all is active runs densely
    outputs, _ = runner.run(frame, active, torch.zeros(6, 6, 2, dtype=torch.int64), 0.5)
    unmoved, listed = runner.cache.arena.origin, active.repeat_interleave(8, 0).repeat_interleave(8, 1)
    assert unmoved is not None
    candidates = (torch.ones_like(listed) if everywhere else listed).nonzero()
    expected = torch.zeros(48, 48, dtype=torch.bool)
    differs = frame[0, 0] > 0
    for piece in candidates.split(piece_positions(256)):
        y, x = piece.unbind(1)
        far = differs[y, x]
        most = int(far[::SAMPLED].sum()) * MOST_OF >= len(far[::SAMPLED]) * (MOST_OF - 1)
        expected[y, x] = True if most else far
    assert piece_positions(256) == 192
    assert bool((expected & ~differs)[:24].any())
    assert not bool((expected & ~differs)[32:].any())
    mask = runner.pool.compiled["truncate"].masks[1]
    assert torch.equal(unmoved.unmoved[mask].view(48, 48), ~expected)
    with torch.no_grad():  # nothing that differs was taken back
        assert torch.equal(outputs, network(frame))


@pytest.mark.parametrize("backend", BACKENDS)
def test_where_all_has_changed_it_is_a_dense_run(backend: str) -> None:
    """One block of sixteen is said to be as it was, and is not: what reads around it finds its neighbours."""
    network, frames = layers(3), torch.randint(0, 8, (2, 1, 2, 32, 32)).float()
    active, still = torch.ones(4, 4, dtype=torch.bool), torch.zeros(4, 4, 2, dtype=torch.int64)
    active[1, 1] = False
    runner = Runner(network, backend, frames[0])
    for index in range(1, len(runner.plan.nodes)):
        runner.plan.break_even[index] = 0.5
    outputs, report = runner.run(frames[1], active, still, 0.5)
    assert set(report.reused.values()) == {0.0}
    with torch.no_grad():
        assert torch.equal(outputs, network(frames[1]))


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_layer_past_its_break_even_is_computed_everywhere(backend: str) -> None:
    """It finds at least the changes that its candidates would have, and reports that it reused nothing."""
    network, frame = layers(0), torch.randint(0, 8, (1, 2, 32, 32)).float()
    active, still = torch.zeros(4, 4, dtype=torch.bool), torch.zeros(4, 4, 2, dtype=torch.int64)
    active[1, 1:3] = True
    other = frame.clone()
    other[..., 8:16, 8:24] += 1
    with torch.no_grad():
        truth = network(other)
    names: list[str] = []
    reused: list[dict[str, float]] = []
    for share in (1.0, 0.01):
        runner = Runner(network, backend, frame)
        second = next(index for index, node in enumerate(runner.plan.nodes) if node.name == "1")
        runner.plan.break_even[second] = share
        outputs, report = runner.run(other, active, still, 0.0)
        assert torch.equal(outputs, truth)
        reused.append(dict(report.reused))
        names = list(report.reused)
    assert reused[0]["1"] > reused[1]["1"] == 0.0
    assert all(
        reused[0][name] == reused[1][name] for name in names if name != "1"
    )  # nothing else had changed


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_reference_stays_as_it_was(backend: str) -> None:
    network, frames = layers(1), torch.randint(0, 8, (3, 1, 2, 32, 32)).float()
    active, vectors = torch.rand(4, 4) < 0.4, torch.randint(-9, 9, (4, 4, 2))
    runner = Runner(network, backend, frames[0])
    cache = runner.cache
    first, _ = runner.run(frames[1], active, vectors, 2.0)
    runner.run(frames[2], ~active, -vectors, 2.0)
    runner.cache = cache
    second, _ = runner.run(frames[1], active, vectors, 2.0)
    assert torch.equal(first, second)


@pytest.mark.parametrize("epsilon", [0.02, 0.2])
def test_what_is_not_kept_is_within_epsilon_of_what_the_layer_gives(epsilon: float) -> None:
    """At every layer, of the inputs that it really had: reals, a camera that stands still."""
    torch.manual_seed(0)
    network = nn.Sequential(*(nn.Sequential(nn.Conv2d(8, 8, 3, 1, 1), nn.SiLU()) for _ in range(4))).eval()
    frame = torch.rand(1, 8, 64, 64)
    active, still = torch.zeros(8, 8, dtype=torch.bool), torch.zeros(8, 8, 2, dtype=torch.int64)
    active[2:5, 2:4] = True
    other = torch.where(
        active.repeat_interleave(8, 0).repeat_interleave(8, 1), torch.rand(1, 8, 64, 64), frame
    )
    runner = Runner(network, BACKENDS[-1], frame)
    request = SparseRequest(other.contiguous(), active, still, runner.cache, BLOCK_PX)
    steps, _, _ = run_truncate(runner.plan, runner.pool, request, lambda _: epsilon)
    apply: Callable[[torch.Tensor], torch.Tensor]
    with torch.no_grad():
        for index, apply in enumerate(network, start=1):
            made = apply(steps.view(index - 1).permute(2, 0, 1)[None])[0].permute(1, 2, 0)
            assert float((steps.view(index) - made).abs().max()) <= epsilon + 1e-5


class _Gate(nn.Module):
    def forward(self, value: torch.Tensor) -> torch.Tensor:
        return value * value.mean((2, 3), keepdim=True).sigmoid()


WHOLE = {
    "a slope a channel": nn.PReLU(8),
    "reflection": nn.ReflectionPad2d(1),
    "a crop": nn.ZeroPad2d((-2, 3, -1, 2)),
    "overlapping patches": nn.ConvTranspose2d(8, 8, 4, 2, 1),
    "a gate": _Gate(),
    "group norm": nn.GroupNorm(2, 8),
}


@pytest.mark.parametrize("name", WHOLE)
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("policy", ["truncate", "fixed"])
def test_an_empty_set_moves_what_lies_behind_layers_that_run_whole(
    name: str, backend: str, policy: str
) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 8, 3, 1, 1), WHOLE[name], nn.Conv2d(8, 4, 3, 1, 1)).eval()
    frame, vectors = torch.rand(1, 3, 64, 64), torch.zeros(4, 4, 2, dtype=torch.int64)
    vectors[..., 0] = 16
    executor, nothing = SparseExecutor(network, policy, backend), torch.zeros(4, 4, dtype=torch.bool)
    dense, cache = executor.dense(frame)
    outputs, moved, _ = executor.sparse(torch.rand(1, 3, 64, 64), nothing, vectors, cache)
    width = dense.shape[3]
    columns = (torch.arange(width) + 16 * round(width / 64)).clamp(max=width - 1)
    assert torch.equal(outputs, dense[..., columns])
    again, _, _ = executor.sparse(frame, nothing, torch.zeros_like(vectors), moved)
    assert torch.equal(again, outputs)


@pytest.mark.skipif("cpu" not in BACKENDS, reason="no C++ compiler here")
@pytest.mark.parametrize("name", WHOLE)
@pytest.mark.parametrize("moves", [False, True])
def test_what_runs_whole_is_marked_and_moved_alike_in_one_call(name: str, moves: bool) -> None:
    torch.manual_seed(1)
    layers = (nn.Conv2d(3, 8, 3, 1, 1), WHOLE[name], nn.ReLU(), nn.Conv2d(8, 4, 3, 1, 1))
    network = nn.Sequential(*layers).eval()
    first, *frames = torch.randint(0, 4, (4, 1, 3, 64, 64)).float()
    active, vectors = torch.zeros(8, 8, dtype=torch.bool), torch.zeros(8, 8, 2, dtype=torch.int64)
    active[2:4, 3:6] = True
    if moves:
        vectors = torch.randint(-9, 9, (8, 8, 2))
    results = []
    for backend in BACKENDS:
        with poisoned_memory():
            runner = Runner(network, backend, first)
            results.append([runner.run(frame, active, vectors, 0.01) for frame in frames])
    for (one, before), (two, after) in zip(*results, strict=True):
        assert float((one - two).abs().max()) < 1e-4
        assert before == after
