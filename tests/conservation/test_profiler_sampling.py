"""The measurement keeps what it takes: every cell its repeats, interruptions included."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from profiler.latency.disturbance import disturbances
from profiler.measure.masks import clustered_mask, random_mask, recorded_mask
from profiler.measure.samples import read_samples
from profiler.measure.sampling import SamplingPlan, initial_grid, measure, refine_grid, warm_up
from profiler.measure.store import SampleStore
from tests.strategies.profiler import XAVIER, SyntheticDevice
from traces.errors import InputError

ROWS, COLUMNS = 20, 20
DIFFERENCES = np.random.default_rng(0).random((4, ROWS, COLUMNS)).astype(np.float32)
META = {"device": "synthetic", "model": "net", "resolution_px": [320, 320], "block_px": 16}


class SyntheticWorkload:
    """Advances a clock of its own instead of computing; fails at a chosen call if told to."""

    def __init__(self, knee: bool = False, fail_at: int | None = None, error: type = RuntimeError) -> None:
        self.now_s, self.calls = 0.0, 0
        self.knee, self.fail_at, self.error = knee, fail_at, error
        self.device = SyntheticDevice(XAVIER)
        self.blocks_total = ROWS * COLUMNS
        self.unsettled = False
        self.masks: list[tuple[int, bytes]] = []

    def spend(self, seconds: float) -> None:
        self.calls += 1
        if self.calls == self.fail_at:
            raise self.error("CUDA error: device lost")
        self.now_s += seconds

    def dense(self) -> None:
        self.spend(0.08)

    def sparse(self, active: np.ndarray, step: int) -> None:
        k = float(active.sum())
        self.masks.append((int(k), active.tobytes()))
        late = 5e-4 * max(k - 150, 0) if self.knee else 0.0
        assert not self.unsettled, "idle work of the call before would land in this one's time"
        self.unsettled = True
        self.spend(float(self.device.curve_s(np.array(k))) + late)

    def settle(self) -> None:
        self.now_s += 0.006 if self.unsettled else 0.0
        self.unsettled = False

    def extract(self, step: int) -> None:
        self.spend(0.003)

    def encode(self, active: np.ndarray, step: int) -> None:
        self.spend(3e-4 + 1e-6 * active.sum())

    def layers(self, seconds: Callable[[Callable[[], object]], float]) -> list[tuple[str, float]]:
        return [(name, seconds(lambda: self.spend(0.04))) for name in ("first", "second")]


class SyntheticClock:
    def __init__(self, profiled: SyntheticWorkload) -> None:
        self.profiled = profiled

    def seconds(self, call: Callable[[], object]) -> float:
        start = self.profiled.now_s
        call()
        return self.profiled.now_s - start


def take(path: Path, profiled: SyntheticWorkload) -> SampleStore:
    store = SampleStore(path, META)
    measure(profiled, SyntheticClock(profiled), store, SamplingPlan(repeats=5), DIFFERENCES)
    store.flush(complete=True)
    return store


def cells(store: SampleStore) -> Counter:
    return Counter((row.op, row.k, row.mask) for row in store.rows)


def test_every_cell_gets_its_repeats(tmp_path: Path) -> None:
    found = cells(take(tmp_path / "samples.parquet", SyntheticWorkload()))
    for (op, _, mask), count in found.items():
        assert count == (15 if op in ("dense", "extract") or mask == "recorded" else 5)
    sparse_k = {k for op, k, _ in found if op == "sparse"}
    assert set(initial_grid(ROWS * COLUMNS)) <= sparse_k
    assert {mask for op, _, mask in found if op == "sparse"} == {"random", "clustered", "recorded"}
    assert {op for op, _, _ in found} == {
        "dense",
        "sparse",
        "extract",
        "encode",
        "layer:first",
        "layer:second",
    }


def test_an_interrupted_run_resumes_and_ends_with_the_same_cells_and_masks(tmp_path: Path) -> None:
    whole_work = SyntheticWorkload()
    whole = take(tmp_path / "whole.parquet", whole_work)
    path = tmp_path / "cut.parquet"
    first = SyntheticWorkload(fail_at=200, error=KeyboardInterrupt)
    with pytest.raises(KeyboardInterrupt):
        take(path, first)
    kept = len(read_samples(path).op)
    assert 0 < kept < len(whole.rows)
    second = SyntheticWorkload()
    resumed = take(path, second)
    assert resumed.resumed == kept
    assert cells(resumed) == cells(whole)
    assert set(first.masks) | set(second.masks) >= set(whole_work.masks)
    assert second.calls < whole_work.calls


def test_idle_work_is_timed_by_itself(tmp_path: Path) -> None:
    store = take(tmp_path / "samples.parquet", SyntheticWorkload())
    assert store.meta["settle_s"] == pytest.approx(0.006)
    at_one = [row.seconds for row in store.rows if row.op == "sparse" and row.k == 1]
    np.testing.assert_allclose(at_one, XAVIER[0] + XAVIER[1] + XAVIER[2])


def test_a_complete_run_is_not_measured_again(tmp_path: Path) -> None:
    before = take(tmp_path / "samples.parquet", SyntheticWorkload())
    again = take(tmp_path / "samples.parquet", SyntheticWorkload())
    assert again.rows == before.rows


def test_a_vanished_device_keeps_the_samples_and_says_how_to_go_on(tmp_path: Path) -> None:
    path = tmp_path / "samples.parquet"
    with pytest.raises(InputError, match=r"device lost; \d+ samples so far are kept in .* resumes") as caught:
        take(path, SyntheticWorkload(fail_at=250))
    assert "\n" not in str(caught.value)
    assert len(read_samples(path).op) > 100


def test_a_full_memory_names_the_model(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="model: expected one that fits in memory"):
        take(tmp_path / "samples.parquet", SyntheticWorkload(fail_at=5, error=MemoryError))


def test_samples_of_another_model_are_not_mixed_in(tmp_path: Path) -> None:
    take(tmp_path / "samples.parquet", SyntheticWorkload())
    with pytest.raises(InputError, match=r"model = 'net', this run has 'other'.*fresh=true"):
        SampleStore(tmp_path / "samples.parquet", {**META, "model": "other"})
    assert not SampleStore(tmp_path / "samples.parquet", {**META, "model": "other"}, fresh=True).rows


def test_the_grid_grows_at_a_knee_and_nowhere_else(tmp_path: Path) -> None:
    plain = {k for op, k, _ in cells(take(tmp_path / "a.parquet", SyntheticWorkload())) if op == "sparse"}
    bent = {
        k for op, k, _ in cells(take(tmp_path / "b.parquet", SyntheticWorkload(knee=True))) if op == "sparse"
    }
    assert plain == set(initial_grid(ROWS * COLUMNS))
    added = bent - plain
    assert added
    assert all(100 <= k <= 200 for k in added), f"the knee is at 150, added {sorted(added)}"


def test_a_throttled_clock_is_noticed(tmp_path: Path) -> None:
    work = SyntheticWorkload()
    honest = work.spend
    work.spend = lambda seconds: honest(seconds * (1.4 if work.calls > 250 else 1.0))  # type: ignore[method-assign]
    store = SampleStore(tmp_path / "samples.parquet", META)
    outcome = measure(work, SyntheticClock(work), store, SamplingPlan(repeats=6), DIFFERENCES)
    assert any("clock throttled" in finding for finding in outcome.findings)


@pytest.mark.parametrize(("cores", "noted"), [(1.3, True), (0.1, False), (None, False)])
def test_load_during_the_run_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cores: float | None, noted: bool
) -> None:
    """A neighbour may come after the start has been found quiet."""
    monkeypatch.setattr("profiler.measure.sampling.LoadMeter", lambda: SimpleNamespace(read=lambda: cores))
    work = SyntheticWorkload()
    store = SampleStore(tmp_path / "samples.parquet", META)
    outcome = measure(work, SyntheticClock(work), store, SamplingPlan(repeats=5), DIFFERENCES)
    assert outcome.background_cores == cores
    assert ("other processes kept 1.3 cores busy while measuring" in outcome.findings) == noted
    store.flush(complete=True)
    assert bool(disturbances(read_samples(store.path).meta)) == noted
    again = SampleStore(store.path, META)
    assert again.previous["complete"]
    assert (
        measure(work, SyntheticClock(work), again, SamplingPlan(repeats=5), DIFFERENCES).background_cores
        is None
    )


def test_warm_up_ends_when_times_settle_and_gives_up_when_they_do_not() -> None:
    work = SyntheticWorkload()
    clock = SyntheticClock(work)
    assert warm_up(lambda: work.spend(1.0 + 1.0 / (1 + work.calls) ** 3), clock)[1]
    calls, settled = warm_up(lambda: work.spend(1.1**work.calls), clock, limit_s=0.05)
    assert not settled
    assert calls >= 10


@given(k=st.integers(0, 400), seed=st.integers(0, 2**20))
@settings(max_examples=60, deadline=None)
def test_active_sets_hold_exactly_k_blocks(k: int, seed: int) -> None:
    generator = np.random.default_rng(seed)
    assert random_mask(k, ROWS, COLUMNS, generator).sum() == k
    assert clustered_mask(k, ROWS, COLUMNS, generator).sum() == k
    recorded = recorded_mask(k, DIFFERENCES[0])
    assert recorded.sum() == k
    if 0 < k < 400:
        assert DIFFERENCES[0][recorded].min() >= DIFFERENCES[0][~recorded].max()


def test_clusters_are_clusters() -> None:
    """Of a quarter of the blocks, far more neighbours are active together than at random."""
    generator = np.random.default_rng(3)

    def together(mask: np.ndarray) -> int:
        return int((mask[:, 1:] & mask[:, :-1]).sum())

    clustered = np.mean([together(clustered_mask(100, ROWS, COLUMNS, generator)) for _ in range(50)])
    scattered = np.mean([together(random_mask(100, ROWS, COLUMNS, generator)) for _ in range(50)])
    assert clustered > 2.5 * scattered


def test_refinement_ignores_bends_that_noise_explains() -> None:
    generator = np.random.default_rng(1)
    grid = (1, 100, 200, 300, 400)
    straight = [np.full(5, 0.1 + 1e-3 * k) for k in grid]
    noisy = [own * generator.normal(1, 0.3, 5) for own in straight]
    assert refine_grid(grid, noisy, 0.02, 18) == grid
    bent = [own + (0.1 if k == 200 else 0.0) for k, own in zip(grid, straight, strict=True)]
    assert {150, 250} <= set(refine_grid(grid, bent, 0.02, 18))
    assert len(refine_grid(grid, bent, 0.02, 6)) == 6


def test_samples_by_another_clock_are_not_mixed_in(tmp_path: Path) -> None:
    take(tmp_path / "samples.parquet", SyntheticWorkload())
    with pytest.raises(InputError, match=r"clock = None, this run has 'thread'"):
        SampleStore(tmp_path / "samples.parquet", {**META, "clock": "thread"})
