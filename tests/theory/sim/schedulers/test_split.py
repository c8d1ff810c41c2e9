"""Both paths at once: the best numbers of blocks for either side, against an exhaustive search."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from profiler.latency import LatencyCurve, PiecewiseLinear, Quadratic, Tabulated, load_profile
from sim.schedulers import (
    EffectiveAccuracyObjective,
    EffectiveAccuracyScheduler,
    LatencyScheduler,
    Observation,
    OracleScheduler,
    PathCost,
    SplitOracle,
    SplitScheduler,
    UplinkOracle,
    as_split,
    cloud_cost,
    edge_cost,
    effective_accuracy,
    split_regret,
    true_split_effective_accuracy,
    true_split_latency_s,
)
from sim.schedulers.split import times_of

EDGE = load_profile("jetson_xavier_nx", "yolo11m-seg")
CLOUD = load_profile("rtx_3080", "yolo11m-seg")
decays = st.one_of(st.just(0.0), st.floats(-2, 3).map(lambda x: 10.0**x))


def curve(kind: str, rng: np.random.Generator) -> LatencyCurve:
    """A curve that never falls, flat in places where its kind allows it: ties are part of the problem."""
    if kind == "quadratic":
        a, b, c = 10.0 ** rng.uniform([-9, -6, -5], [-4, -2, -1]) * rng.integers(0, 2, 3)
        return Quadratic(float(a), float(b), float(c))
    k = np.unique(rng.integers(0, 80, rng.integers(2, 12)))
    seconds = np.cumsum(rng.choice([0.0, 1e-3, 4e-3, 0.03], len(k)))
    made = PiecewiseLinear if kind == "piecewise-linear" else Tabulated
    whole = float if kind == "piecewise-linear" else int
    return made(tuple(map(whole, k)), tuple(map(float, seconds)))


def cost(seed: int, kind: str, active: int) -> PathCost:
    """A path with a wait, a wire time, dense inference and a margin of its own; some lack each of them."""
    rng = np.random.default_rng(seed)
    wait_s, per_block_s = rng.choice([0.0, 5e-3, 0.05]), rng.choice([0.0, 1e-4, 2e-3, math.inf])
    margin = np.concatenate([[0], np.cumsum(rng.integers(1, 9, active))])
    return PathCost(
        active,
        float(wait_s),
        float(per_block_s),
        curve(kind, rng),
        int(rng.choice([0, 7])),
        margin if rng.random() < 0.3 else None,
        float(rng.choice([0.02, 0.1, math.inf])),
    )


def all_splits(active: int, edge: bool = True, cloud: bool = True):
    """Every (k_e, k_c) that a split of N ≥ 1 active blocks may have; None: not asked."""
    counts = (None, *range(1, active + 1))
    for k_edge, k_cloud in itertools.product(counts if edge else (None,), counts if cloud else (None,)):
        if 1 <= (k_edge or 0) + (k_cloud or 0) <= active:
            yield k_edge, k_cloud


def value(case: Observation, k_edge: int | None, k_cloud: int | None, decay_per_s: float) -> float:
    """EA of a split, by its definition."""
    sides = ((case.edge, k_edge), (case.cloud, k_cloud))
    latency_s = max(cost.latency_s(k) for cost, k in sides if cost is not None and k is not None)
    active = next(cost.active for cost, _ in sides if cost is not None)
    return effective_accuracy(1.0, (k_edge or 0) + (k_cloud or 0), active, latency_s, decay_per_s)


kinds = st.sampled_from(["quadratic", "piecewise-linear", "tabulated"])


@given(
    seeds=st.tuples(st.integers(0, 10**6), st.integers(0, 10**6)),
    kinds=st.tuples(kinds, kinds),
    active=st.integers(1, 40),
    decay_per_s=decays,
)
def test_no_split_of_all_is_better_whatever_the_curves(seeds, kinds, active, decay_per_s):
    edge, cloud = (cost(seed, kind, active) for seed, kind in zip(seeds, kinds, strict=True))
    case = Observation(edge, cloud)
    decision = SplitScheduler(EffectiveAccuracyObjective(decay_per_s)).decide(case)
    best = max(value(case, *counts, decay_per_s) for counts in all_splits(active))
    assert 1 <= decision.k <= active
    assert value(case, decision.k_edge, decision.k_cloud, decay_per_s) == decision.predicted_ea
    assert decision.predicted_ea == pytest.approx(best, rel=1e-11)


@given(seed=st.integers(0, 10**6), kind=kinds, active=st.integers(0, 60), decay_per_s=decays)
def test_with_one_path_alone_it_is_the_best_of_that_path(seed, kind, active, decay_per_s):
    objective = EffectiveAccuracyObjective(decay_per_s)
    path = cost(seed, kind, active)
    for case in (Observation(path, None), Observation(None, path)):
        single = EffectiveAccuracyScheduler(objective).decide(case)
        split = SplitScheduler(objective).decide(case)
        assert (split.k_edge is None, split.k_cloud is None) == (case.edge is None, case.cloud is None)
        assert split.predicted_ea == pytest.approx(single.predicted_ea, rel=1e-11)


@given(
    seeds=st.tuples(st.integers(0, 10**6), st.integers(0, 10**6)),
    kinds=st.tuples(kinds, kinds),
    active=st.integers(0, 1600),
    decay_per_s=decays,
)
def test_it_is_never_worse_than_the_better_path(seeds, kinds, active, decay_per_s):
    edge, cloud = (cost(seed, kind, active) for seed, kind in zip(seeds, kinds, strict=True))
    case, objective = Observation(edge, cloud), EffectiveAccuracyObjective(decay_per_s)
    single = EffectiveAccuracyScheduler(objective).decide(case)
    split = SplitScheduler(objective).decide(case)
    assert split.predicted_ea >= single.predicted_ea * (1 - 1e-11)
    assert as_split(single, active).k == single.k


def test_equal_sides_share_the_blocks_and_halve_the_time():
    """T = 1 ms a block on both sides, time of little weight: 50 each, 50 ms instead of 100."""
    side = PathCost(100, 0.0, 0.0, Quadratic(0.0, 1e-3, 0.0))
    decision = SplitScheduler(EffectiveAccuracyObjective(0.1)).decide(Observation(side, side))
    assert (decision.k_edge, decision.k_cloud) == (50, 50)
    assert decision.predicted_latency_s == pytest.approx(0.05)
    assert decision.blocks_sent == 50


def test_a_side_that_gets_nothing_costs_nothing():
    """A server a second away is not asked, nor does its delay count."""
    edge = PathCost(100, 0.0, 0.0, Quadratic(0.0, 1e-3, 0.0))
    far = PathCost(100, 1.0, 0.0, Quadratic(0.0, 0.0, 0.0))
    decision = SplitScheduler(EffectiveAccuracyObjective(0.1)).decide(Observation(edge, far))
    assert (decision.k_edge, decision.k_cloud, decision.predicted_latency_s) == (100, None, 0.1)


def test_of_equally_good_splits_the_one_that_sends_least_is_taken():
    """Both sides take the same whatever they do: the edge alone can, and nothing is sent."""
    flat = PathCost(100, 0.05, 0.0, Quadratic(0.0, 0.0, 0.0))
    decision = SplitScheduler().decide(Observation(flat, flat))
    assert (decision.k_edge, decision.k_cloud) == (100, None)


def test_nothing_active_is_said_by_whoever_says_it_sooner():
    slow, fast = (PathCost(0, wait_s, 0.0, Quadratic(0.0, 0.0, 1e-3)) for wait_s in (0.2, 0.1))
    decisions = [SplitScheduler().decide(Observation(*case)) for case in ((slow, fast), (fast, slow))]
    assert [(one.k_edge, one.k_cloud, one.k) for one in decisions] == [(None, 0, 0), (0, None, 0)]
    assert [one.predicted_ea for one in decisions] == [pytest.approx(0.5 ** (0.101 / 0.1))] * 2


def test_where_nothing_ever_finishes_one_block_is_worth_nothing():
    dead = PathCost(9, 0.0, math.inf, Quadratic(0.0, 0.0, 0.0))
    for case, counts in (((dead, dead), (1, None)), ((None, dead), (None, 1))):
        decision = SplitScheduler().decide(Observation(*case))
        assert (decision.k_edge, decision.k_cloud) == counts
        assert (decision.predicted_latency_s, decision.predicted_ea) == (math.inf, 0.0)


def test_paths_over_different_blocks_and_no_path_are_refused():
    one, other = (PathCost(n, 0.0, 0.0, Quadratic(0.0, 0.0, 0.0)) for n in (3, 4))
    for scheduler in (SplitScheduler(), SplitOracle()):
        with pytest.raises(ValueError, match="same active blocks, found 3 on the edge and 4 in the cloud"):
            scheduler.decide(Observation(one, other))
        with pytest.raises(ValueError, match="expected an edge path, a cloud path or both"):
            scheduler.decide(Observation(None, None))
    with pytest.raises(ValueError, match="true future of the uplink"):
        SplitOracle().decide(Observation(one, one))


@given(seed=st.integers(0, 10**6), kind=kinds, active=st.integers(1, 300))
def test_the_times_are_those_of_each_number_of_blocks(seed, kind, active):
    path = cost(seed, kind, active)
    assert list(times_of(path)) == pytest.approx([path.latency_s(k) for k in range(1, active + 1)], rel=1e-12)


def truth(seed: int, active: int) -> Observation:
    """The papers' profiles, a wrong estimate and a link of packets in bursts with one outage."""
    rng = np.random.default_rng(seed)
    gaps_s = rng.exponential(12_000 / 10.0 ** rng.uniform(6, 8.3), 2000)
    gaps_s[rng.integers(0, 100)] += rng.uniform(0, 0.2)
    times_s = np.cumsum(gaps_s)

    def finish_s(n_bytes: int, enqueued_s: float) -> float:
        last = int(np.searchsorted(times_s, enqueued_s)) + max(math.ceil(n_bytes / 1500), 1) - 1
        return float(times_s[last]) if last < len(times_s) else math.inf

    return Observation(
        edge_cost(EDGE, active, 0.003, dense_fallback=bool(rng.integers(2))),
        cloud_cost(
            CLOUD,
            active,
            0.005,
            bandwidth_bps=10.0 ** rng.uniform(6, 8.3),
            block_bytes=440,
            header_bytes=1200,
            unsent=int(rng.integers(0, 60)),
        ),
        UplinkOracle(finish_s, 440.0, 1200.0, 0.001, 2e-6, 0.004),
    )


