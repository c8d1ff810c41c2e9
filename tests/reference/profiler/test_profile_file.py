"""What a profile evaluates to, and that a file gives back what was written."""

from __future__ import annotations

import bisect
import dataclasses
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from profiler.latency import (
    PROFILE_FOLDER,
    CodecTable,
    CodecTime,
    CodecTimes,
    Encoding,
    Layer,
    PiecewiseLinear,
    Power,
    Profile,
    Quadratic,
    Residuals,
    Tabulated,
    available_profiles,
    load_profile,
    read_profile,
    save_profile,
)
from profiler.measure.samples import read_samples
from profiler.refit import fitted_masks
from traces.errors import InputError

coefficients = st.one_of(st.just(0.0), st.floats(1e-12, 1.0))
optional = st.one_of(st.none(), st.floats(0, 1))


@st.composite
def residual_tables(draw):
    levels = sorted(draw(st.sets(st.floats(0, 1), min_size=1, max_size=6)))
    grid = sorted(draw(st.sets(st.integers(0, 4096), min_size=1, max_size=5)))
    rows = st.lists(st.floats(0.1, 10), min_size=len(levels), max_size=len(levels)).map(
        lambda values: tuple(sorted(values))
    )
    return Residuals(
        levels=tuple(levels),
        k=tuple(map(float, grid)),
        ratio=tuple(draw(rows) for _ in grid),
        dense=draw(st.none() | rows),
        extract=draw(st.none() | rows),
    )


codec_times = st.none() | st.builds(CodecTime, coefficients, coefficients, coefficients, optional)
codec_tables = st.builds(
    CodecTable,
    st.sampled_from([{"kind": kind, "source": "Gerät"} for kind in ("measured", "published", "assumed")]),
    st.dictionaries(
        st.sampled_from(["raw", "jpeg", "jpeg_blocks", "mine"]),
        st.builds(CodecTimes, codec_times, codec_times),
    ),
)
profiles = st.builds(
    Profile,
    device=st.just("board"),
    model=st.sampled_from(["net-1", "Netz"]),
    resolution_px=st.tuples(st.integers(1, 2048), st.integers(1, 2048)),
    block_px=st.integers(1, 64),
    dense_s=st.floats(1e-9, 10),
    quadratic=st.builds(Quadratic, coefficients, coefficients, coefficients, optional, optional, optional),
    provenance=st.just({"kind": "measured", "source": "Gerät Nr. 1", "grid": [1, 2], "clock": {"mhz": 900}}),
    precision=st.sampled_from([None, "fp32"]),
    extract_s=optional,
    encode_s=st.none() | st.builds(Encoding, coefficients, coefficients),
    codecs=st.none() | codec_tables,
    r2=optional,
    heldout_error=optional,
    k_min=st.none() | st.integers(0, 10),
    k_max=st.none() | st.integers(10, 4096),
    breakeven_k=optional,
    residual_quantiles=st.none() | residual_tables(),
    alternative=st.sampled_from(
        [None, PiecewiseLinear((1.0, 8.0), (0.1, 0.2), 0.03), Tabulated((1, 8), (0.1, 0.2))]
    ),
    power_w=st.none() | st.builds(Power, optional, optional),
    layers=st.none() | st.just((Layer("model.0", 0.001, 1024, None), Layer("model.1", 0.0, 2048, 4096))),
)


@given(profile=profiles)
def test_a_saved_profile_reads_back_equal(profile, tmp_path_factory):
    path = tmp_path_factory.mktemp("profiles") / "board" / "net.yaml"
    save_profile(profile, path)
    assert read_profile(path) == profile
    assert [file.name for file in path.parent.iterdir()] == ["net.yaml"]


@pytest.fixture
def profile() -> Profile:
    """Twenty blocks; scatter 10 % at k = 2 and 50 % at k = 10."""
    return Profile(
        device="board",
        model="net",
        resolution_px=(64, 80),
        block_px=16,
        dense_s=0.5,
        quadratic=Quadratic(1e-4, 1e-3, 0.01),
        provenance={"kind": "measured", "source": "bench"},
        k_min=2,
        k_max=18,
        residual_quantiles=Residuals(
            levels=(0.0, 0.5, 1.0),
            k=(2.0, 10.0),
            ratio=((0.9, 1.0, 1.1), (0.5, 1.0, 2.0)),
            dense=(0.8, 1.0, 1.4),
        ),
    )


