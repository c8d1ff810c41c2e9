"""Latency curves: what they evaluate to, and that the k they call best is the best of all."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from profiler.latency import PiecewiseLinear, Quadratic, Tabulated, best_of_times

decays = st.one_of(st.just(0.0), st.floats(-2, 3).map(lambda x: 10.0**x))
wires = st.one_of(st.just(0.0), st.just(math.inf), st.floats(-8, -1).map(lambda x: 10.0**x))
steps_s = st.one_of(st.just(0.0), st.floats(-8, 0).map(lambda x: 10.0**x))
quadratics = st.builds(Quadratic, steps_s, steps_s, steps_s)


@st.composite
def piecewise(draw: st.DrawFn, *, whole: bool = True) -> PiecewiseLinear:
    """Up to eight knots in a frame of 400 blocks; slopes that jump by orders of magnitude either way."""
    places = st.integers(0, 400) if whole else st.one_of(st.floats(0, 400), st.floats(0, 12))
    knots = sorted(draw(st.sets(places, min_size=1, max_size=8)))
    knot_s = np.cumsum([draw(steps_s) for _ in knots])
    return PiecewiseLinear(tuple(map(float, knots)), tuple(map(float, knot_s)))


@st.composite
def tables(draw: st.DrawFn) -> Tabulated:
    entries = sorted(draw(st.sets(st.integers(0, 400), min_size=1, max_size=30)))
    return Tabulated(tuple(entries), tuple(map(float, np.cumsum([draw(steps_s) for _ in entries]))))


curves = st.one_of(quadratics, piecewise(), piecewise(whole=False), tables())


@given(
    curve=curves,
    active=st.integers(1, 450),
    decay_per_s=decays,
    wire_s=wires,
    unsent=st.integers(0, 100),
    data=st.data(),
)
@example(Quadratic(0.0, 1.0, 0.0), 9, math.log(2), 0.0, 0, None)
@example(PiecewiseLinear((0.25, 3.5, 4.25, 5.5, 6.25), (0.0, 0.0, 1e-9, 1e-9, 0.1)), 20, 100.0, 0.0, 1, None)
def test_the_best_block_count_is_the_best_of_all(curve, active, decay_per_s, wire_s, unsent, data):
    least = 1 if data is None else data.draw(st.integers(1, active))
    found = curve.best_block_count(active, decay_per_s, wire_s, unsent, least)
    assert isinstance(found, int)
    assert least <= found <= active
    if decay_per_s == 0.0:
        assert found == active  # time costs nothing
        return
    if wire_s == math.inf:
        assert found == least  # nothing ever arrives
        return
    every = [
        math.log(k) - decay_per_s * (k * wire_s + curve.seconds(k + unsent)) for k in range(least, active + 1)
    ]
    best = max(every)
    rounding = 1e-12 * max(1.0, *map(abs, (every[found - least], best)))
    assert every[found - least] >= best - rounding


@pytest.mark.parametrize(
    "curve",
    [
        Quadratic(0.0, 1.0, 0.0),
        PiecewiseLinear((0.0, 1.0, 3.0), (0.0, 1.0, 3.0)),
        PiecewiseLinear((1.0, 2.0, 4.0), (1.0, 2.0, 4.0)),
        PiecewiseLinear((0.5, 1.5, 4.5), (0.5, 1.5, 4.5)),
        Tabulated((1, 2, 3, 4), (1.0, 2.0, 3.0, 4.0)),
    ],
)
def test_of_equally_good_numbers_the_smallest_is_taken(curve):
    """ln 2 a second: the second block doubles what the result is worth, and its second halves it."""
    assert math.log(2) - math.log(2) * (curve.seconds(2) - curve.seconds(1)) == 0.0
    assert curve.best_block_count(4, math.log(2)) == 1


def test_two_maxima_of_one_curve_are_compared():
    """Steep, flat, steep: one maximum before the first rise, one before the second."""
    for height_s, expected in ((0.2, 400), (0.6, 100)):
        curve = PiecewiseLinear((0.0, 100.0, 101.0, 400.0, 401.0), (0.0, 0.0, height_s, height_s, 9.0))
        assert curve.best_block_count(500, math.log(2) / 0.2) == expected


def test_nothing_active_needs_nothing_and_one_block_is_processed_whatever_it_costs():
    for curve in (Quadratic(1.0, 1.0, 1.0), PiecewiseLinear((1.0,), (9.0,)), Tabulated((1,), (9.0,))):
        assert curve.best_block_count(0, 5.0) == 0
        assert curve.best_block_count(1, 500.0, 9.0) == 1


@given(curve=curves, k=st.lists(st.integers(0, 500), min_size=1, max_size=5).map(sorted))
def test_times_never_fall_and_are_the_same_one_by_one_and_together(curve, k):
    times_s = [curve.seconds(one) for one in k]
    assert curve.seconds_of(np.array(k)) == pytest.approx(times_s, rel=1e-9, abs=1e-15)
    assert times_s[0] >= 0.0
    assert all(after >= before * (1 - 1e-12) for before, after in pairwise(times_s))


@given(curve=curves, share=st.floats(0.1, 10), k=st.integers(0, 500))
def test_a_faster_device_takes_its_share_of_the_time(curve, share, k):
    scaled = curve.scaled(share)
    assert type(scaled) is type(curve)
    assert scaled.seconds(k) == pytest.approx(share * curve.seconds(k), rel=1e-9, abs=1e-12)


def test_a_table_pads_to_the_next_entry_and_goes_on_along_its_last_two():
    table = Tabulated((4, 8, 16), (0.1, 0.2, 0.4))
    assert [table.seconds(k) for k in (0, 1, 4, 5, 8, 9, 16)] == [0.1, 0.1, 0.1, 0.2, 0.2, 0.4, 0.4]
    assert table.seconds(20) == pytest.approx(0.5)
    assert table.domain == (4, 16)
    assert Tabulated((4,), (0.1,)).seconds(99) == 0.1


@given(
    times_s=st.lists(st.floats(0, 1), min_size=1, max_size=40), decay_per_s=decays, least=st.integers(1, 50)
)
def test_times_in_any_order_have_their_best_too(times_s, decay_per_s, least):
    found = best_of_times(np.array(times_s), decay_per_s, 1e-3, least)
    scores = [math.log(k) - decay_per_s * (k * 1e-3 + t) for k, t in enumerate(times_s, least)]
    assert scores[found - least] >= max(scores) - 1e-12 * max(1.0, *map(abs, scores))


@pytest.mark.parametrize("curve", [PiecewiseLinear, Tabulated])
@pytest.mark.parametrize(
    ("k", "seconds", "message"),
    [
        ((), (), "as many numbers of blocks as times, found 0 and 0"),
        ((1, 2), (0.1,), "as many numbers of blocks as times, found 2 and 1"),
        ((2, 2), (0.1, 0.2), "numbers of blocks >= 0 that rise"),
        ((-1, 2), (0.1, 0.2), "numbers of blocks >= 0 that rise"),
        ((1, 2), (0.2, 0.1), "times >= 0 that never fall"),
        ((1, 2), (-0.2, 0.1), "times >= 0 that never fall"),
        ((1, 2), (0.1, math.nan), "times >= 0 that never fall"),
    ],
)
def test_what_is_no_curve_is_refused(curve, k, seconds, message):
    with pytest.raises(ValueError, match=message):
        curve(k, seconds)


def test_a_table_lists_whole_numbers():
    with pytest.raises(ValueError, match="whole numbers of blocks"):
        Tabulated((1, 2.5), (0.1, 0.2))