@given(seed=st.integers(0, 10**6), active=st.integers(1, 40), decay_per_s=decays)
def test_the_oracle_equals_an_exhaustive_search(seed, active, decay_per_s):
    case, oracle = truth(seed, active), SplitOracle(EffectiveAccuracyObjective(decay_per_s))
    best = max(
        effective_accuracy(1.0, (e or 0) + (c or 0), active, true_split_latency_s(case, e, c), decay_per_s)
        for e, c in all_splits(active)
    )
    decision = oracle.decide(case)
    assert decision.predicted_ea == pytest.approx(best, rel=1e-11)
    assert true_split_effective_accuracy(case, decision, oracle.objective) == decision.predicted_ea


@given(seed=st.integers(0, 10**6), active=st.integers(0, 1600))
def test_no_decision_beats_the_oracle_split_or_not(seed, active):
    case, oracle = truth(seed, active), SplitOracle()
    best = oracle.decide(case)
    singles = (EffectiveAccuracyScheduler(), LatencyScheduler(), OracleScheduler())
    for decision in (
        SplitScheduler().decide(case),
        *(as_split(scheduler.decide(case), active) for scheduler in singles),
    ):
        assert split_regret(case, decision, best, oracle.objective) >= -1e-12
    assert split_regret(case, best, best, oracle.objective) == 0


def test_the_oracle_asks_the_link_rarely():
    """A whole 1600-block frame takes a few dozen questions, not 1600."""
    asked = []
    for seed in range(20):
        case, calls = truth(seed, 1600), itertools.count()
        assert case.uplink is not None

        def counting(n_bytes, enqueued_s, inner=case.uplink.finish_s, calls=calls):
            next(calls)
            return inner(n_bytes, enqueued_s)

        SplitOracle().decide(case._replace(uplink=case.uplink._replace(finish_s=counting)))
        asked.append(next(calls))
    assert np.median(asked) < 60
    assert max(asked) < 400
