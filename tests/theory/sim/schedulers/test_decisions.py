"""Which path a scheduler takes, what it expects of it, and what the oracle gains."""

from __future__ import annotations

import itertools
import math
from bisect import bisect_left

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from profiler.latency import LatencyCurve, PiecewiseLinear, Quadratic, Tabulated, load_profile
from sim.schedulers import (
    EffectiveAccuracyObjective,
    EffectiveAccuracyScheduler,
    ExecutionPath,
    LatencyScheduler,
    Observation,
    OracleScheduler,
    PathCost,
    UplinkOracle,
    cloud_cost,
    edge_cost,
    effective_accuracy,
    regret,
    true_effective_accuracy,
    true_latency_s,
)

EDGE = load_profile("jetson_xavier_nx", "yolo11m-seg")
CLOUD = load_profile("rtx_3080", "yolo11m-seg")
PACKET_BYTES = 1500


def opportunities(rng: np.random.Generator, rate_bps: float, outage_s: float) -> list[float]:
    """Delivery opportunities of one packet each: bursts, with one outage."""
    gaps_s = rng.exponential(PACKET_BYTES * 8 / rate_bps, 4000)
    gaps_s[rng.integers(0, 200)] += outage_s
    return list(np.cumsum(gaps_s))


def uplink(times_s: list[float], **changes: float) -> UplinkOracle:
    """A link that delivers one packet at each time; beyond the last, never."""

    def finish_s(n_bytes: int, enqueued_s: float) -> float:
        first = bisect_left(times_s, enqueued_s)
        last = first + max(math.ceil(n_bytes / PACKET_BYTES), 1) - 1
        return times_s[last] if last < len(times_s) else math.inf

    return UplinkOracle(finish_s, 440.0, 1200.0, 0.001, 2e-6, 0.004)._replace(**changes)


def observation(seed: int, active: int, *, dirty: int = 0, dense_fallback: bool = False) -> Observation:
    rng = np.random.default_rng(seed)
    link = uplink(opportunities(rng, 10.0 ** rng.uniform(6, 8.3), rng.uniform(0, 0.2)))
    return Observation(
        edge_cost(EDGE, active, 0.003, dense_fallback=dense_fallback),
        cloud_cost(
            CLOUD,
            active,
            0.005,
            bandwidth_bps=10.0 ** rng.uniform(6, 8.3),  # a wrong estimate
            block_bytes=440,
            header_bytes=1200,
            encode_per_block_s=2e-6,
            unsent=dirty,
            dense_fallback=dense_fallback,
        ),
        link,
    )


def bent(curve: Quadratic, rng: np.random.Generator) -> LatencyCurve:
    """A curve of another kind, of much the same size, that bends where the quadratic cannot."""
    if rng.random() < 0.5:
        knots = np.array([0, 20, 60, 90, 200, 400, 900, 1600])
        knot_s = curve.seconds(0) + np.cumsum(
            np.diff(curve.seconds_of(knots), prepend=0.0) * rng.gamma(1, 1, 8)
        )
        return PiecewiseLinear(tuple(map(float, knots)), tuple(map(float, knot_s)))
    entries = np.unique(rng.integers(0, 1600, 40))
    return Tabulated(tuple(map(int, entries)), tuple(map(float, curve.seconds_of(entries))))


def with_a_margin(active: int, rng: np.random.Generator) -> np.ndarray:
    """(N + 1,) blocks computed: each block sent brings up to eight others with it."""
    return np.concatenate([[0], np.cumsum(rng.integers(1, 9, active))])


@given(
    seed=st.integers(0, 10**6),
    active=st.integers(0, 300),
    dirty=st.integers(0, 60),
    dense=st.booleans(),
    margin=st.booleans(),
)
def test_whatever_the_curve_the_best_of_all_decisions_is_found(seed, active, dirty, dense, margin):
    rng = np.random.default_rng(seed)
    case = observation(seed, active, dirty=dirty, dense_fallback=dense)
    computed = with_a_margin(active, rng) if margin else None
    edge = case.edge._replace(curve=bent(EDGE.quadratic, rng), computed=computed)
    cloud = case.cloud._replace(curve=bent(CLOUD.quadratic, rng), computed=computed)
    case = case._replace(edge=edge, cloud=cloud)

    scheduler = EffectiveAccuracyScheduler()
    decision = scheduler.decide(case)
    decay_per_s = scheduler.objective.decay_per_s
    expected = max(
        effective_accuracy(1.0, k, active, cost.latency_s(k), decay_per_s)
        for cost, k in itertools.product((edge, cloud), range(active + 1))
    )
    assert decision.predicted_ea == pytest.approx(expected, rel=1e-12)
    on_cloud = decision.path is ExecutionPath.CLOUD
    assert decision.blocks_sent == (decision.k if on_cloud else 0)
    if computed is None:
        assert decision.blocks_computed == decision.k + (dirty if on_cloud else 0)
    else:
        assert decision.blocks_computed == computed[decision.k]

    oracle = OracleScheduler()
    found = true_effective_accuracy(case, oracle.decide(case), oracle.objective)
    best = max(
        effective_accuracy(1.0, k, active, true_latency_s(case, path, k), decay_per_s)
        for path, k in itertools.product(ExecutionPath, range(active + 1))
    )
    assert found == pytest.approx(best, rel=1e-12)


