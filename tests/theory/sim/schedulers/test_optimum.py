"""The number of blocks with the largest effective accuracy, against numerical optimisation."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar

from profiler.latency import Quadratic
from sim.schedulers.effective_accuracy import DEFAULT_DECAY_PER_S, effective_accuracy

coefficients_a = st.one_of(st.just(0.0), st.floats(-14, -3).map(lambda x: 10.0**x))
coefficients_b = st.one_of(st.just(0.0), st.floats(-9, 1).map(lambda x: 10.0**x))
decays = st.floats(-3, 4).map(lambda x: 10.0**x)


def optimum(a_s, beta_s, decay_per_s):
    return Quadratic(a_s, beta_s, 0.0).optimum(decay_per_s)


def best_block_count(active, a_s, b_s, decay_per_s, wire_s=0.0, unsent=0):
    return Quadratic(a_s, b_s, 0.0).best_block_count(active, decay_per_s, wire_s, unsent)


def log_ea(k, active, a_s, beta_s, decay_per_s):
    """ln EA up to what does not depend on k."""
    return np.log(k / active) - decay_per_s * (beta_s * k + a_s * k * k)


@given(a_s=coefficients_a, beta_s=coefficients_b, decay_per_s=decays)
def test_the_optimum_is_where_scipy_finds_it(a_s, beta_s, decay_per_s):
    k = optimum(a_s, beta_s, decay_per_s)
    if math.isinf(k):
        assert a_s == beta_s == 0
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # SciPy's bracket may step over the flat top
        found = minimize_scalar(
            lambda x: -log_ea(math.exp(x) * k, k, a_s, beta_s, decay_per_s),
            bounds=(-6, 6),
            method="bounded",
            options={"xatol": 1e-11},
        )
    assert found.x == pytest.approx(0, abs=1e-6)


@given(a_s=coefficients_a, beta_s=coefficients_b, decay_per_s=decays)
def test_the_derivative_of_log_ea_vanishes_at_the_optimum(a_s, beta_s, decay_per_s):
    k = optimum(a_s, beta_s, decay_per_s)
    if math.isfinite(k):
        assert decay_per_s * (beta_s * k + 2 * a_s * k * k) == pytest.approx(1, rel=1e-12)


@given(
    a_s=st.floats(-9, -3).map(lambda x: 10.0**x),
    beta_s=st.floats(-7, -2).map(lambda x: 10.0**x),
    decay_per_s=decays,
)
def test_it_equals_the_papers_form_where_that_does_not_cancel(a_s, beta_s, decay_per_s):
    under_root = beta_s**2 + 8 * a_s / decay_per_s
    if under_root > 1.01 * beta_s**2:
        papers = (-beta_s + math.sqrt(under_root)) / (4 * a_s)
        assert optimum(a_s, beta_s, decay_per_s) == pytest.approx(papers, rel=1e-10)


def test_it_stays_accurate_where_the_papers_form_cancels():
    """a → 0 tends to 1/(λβ); the subtraction of the paper's form has lost every digit there."""
    for a_s in 10.0 ** np.arange(-8, -40, -4):
        assert optimum(a_s, 1e-2, 5.0) == pytest.approx(20.0, rel=1e-3)
    beta_s, a_s = 1e-2, 1e-22
    assert (-beta_s + math.sqrt(beta_s**2 + 8 * a_s / 5.0)) / (4 * a_s) == 0.0
    assert optimum(a_s, beta_s, 5.0) == pytest.approx(20.0, rel=1e-12)
    assert optimum(0.0, beta_s, 5.0) == pytest.approx(20.0, rel=1e-12)


@given(
    active=st.integers(1, 3000),
    a_s=coefficients_a,
    b_s=coefficients_b,
    wire_s=coefficients_b,
    unsent=st.integers(0, 500),
    decay_per_s=decays,
)
def test_the_whole_number_is_the_best_of_all(active, a_s, b_s, wire_s, unsent, decay_per_s):
    k = best_block_count(active, a_s, b_s, decay_per_s, wire_s, unsent)
    candidates = np.arange(1, active + 1)
    blocks = candidates + unsent
    latency_s = candidates * wire_s + a_s * blocks**2 + b_s * blocks
    scores = np.log(candidates / active) - decay_per_s * (latency_s - (a_s * unsent + b_s) * unsent)
    assert 1 <= k <= active
    assert scores[k - 1] >= scores.max() - 1e-9 * max(1.0, abs(scores.max()))


def test_nothing_active_needs_nothing():
    assert best_block_count(0, 1e-6, 1e-3, 5.0) == 0
    assert effective_accuracy(0.9, 0, 0, 0.1, math.log(2) / 0.1) == pytest.approx(0.45)


def test_an_instant_device_processes_everything_and_a_dead_link_one_block():
    assert best_block_count(77, 0.0, 0.0, 5.0) == 77
    assert best_block_count(77, 1e-6, 1e-3, 5.0, wire_s=math.inf) == 1


@given(
    active=st.integers(0, 5000),
    share=st.floats(0, 1),
    latency_s=st.floats(0, 100),
    accuracy=st.floats(0, 1),
    decay_per_s=decays,
)
def test_effective_accuracy_never_exceeds_accuracy(active, share, latency_s, accuracy, decay_per_s):
    k = int(share * active)
    assert 0 <= effective_accuracy(accuracy, k, active, latency_s, decay_per_s) <= accuracy


def test_without_the_bound_that_the_paper_leaves_out_it_would_exceed_it():
    """Table 1, cloud, 100 active blocks: the unbounded k* would be worth more than a perfect result."""
    decay_per_s, a_s, b_s, c_s = math.log(2) / 0.1, 2.63e-9, 1.52e-5, 7.14e-5
    k = optimum(a_s, b_s, decay_per_s)
    assert k / 100 * math.exp(-decay_per_s * (a_s * k * k + b_s * k + c_s)) > 1
    assert best_block_count(100, a_s, b_s, decay_per_s) == 100
    with pytest.raises(ValueError, match="expected 0 to 100 blocks"):
        effective_accuracy(1.0, 101, 100, 0.0, decay_per_s)


def test_effective_accuracy_halves_every_hundred_milliseconds_by_default():
    assert effective_accuracy(1.0, 5, 10, 0.2, DEFAULT_DECAY_PER_S) == pytest.approx(0.125)
