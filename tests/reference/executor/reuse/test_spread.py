"""Maps that lie in several arenas hold what moving them would have brought, to the last bit."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from unittest import mock

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from kernels import SparseExecutor
from kernels.executor.plan.attention import find_token_maps
from kernels.executor.policies import fixed
from kernels.executor.state import spread_maps
from kernels.executor.state.active_sets import decide_active_sets
from kernels.executor.state.feature_cache import FeatureCache
from kernels.ops import registry
from kernels.ops.cpu.reuse import active_sets as active_cells
from tests.reference.executor.reuse.test_margins import MARGINS_PX, Detector, Frame
from tests.reference.executor.test_executor_active_sets import BLOCK_PX, frames
from tests.strategies.networks import RandomNetwork, networks, poisoned_memory

pytestmark = pytest.mark.skipif(
    registry.unavailable("cpu", "cpu") is not None, reason="the C++ operations cannot be built here"
)


@contextmanager
def moving() -> Iterator[None]:
    """Everything that is reused is moved, in every frame."""
    with mock.patch.object(fixed, "can_spread", return_value=False):
        yield


def drawn_frames(
    channels: int, count: int, seed: int
) -> list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
    """Frames of small integers, some blocks of 8 px active, vectors of any length."""
    generator = torch.Generator().manual_seed(seed)
    made = []
    for _ in range(count):
        frame = torch.randint(-2, 3, (1, channels, 32, 32), generator=generator).float()
        active = torch.rand(4, 4, generator=generator) < torch.rand(1, generator=generator) * 0.6
        vectors = torch.randint(-12, 13, (4, 4, 2), generator=generator)
        made.append((frame, active, vectors))
    return made


def maps_of(cache: FeatureCache) -> list[torch.Tensor]:
    """All that a cache keeps, settled."""
    cache.settle()
    return [cache.arena.view(part).clone() for parts in cache.plan.kept.values() for part in parts]


@settings(max_examples=40, deadline=None)
@given(network=networks(), seed=st.integers(0, 2**31), margin_px=st.sampled_from([0, 4, 8]))
def test_results_and_caches_are_those_of_moving(network: RandomNetwork, seed: int, margin_px: int) -> None:
    def run() -> list[torch.Tensor]:
        executor = SparseExecutor(network, "fixed", block_px=8, margin_px=margin_px)
        (first, _, _), *later = drawn_frames(network.channels, 8, seed)
        _, cache = executor.dense(first)
        results: list[torch.Tensor] = []
        for frame, active, vectors in later:
            outputs, cache, _ = executor.sparse(frame, active, vectors, cache)
            results += outputs
        return results + maps_of(cache)

    with poisoned_memory():
        spread = run()
        with moving():
            moved = run()
    for one, other in zip(spread, moved, strict=True):
        assert torch.equal(one, other)


def test_a_cache_stays_as_it_was_and_holds_few_arenas() -> None:
    """Every cache of a row of frames can be used again, after all later ones; settled or not."""
    model = Detector().eval()
    generator = torch.Generator().manual_seed(3)
    frames_ = torch.rand(9, 1, 2, 64, 64, generator=generator)
    active = torch.rand(9, 4, 4, generator=generator) < 0.3
    vectors = torch.randint(-20, 21, (9, 4, 4, 2), generator=generator)
    executor = SparseExecutor(model, "fixed", margin_px=16)
    _, cache = executor.dense(frames_[0])
    caches, wanted = [cache], []
    for index in range(1, 9):
        outputs, cache, _ = executor.sparse(frames_[index], active[index], vectors[index], caches[-1])
        caches.append(cache)
        wanted.append(outputs["fine"].clone())
        assert 1 <= len(cache.spread()[0]) <= spread_maps.MOST_ARENAS
    assert max(len(one.spread()[0]) for one in caches) == spread_maps.MOST_ARENAS
    for settled in (False, True):
        for index in (8, 3, 5, 1, 7, 2, 4, 6):
            if settled:
                caches[index - 1].settle()
                assert len(caches[index - 1].spread()[0]) == 1
            made, _, _ = executor.sparse(frames_[index], active[index], vectors[index], caches[index - 1])
            assert torch.equal(made["fine"], wanted[index - 1])


def test_settling_in_another_thread_changes_nothing() -> None:
    model = Detector().eval()
    generator = torch.Generator().manual_seed(4)
    pictures = torch.rand(30, 1, 2, 64, 64, generator=generator)
    active = torch.rand(30, 4, 4, generator=generator) < 0.3
    vectors = torch.randint(-20, 21, (30, 4, 4, 2), generator=generator)

    def run(settle: Callable[[FeatureCache], None]) -> list[torch.Tensor]:
        executor = SparseExecutor(model, "fixed", margin_px=16)
        _, cache = executor.dense(pictures[0])
        results = []
        for index in range(1, 30):
            outputs, cache, _ = executor.sparse(pictures[index], active[index], vectors[index], cache)
            settle(cache)
            results.append(outputs["found"][0].clone())
        return results

    threads: list[threading.Thread] = []

    def aside(cache: FeatureCache) -> None:
        threads.append(threading.Thread(target=cache.settle))
        threads[-1].start()

    plain, disturbed = run(lambda cache: None), run(aside)
    for thread in threads:
        thread.join()
    assert all(torch.equal(one, other) for one, other in zip(plain, disturbed, strict=True))


def test_memory_is_used_again() -> None:
    """A row of frames takes as many arenas as a cache may hold, that of the frame and of the one before."""
    executor = SparseExecutor(Detector().eval(), "fixed")
    picture = torch.rand(1, 2, 64, 64)
    _, cache = executor.dense(picture)
    active, still = torch.zeros(4, 4, dtype=torch.bool), torch.zeros(4, 4, 2, dtype=torch.int64)
    active[0, 0] = True
    seen = set()
    for _ in range(20):
        _, cache, _ = executor.sparse(picture, active, still, cache)
        seen.add(cache.arena.memory.data_ptr())
    assert len(seen) <= spread_maps.MOST_ARENAS + 1


@settings(max_examples=150, deadline=None)
@given(frame=frames(), margin_px=st.sampled_from(MARGINS_PX), moves_only=st.booleans())
def test_active_sets_in_cpp_are_those_in_torch(frame: Frame, margin_px: int, moves_only: bool) -> None:
    resolutions, active, vectors, residuals = frame

    def decided() -> list[object]:
        made = decide_active_sets(
            resolutions,
            active,
            vectors,
            BLOCK_PX,
            False,
            residuals,
            moves_only and margin_px == 0,
            margin_px=margin_px,
        )
        return [made.blocks, *(made.by_resolution[key] for key in resolutions)]

    compiled = decided()
    with mock.patch.object(active_cells, "is_here", return_value=False):
        plain = decided()
    assert compiled[0] == plain[0]
    for one, other in zip(compiled[1:], plain[1:], strict=True):
        for name in ("tiles", "fresh", "displacement", "residual"):
            mine, theirs = getattr(one, name), getattr(other, name)
            assert (mine is None) == (theirs is None), name
            assert mine is None or (mine.dtype == theirs.dtype and torch.equal(mine, theirs)), name
        for name in ("tile", "positions", "size", "per_block", "beyond"):
            assert getattr(one, name) == getattr(other, name), name


class Tokens(nn.Module):
    """Convolutions with an attention between them, written as asked."""

    def __init__(self, attend: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        torch.manual_seed(5)
        self.first = nn.Conv2d(3, 48, 3, 4, 1)
        self.last = nn.Conv2d(16, 4, 3, 1, 1)
        self.attend = attend

    def forward(self, frame: torch.Tensor) -> torch.Tensor:
        return self.last(self.attend(self.first(frame)))


def heads_first(x: torch.Tensor) -> torch.Tensor:
    """Keys times queries along channels, as detectors have it."""
    _, _, height, width = x.shape
    q, k, v = x.view(1, 2, 24, height * width).split([8, 8, 8], dim=2)
    shares = (q.transpose(-2, -1) @ k * 8**-0.5).softmax(-1)
    return (v @ shares.transpose(-2, -1)).view(1, 16, height, width)


def tokens_first(x: torch.Tensor) -> torch.Tensor:
    """Rows of tokens, as transformers have it."""
    _, _, height, width = x.shape
    q, k, v = x.flatten(2).transpose(1, 2).reshape(1, -1, 3, 2, 8).permute(2, 0, 3, 1, 4)
    made = ((q @ k.transpose(-2, -1)) * 0.3).softmax(-1) @ v
    return made.transpose(1, 2).reshape(1, -1, 16).transpose(1, 2).view(1, 16, height, width)


def over_queries(x: torch.Tensor) -> torch.Tensor:
    """A softmax along the other axis: no sum over keys."""
    _, _, height, width = x.shape
    q, k, v = x.view(1, 2, 24, height * width).split([8, 8, 8], dim=2)
    shares = (q.transpose(-2, -1) @ k).softmax(-2)
    return (v @ shares.transpose(-2, -1)).view(1, 16, height, width)


def masked(x: torch.Tensor) -> torch.Tensor:
    """Something is added to the products."""
    _, _, height, width = x.shape
    q, k, v = x.view(1, 2, 24, height * width).split([8, 8, 8], dim=2)
    shares = (q.transpose(-2, -1) @ k + torch.arange(height * width)).softmax(-1)
    return (v @ shares.transpose(-2, -1)).view(1, 16, height, width)


def shuffled(x: torch.Tensor) -> torch.Tensor:
    """Results of tokens end up at other tokens."""
    return heads_first(x).transpose(2, 3)


@pytest.mark.parametrize(
    ("attend", "known"),
    [
        (heads_first, 1),
        (tokens_first, 1),
        (over_queries, 0),
        (masked, 0),
        (shuffled, 0),
    ],
)
def test_attention_at_active_tokens(attend: Callable[[torch.Tensor], torch.Tensor], known: int) -> None:
    """Where it is recognised, what is computed is what computing all tokens gives there."""
    model = Tokens(attend).eval()
    executor = SparseExecutor(model, "fixed", margin_px=16)
    pictures = torch.rand(5, 1, 3, 64, 64)
    _, cache = executor.dense(pictures[0])
    assert len(find_token_maps(cache.plan.graph)) == known
    with moving():
        usual = SparseExecutor(model, "fixed", margin_px=16)
        _, other = usual.dense(pictures[0])
    vectors = torch.full((4, 4, 2), 4)
    for index in range(1, 5):
        active = torch.zeros(4, 4, dtype=torch.bool)
        active[index - 1, :2] = True
        made, cache, _ = executor.sparse(pictures[index], active, vectors, cache)
        with moving():
            wanted, other, _ = usual.sparse(pictures[index], active, vectors, other)
        torch.testing.assert_close(made, wanted, rtol=1e-5, atol=1e-5)


def test_with_all_tokens_active_the_result_is_the_dense_one() -> None:
    model = Tokens(heads_first).eval()
    executor = SparseExecutor(model, "fixed")
    pictures = torch.rand(2, 1, 3, 64, 64)
    _, cache = executor.dense(pictures[0])
    executor.break_even = 2.0
    everything, still = torch.ones(4, 4, dtype=torch.bool), torch.zeros(4, 4, 2, dtype=torch.int64)
    made, _, _ = executor.sparse(pictures[1], everything, still, cache)
    assert torch.equal(made, executor.dense(pictures[1])[0])


def test_an_empty_set_returns_what_was_moved() -> None:
    model = Tokens(heads_first).eval()
    executor = SparseExecutor(model, "fixed")
    pictures = torch.rand(2, 1, 3, 64, 64)
    before, cache = executor.dense(pictures[0])
    vectors = torch.zeros(4, 4, 2, dtype=torch.int64)
    vectors[..., 0] = 4
    made, _, _ = executor.sparse(pictures[1], torch.zeros(4, 4, dtype=torch.bool), vectors, cache)
    assert torch.equal(made[..., :-1], before[..., 1:])
    assert torch.equal(made[..., -1], before[..., -1])