def test_a_margin_costs_time_but_no_bytes():
    """Nine blocks computed for each one sent: fewer are sent, at the same wire time a block."""
    nine = np.arange(401) * 9
    plain = cloud_cost(CLOUD, 400, 0.005, bandwidth_bps=56e6, block_bytes=440)
    margin = cloud_cost(CLOUD, 400, 0.005, bandwidth_bps=56e6, block_bytes=440, computed=nine)
    assert margin.per_block_s == plain.per_block_s
    assert margin.latency_s(40) - plain.latency_s(40) == pytest.approx(
        CLOUD.sparse_s(360) - CLOUD.sparse_s(40), rel=1e-12
    )
    decisions = [EffectiveAccuracyScheduler().decide(Observation(None, cost)) for cost in (plain, margin)]
    assert [one.blocks_computed for one in decisions] == [decisions[0].k, 9 * decisions[1].k]
    assert decisions[1].k < decisions[0].k
    assert decisions[1].extrapolated == (9 * decisions[1].k > CLOUD.block_count)


@given(seed=st.integers(0, 10**6), active=st.integers(0, 400), dirty=st.integers(0, 60), dense=st.booleans())
def test_the_oracle_equals_an_exhaustive_search(seed, active, dirty, dense):
    case = observation(seed, active, dirty=dirty, dense_fallback=dense)
    oracle = OracleScheduler()
    found = true_effective_accuracy(case, oracle.decide(case), oracle.objective)
    best = max(
        effective_accuracy(1.0, k, active, true_latency_s(case, path, k), oracle.objective.decay_per_s)
        for path, k in itertools.product(ExecutionPath, range(active + 1))
    )
    assert found == pytest.approx(best, rel=1e-12)


@given(seed=st.integers(0, 10**6), active=st.integers(0, 1600), dirty=st.integers(0, 200))
def test_no_scheduler_beats_the_oracle(seed, active, dirty):
    case = observation(seed, active, dirty=dirty)
    oracle = OracleScheduler()
    best = oracle.decide(case)
    for scheduler in (EffectiveAccuracyScheduler(), LatencyScheduler()):
        assert regret(case, scheduler.decide(case), best, oracle.objective) >= 0
    assert regret(case, best, best, oracle.objective) == 0


def test_the_oracle_asks_the_link_rarely():
    """A whole 1600-block frame takes a few dozen questions, not 1600."""
    asked = []
    for seed in range(20):
        case = observation(seed, 1600)
        assert case.uplink is not None
        calls = itertools.count()

        def counting(n_bytes, enqueued_s, inner=case.uplink.finish_s, calls=calls):
            next(calls)
            return inner(n_bytes, enqueued_s)

        OracleScheduler().decide(case._replace(uplink=case.uplink._replace(finish_s=counting)))
        asked.append(next(calls))
    assert np.median(asked) < 60
    assert max(asked) < 400


@given(
    seed=st.integers(0, 10**6), active=st.integers(0, 1600), dirty=st.integers(0, 200), dense=st.booleans()
)
def test_the_effective_accuracy_plan_is_the_best_of_all_plans(seed, active, dirty, dense):
    case = observation(seed, active, dirty=dirty, dense_fallback=dense)
    scheduler = EffectiveAccuracyScheduler(EffectiveAccuracyObjective(dense_accuracy=0.8))
    decision = scheduler.decide(case)
    best = max(
        effective_accuracy(0.8, k, active, cost.latency_s(k), scheduler.objective.decay_per_s)
        for cost, k in itertools.product((case.edge, case.cloud), {*range(0, active + 1, 13), active})
    )
    assert decision.predicted_ea >= best * (1 - 1e-12)
    assert decision.predicted_ea <= 0.8
    assert decision.blocks_computed == decision.k + (dirty if decision.path is ExecutionPath.CLOUD else 0)


@given(seed=st.integers(0, 10**6), active=st.integers(0, 1600))
def test_the_latency_plan_takes_every_miss_on_the_faster_path(seed, active):
    case = observation(seed, active)
    decision = LatencyScheduler().decide(case)
    assert case.edge is not None
    assert case.cloud is not None
    assert decision.k == active
    assert decision.predicted_latency_s == min(case.edge.latency_s(active), case.cloud.latency_s(active))