def test_sparse_time_is_the_quadratic_and_nothing_to_do_still_costs_the_constant(profile):
    assert profile.sparse_s(10) == pytest.approx(1e-4 * 100 + 1e-3 * 10 + 0.01)
    assert profile.sparse_s(0) == 0.01
    assert profile.block_count == 20


def test_the_curve_in_use_is_the_one_that_predicts_better(profile):
    def chosen(own: float | None, other: float | None) -> str:
        bent = PiecewiseLinear((2.0, 18.0), (0.02, 0.06), other)
        return dataclasses.replace(profile, heldout_error=own, alternative=bent).curve.name

    assert profile.curve is profile.quadratic
    assert chosen(0.02, 0.01) == "piecewise_linear"
    assert chosen(0.01, 0.02) == chosen(0.01, 0.01) == "quadratic"
    assert chosen(None, 0.01) == chosen(0.01, None) == "quadratic"
    bent = PiecewiseLinear((2.0, 18.0), (0.02, 0.06), 0.01)
    better = dataclasses.replace(profile, heldout_error=0.02, alternative=bent, residual_quantiles=None)
    assert better.sparse_s(10) == better.sample_s(10, 0.9) == bent.seconds(10)
    assert better.domain == (2, 18)


def test_a_table_is_in_use_where_there_is_one_and_beyond_it_is_an_extrapolation(profile):
    table = Tabulated((4, 8, 16), (0.1, 0.2, 0.4))
    tabulated = dataclasses.replace(profile, heldout_error=0.01, alternative=table)
    assert tabulated.curve is table
    assert tabulated.sparse_s(5) == 0.2
    assert [k for k in range(22) if tabulated.is_extrapolated(k)] == [1, 2, 3, 17, 18, 19, 20, 21]


@pytest.mark.parametrize(("device", "model"), [("jetson_xavier_nx", "yolo11m-seg"), ("rtx_3080", "sdpose")])
def test_published_profiles_keep_the_papers_quadratic(device, model):
    published = load_profile(device, model)
    assert published.curve is published.quadratic
    assert published.domain == (0, published.block_count)


@pytest.mark.parametrize("model", ["default", "yolo11n-seg", "yolo11m-seg"])
def test_sampled_times_are_those_measured_whichever_curve_is_in_use(model):
    measured = load_profile("epyc_zen5_1thread", model)
    samples = read_samples(PROFILE_FOLDER / "epyc_zen5_1thread" / model / "samples.parquet")
    k, seconds = samples.curve(masks=fitted_masks(samples))
    assert measured.curve.name == measured.provenance["better_on_heldout"] == "piecewise_linear"
    uniform = (np.arange(500) + 0.5) / 500
    for count in np.unique(k):
        drawn = [measured.sample_s(count, one) for one in uniform]
        own = seconds[k == count]
        assert np.median(drawn) == pytest.approx(np.median(own), rel=0.03)
        assert np.mean(drawn) == pytest.approx(measured.sparse_s(count), rel=0.03)


def test_a_profile_tells_its_curves_apart(profile, tmp_path):
    path = tmp_path / "board" / "net.yaml"
    save_profile(dataclasses.replace(profile, alternative=Tabulated((1, 8), (0.1, 0.2))), path)
    text = path.read_text(encoding="utf-8")
    assert "curve: tabulated" in text
    path.write_text(text.replace("curve: tabulated", "curve: cubic"), encoding="utf-8")
    with pytest.raises(InputError, match=r"alternative.curve: expected piecewise_linear or tabulated"):
        read_profile(path)
    path.write_text(text.replace("k: [1, 8]", "k: [1, 8.5]"), encoding="utf-8")
    with pytest.raises(InputError, match=r"alternative.k\[1\]: expected a whole number"):
        read_profile(path)


def test_only_the_profiled_range_is_not_extrapolated(profile):
    assert [k for k in range(22) if profile.is_extrapolated(k)] == [1, 19, 20, 21]
    unknown = dataclasses.replace(profile, k_min=None, k_max=None)
    assert [k for k in range(22) if unknown.is_extrapolated(k)] == [21]


