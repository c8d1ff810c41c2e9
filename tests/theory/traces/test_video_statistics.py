"""Statistics of blocks: what is drawn follows what was recorded."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom

from traces.errors import InputError
from traces.video.block_statistics import BlockStatistics, level_correlation

FRAMES = 20_000


def recording(**changes) -> BlockStatistics:
    rng = np.random.default_rng(3)
    activity = rng.beta(2, 5, 400)
    statistics = BlockStatistics.from_samples(
        name="made",
        source="made up",
        licence="none",
        synthetic=True,
        fps=30.0,
        blocks_total=1600,
        active_fraction={age: np.clip(activity * (1 + 0.2 * np.log(age)), 0, 1) for age in (1, 2, 5, 13)},
        changed_pixel_fraction=activity**2,
        similarity=1 - activity / 4,
        overhead_bytes=rng.uniform(800, 2000, 400),
        block_bytes={c: rng.uniform(low, 768, 400) for c, low in (("raw", 767), ("png", 400), ("jpeg", 40))},
        frame_bytes={c: rng.gamma(5, 1e4, 400) for c in ("raw", "png", "jpeg", "h264")},
        keyframe_bytes=60_000,
    )
    return replace(statistics, **changes)


def quantile_interval(count: int, probability: float, miss: float) -> tuple[int, int]:
    """Order statistics between which the quantile lies but for `miss`: their ranks are binomial."""
    return int(binom.ppf(miss / 2, count, probability)), int(binom.ppf(1 - miss / 2, count, probability))


@pytest.mark.parametrize("age", [1, 2, 5, 13, 40])
def test_sampled_quantiles_lie_within_a_computed_interval_of_the_table(age):
    statistics = recording(activity_correlation=0.0)
    sampler = statistics.sampler(seed=11)
    drawn = np.sort([sampler.active_fraction(i, age) for i in range(FRAMES)])
    row = statistics.active_fraction[(1, 2, 5, 13).index(min(age, 13))]
    probabilities = np.linspace(0, 1, len(row))[1:-1]
    for probability, quantile in zip(probabilities, row[1:-1], strict=True):
        low, high = quantile_interval(FRAMES, probability, miss=1e-5)  # 5 ages × 19 quantiles: 1 in 1000
        assert drawn[low] <= quantile <= drawn[high]
    assert row[0] <= drawn[0]
    assert drawn[-1] <= row[-1]


def test_sizes_follow_their_tables_too():
    statistics = recording(texture_correlation=0.0, activity_correlation=0.0)
    sampler = statistics.sampler(seed=12)
    middle = len(statistics.overhead_bytes) // 2
    low, high = quantile_interval(FRAMES, 0.5, miss=1e-5)
    draws = [
        (lambda i: sampler.block_bytes(i, "jpeg"), statistics.block_bytes["jpeg"]),
        (lambda i: sampler.frame_bytes(i, "h264"), statistics.frame_bytes["h264"]),
        (sampler.changed_pixel_fraction, statistics.changed_pixel_fraction),
        (sampler.similarity, statistics.similarity),
        (sampler.overhead_bytes, statistics.overhead_bytes),
    ]
    for draw, row in draws:
        values = np.sort([draw(i) for i in range(FRAMES)])
        assert values[low] <= row[middle] <= values[high]


@given(st.integers(0, 5000), st.integers(0, 60), st.integers(0, 60))
@settings(max_examples=50, deadline=None)
def test_an_older_reference_never_has_fewer_active_blocks(frame, age, other):
    sampler = recording().sampler(seed=1)
    younger, older = sorted((age, other))
    assert sampler.active_fraction(frame, younger) <= sampler.active_fraction(frame, older) + 1e-12
    assert sampler.active_fraction(frame, 0) == 0


@pytest.mark.parametrize("rho", [0.5, 0.95])
def test_levels_keep_the_recorded_correlation(rho):
    sampler = recording(activity_correlation=rho).sampler(seed=5)
    drawn = np.array([sampler.active_fraction(i, 1) for i in range(FRAMES)])
    found = level_correlation(drawn, np.zeros(FRAMES, dtype=int))
    # Bartlett: the variance of a lag-1 correlation of an AR(1) series is (1 − ρ²)/n; five deviations.
    assert abs(found - rho) < 5 * np.sqrt((1 - rho**2) / FRAMES) + 0.002


def test_the_order_of_access_and_other_cameras_change_nothing():
    statistics = recording()
    forward = [statistics.sampler(3, 2).active_fraction(i, 3) for i in (0, 9000, 17)]
    sampler = statistics.sampler(3, 2)
    assert [sampler.active_fraction(i, 3) for i in (17, 0, 9000)] == [forward[2], forward[0], forward[1]]
    assert statistics.sampler(3, 1).active_fraction(17, 3) != forward[2]
    assert statistics.sampler(4, 2).active_fraction(17, 3) != forward[2]


def test_at_half_the_rate_an_age_is_twice_as_old():
    statistics = recording()
    slow, fast = statistics.sampler(1, fps=15.0), statistics.sampler(1)
    assert slow.active_fraction(0, 1) == pytest.approx(fast.active_fraction(0, 2))
    assert slow.active_fraction(0, 100) == pytest.approx(fast.active_fraction(0, 100))


def test_a_file_says_what_was_saved(tmp_path):
    statistics = recording()
    statistics.save(tmp_path / "made.yaml")
    loaded = BlockStatistics.load(tmp_path / "made.yaml")
    assert loaded.active_fraction == tuple(
        tuple(pytest.approx(v, rel=1e-5) for v in row) for row in statistics.active_fraction
    )
    loaded.save(tmp_path / "again.yaml")
    assert (tmp_path / "again.yaml").read_bytes() == (tmp_path / "made.yaml").read_bytes()


def test_a_pooled_recording_ignores_the_step_between_clips():
    calm, busy = np.linspace(0.1, 0.2, 50), np.linspace(0.9, 0.8, 50)
    joined, clips = np.concatenate([calm, busy] * 2), np.repeat(np.arange(4), 50)
    assert level_correlation(joined, clips) > level_correlation(joined, np.zeros(200, dtype=int))


def test_every_committed_recording_loads(repository):
    files = sorted((repository / "conf" / "video" / "statistics").glob("*.yaml"))
    assert files
    for file in files:
        statistics = BlockStatistics.load(file)
        assert statistics.name == file.stem
        assert statistics.source
        assert statistics.licence
        assert 0 <= statistics.sampler(0).active_fraction(100, 3) <= 1


def test_a_value_costs_less_than_two_microseconds():
    sampler = recording().sampler(0)
    start = time.process_time()
    for i in range(50_000):
        sampler.active_fraction(i, 7)
    assert (time.process_time() - start) / 50_000 < 2e-6  # 0.4 µs on an idle machine, levels included


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "blocks_total: 1600",
            "blocks_total: 0",
            "blocks_total: expected a positive number of blocks, got 0",
        ),
        ("blocks_total: 1600", "blocks_total: many", "expected numbers in the fields"),
        ("fps: 30.0", "fps: -1", "fps: expected a positive number of frames a second, got -1.0"),
        ("name: made\n", "", "missing: name"),
        ("name: made\n", "name: made\nsize: 3\n", "unknown: size"),
        ("ages_frames: [1, 2, 5, 13]", "ages_frames: [1, 5, 2, 13]", "ages_frames: expected ascending ages"),
        ("ages_frames: [1, 2, 5, 13]", "ages_frames: [1, 2, 5]", "active_fraction: expected quantiles for 3"),
        ("  jpeg:", "  webp:", "block_bytes: expected the codecs raw, png, jpeg"),
        ("similarity: [", "similarity: [7, ", "similarity: expected finite quantiles from -1 to 1"),
        (
            "overhead_bytes: [",
            "overhead_bytes: [1e9, ",
            "overhead_bytes: expected quantiles that do not decrease",
        ),
        (
            "keyframe_bytes: 60000.0",
            "keyframe_bytes: 0",
            "keyframe_bytes: expected a positive number of bytes",
        ),
        ("name: made", "name: [made", "expected YAML"),
    ],
)
def test_a_bad_file_is_refused_by_name(tmp_path, old, new, message):
    file = tmp_path / "made.yaml"
    recording().save(file)
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new, 1))
    with pytest.raises(InputError, match=r"made\.yaml") as caught:
        BlockStatistics.load(file)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_samples_that_cannot_be_used_are_refused_by_name():
    good = np.linspace(0, 1, 10)
    arguments = {
        "name": "x", "source": "x", "licence": "x", "synthetic": True, "fps": 30.0, "blocks_total": 100,
        "active_fraction": {1: good}, "changed_pixel_fraction": good, "similarity": good,
        "overhead_bytes": good,
        "block_bytes": dict.fromkeys(("raw", "png", "jpeg"), good),
        "frame_bytes": dict.fromkeys(("raw", "png", "jpeg", "h264"), good), "keyframe_bytes": 1.0,
    }  # fmt: skip
    BlockStatistics.from_samples(**arguments)
    with pytest.raises(InputError, match="similarity: expected at least one sample, found none"):
        BlockStatistics.from_samples(**{**arguments, "similarity": np.full(10, np.nan)})
    with pytest.raises(InputError, match="similarity: expected 10 samples as changed_pixel_fraction, got 3"):
        BlockStatistics.from_samples(**{**arguments, "similarity": good[:3]})