def test_the_papers_latency_model_of_table_1():
    """100 blocks of 440 bytes at 56 Mbit/s: the sum of §4.2 by hand."""
    cost = cloud_cost(CLOUD, 100, 0.00312, bandwidth_bps=56e6, block_bytes=440)
    by_hand = 0.00312 + 100 * 440 * 8 / 56e6 + 2.63e-9 * 100**2 + 1.52e-5 * 100 + 7.14e-5
    assert cost.latency_s(100) == pytest.approx(by_hand, rel=1e-12)
    assert edge_cost(EDGE, 100, 0.00312).latency_s(100) == pytest.approx(
        0.00312 + 3.60e-8 * 100**2 + 2.13e-4 * 100 + 8.29e-3, rel=1e-12
    )


def test_a_fast_link_offloads_and_a_dead_one_stays_on_the_edge():
    edge = edge_cost(EDGE, 400, 0.003)
    for scheduler in (EffectiveAccuracyScheduler(), LatencyScheduler()):
        paths = [
            scheduler.decide(
                Observation(edge, cloud_cost(CLOUD, 400, 0.013, bandwidth_bps=rate, block_bytes=440))
            ).path
            for rate in (130e6, 56e6, 25e6, 1e6, 0.0)
        ]
        assert paths == ["cloud", "cloud", "cloud", "edge", "edge"]


def test_a_path_that_is_not_there_is_not_taken_and_none_at_all_is_an_error():
    edge = edge_cost(EDGE, 400, 10.0)
    cloud = cloud_cost(CLOUD, 400, 10.0, bandwidth_bps=1e6, block_bytes=440)
    link = uplink(opportunities(np.random.default_rng(1), 1e6, 0.0))
    for scheduler in (EffectiveAccuracyScheduler(), LatencyScheduler(), OracleScheduler()):
        assert scheduler.decide(Observation(edge, None, link)).path is ExecutionPath.EDGE
        assert scheduler.decide(Observation(None, cloud, link)).path is ExecutionPath.CLOUD
        with pytest.raises(ValueError, match="expected an edge path, a cloud path or both"):
            scheduler.decide(Observation(None, None, link))
    with pytest.raises(ValueError, match="true future of the uplink"):
        OracleScheduler().decide(Observation(edge, cloud))


def test_where_time_costs_nothing_everything_is_processed_unless_it_never_arrives():
    edge = edge_cost(EDGE, 400, 10.0)
    dead = cloud_cost(CLOUD, 400, 0.0, bandwidth_bps=0.0, block_bytes=440)
    link = uplink([])
    patient = EffectiveAccuracyObjective(0.0, 0.9)
    for scheduler in (EffectiveAccuracyScheduler(patient), OracleScheduler(patient)):
        decision = scheduler.decide(Observation(edge, dead, link))
        assert (decision.path, decision.k, decision.predicted_ea) == (ExecutionPath.EDGE, 400, 0.9)
        assert scheduler.decide(Observation(None, dead, link)).predicted_ea == 0.0


def test_a_plan_outside_the_profiled_range_says_so():
    narrow = PathCost(100, 0.0, 0.0, Quadratic(0.0, 1e-9, 0.0), k_min=10, k_max=80)
    decisions = [
        EffectiveAccuracyScheduler().decide(Observation(narrow._replace(active=n), None))
        for n in (0, 5, 50, 81)
    ]
    assert [decision.extrapolated for decision in decisions] == [False, True, False, True]


def test_dense_inference_replaces_a_sparse_one_that_costs_more():
    """The published curve reaches 2.1 times the dense latency at 1600 active blocks."""
    sparse = EffectiveAccuracyScheduler().decide(Observation(edge_cost(EDGE, 1600, 0.0), None))
    dense = EffectiveAccuracyScheduler().decide(
        Observation(edge_cost(EDGE, 1600, 0.0, dense_fallback=True), None)
    )
    assert (sparse.k, sparse.dense) == (568, False)
    assert (dense.k, dense.dense) == (1600, True)
    assert dense.predicted_latency_s == EDGE.dense_s
    assert dense.predicted_ea > 1.7 * sparse.predicted_ea


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"decay_per_s": -0.1}, "decay_per_s: expected at least 0 per second"),
        ({"decay_per_s": math.nan}, "decay_per_s: expected at least 0 per second"),
        ({"dense_accuracy": 1.2}, "dense_accuracy: expected a value from 0 to 1"),
    ],
)
def test_impossible_valuations_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        EffectiveAccuracyObjective(**arguments)


@pytest.mark.parametrize("scheduler", [EffectiveAccuracyScheduler, LatencyScheduler, OracleScheduler])
def test_a_scheduler_is_made_of_an_objective_and_options_of_its_own(scheduler):
    objective = EffectiveAccuracyObjective(3.0, 0.5)
    made = scheduler(objective, scheduler.Options())
    assert made == scheduler(objective)
    assert made.objective is objective
    assert made.decide(Observation(edge_cost(EDGE, 1, 0.0), None)).predicted_ea == pytest.approx(
        0.5 * math.exp(-3.0 * EDGE.sparse_s(1))
    )