@pytest.mark.parametrize(
    ("k", "uniform", "ratio"),
    [
        (2, 0.5, 1.0),
        (2, 1.0, 1.1),
        (10, 0.75, 1.5),
        (6, 1.0, (1.1 + 2.0) / 2),  # between grid points: the mean of both rows' quantiles
        (1, 0.0, 0.9),  # outside: the nearest row
        (15, 0.0, 0.5),
    ],
)
def test_residuals_are_interpolated_in_k_and_in_the_level(profile, k, uniform, ratio):
    assert profile.sample_s(k, uniform) == pytest.approx(profile.sparse_s(k) * ratio, rel=1e-12)


@given(k=st.floats(0, 30), pair=st.tuples(st.floats(0, 1), st.floats(0, 1)), table=residual_tables())
def test_a_larger_uniform_never_gives_a_shorter_time(k, pair, table):
    low, high = sorted(pair)
    assert 0 < table.at(k, low) <= table.at(k, high) * (1 + 1e-12)


def test_sampling_reproduces_the_distribution_it_was_given():
    rng = np.random.default_rng(5)
    measured = np.exp(0.3 * rng.standard_normal(20_000))
    levels = (0.0, *np.linspace(0.01, 0.99, 99), 1.0)
    table = Residuals(tuple(levels), (1.0,), (tuple(np.quantile(measured, levels)),))
    drawn = np.array([table.at(1, uniform) for uniform in rng.random(20_000)])
    for level in (0.05, 0.5, 0.95, 0.99):
        assert np.quantile(drawn, level) == pytest.approx(np.quantile(measured, level), rel=0.03)


def test_without_residuals_a_sample_is_the_expectation(profile):
    bare = dataclasses.replace(profile, residual_quantiles=None)
    assert bare.sample_s(7, 0.99) == bare.sparse_s(7)
    assert bare.dense_sample_s(0.99) == bare.dense_s
    assert profile.dense_sample_s(1.0) == pytest.approx(0.7)
    assert profile.codec_times("jpeg_blocks") is None


@given(
    knots=st.lists(
        st.tuples(st.floats(0, 100), st.floats(0, 1)), min_size=2, max_size=8, unique_by=lambda x: x[0]
    ),
    k=st.floats(0, 100),
)
def test_the_piecewise_linear_curve_is_numpys_within_its_knots(knots, k):
    grid = sorted(knot[0] for knot in knots)
    values = sorted(knot[1] for knot in knots)
    if grid[0] <= k <= grid[-1] and min(np.diff(grid)) > 1e-6:
        curve = PiecewiseLinear(tuple(grid), tuple(values))
        assert curve.seconds(k) == pytest.approx(np.interp(k, grid, values), abs=1e-9)
        assert bisect.bisect(grid, k) >= 1


@given(a_s=coefficients, b_s=coefficients, c_s=coefficients, seconds=st.floats(0, 10))
def test_a_crossing_lies_on_the_curve(a_s, b_s, c_s, seconds):
    curve = Quadratic(a_s, b_s, c_s)
    k = curve.crossing(seconds)
    if k is None:
        assert seconds < c_s or a_s == b_s == 0
    else:
        assert k >= 0
        assert curve.seconds(k) == pytest.approx(seconds, rel=1e-9, abs=1e-12)


def test_profiles_are_found_in_the_users_folder_first(profile, tmp_path):
    save_profile(profile, tmp_path / "mine" / "board" / "net.yaml")
    save_profile(dataclasses.replace(profile, dense_s=9.0), tmp_path / "other" / "board" / "net.yaml")
    folders = [tmp_path / "mine", tmp_path / "other"]
    assert available_profiles(folders) == {"board": ("net",)}
    assert load_profile("board", "net", folders).dense_s == 0.5
    assert load_profile("board", "net", reversed(folders)).dense_s == 9.0
    assert isinstance(folders[0], Path)


def test_a_model_that_a_device_lacks_is_refused_with_who_has_it(profile, tmp_path):
    save_profile(profile, tmp_path / "board" / "net.yaml")
    other = dataclasses.replace(profile, device="phone", model="small")
    save_profile(other, tmp_path / "phone" / "small.yaml")
    with pytest.raises(
        InputError, match=r"no profile of 'net' for device 'phone' \(board has one\); model\.profile="
    ):
        load_profile("phone", "net", [tmp_path])
