"""``compare``: two runs on one device agree, another device is told apart, at a stated error rate."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from profiler.compare import compare, summary
from profiler.latency.disturbance import drift_note, throttle_note
from profiler.measure.samples import Sample, SampleTable
from tests.strategies.profiler import NOISES, XAVIER, SyntheticDevice, as_samples

GRID = np.array([1, 40, 80, 160, 280, 400, 600, 800, 1200, 1600], float)


def run(device: SyntheticDevice, seed: int, repeats: int = 15) -> SampleTable:
    return as_samples(device.rows(np.random.default_rng(seed), GRID, repeats))


@pytest.mark.parametrize("noise", NOISES)
def test_two_runs_of_one_device_agree_and_a_doctored_third_does_not(noise: str) -> None:
    a, b, c = XAVIER
    first, second = (run(SyntheticDevice(noise=noise), seed) for seed in (1, 2))
    assert compare(first, second).verdict == "same"
    doctored = run(SyntheticDevice((a, 1.15 * b, c), noise), 3)
    assert compare(first, doctored).verdict == "different"


def test_a_difference_in_the_constant_alone_is_found_where_it_matters() -> None:
    """c weighs nothing at 1600 blocks and everything at one."""
    a, b, c = XAVIER
    found = compare(run(SyntheticDevice(), 1), run(SyntheticDevice((a, b, 1.5 * c)), 2))
    assert found.verdict == "different"
    assert found.worst.what == "k = 1"


@pytest.mark.parametrize("noise", NOISES)
def test_false_alarms_are_as_rare_as_stated(noise: str) -> None:
    """With no margin at all, two runs of one device are called different in at most 5 % of 400 trials."""
    device, trials = SyntheticDevice(noise=noise), 400
    generator = np.random.default_rng(7)
    alarms = 0
    for _ in range(trials):
        first, second = (as_samples(device.rows(generator, GRID, 8)) for _ in range(2))
        alarms += compare(first, second, margin=0.0).verdict == "different"
    assert alarms <= stats.binom.ppf(1 - 1e-3, trials, 0.05)


def test_too_few_repeats_are_undecided_rather_than_equal() -> None:
    noisy = SyntheticDevice(noise="heavy_tailed")
    found = compare(run(noisy, 1, repeats=3), run(noisy, 2, repeats=3))
    assert found.verdict == "undecided"


def test_the_summary_states_the_verdict_and_every_ratio() -> None:
    first, second = run(SyntheticDevice(), 1), run(SyntheticDevice(), 2)
    text = summary(compare(first, second), first, second)
    assert "SAME" in text
    assert all(f"k = {k:g}" in text for k in GRID)


def test_swapping_the_two_inverts_every_ratio() -> None:
    first, second = run(SyntheticDevice(), 1), run(SyntheticDevice(), 2)
    there, back = compare(first, second), compare(second, first)
    for one, other in zip(there.ratios, back.ratios, strict=True):
        assert one.ratio * other.ratio == pytest.approx(1.0)
        assert one.low * other.high == pytest.approx(1.0)


def test_samples_without_common_k_are_refused() -> None:
    other = [Sample("sparse", k, "random", r, 0.1) for k in (7, 9, 11) for r in range(5)]
    with pytest.raises(ValueError, match="at least 3 k with 3 samples in both"):
        compare(run(SyntheticDevice(), 1), as_samples(other))


def test_profiles_of_different_models_are_refused() -> None:
    rows = SyntheticDevice().rows(np.random.default_rng(0), GRID, 5)
    with pytest.raises(ValueError, match="same model, found 'yolo11n' and 'sdpose'"):
        compare(as_samples(rows, model="yolo11n"), as_samples(rows, model="sdpose"))


@pytest.mark.parametrize(
    "meta",
    [
        {"notes": ["other processes kept 1.3 cores busy at the start"]},
        {"background_cores": 1.3},
        {"background_cores": 0.0, "background_cores_measuring": 1.3},
        {"notes": [drift_note(0.1, 0.12)]},
        {"notes": [throttle_note("thermal slowdown", 3)]},
    ],
)
@pytest.mark.parametrize("slower", [1.0, 2.0])
def test_a_disturbed_run_is_neither_the_same_nor_different(meta: dict[str, object], slower: float) -> None:
    a, b, c = XAVIER
    first = run(SyntheticDevice(), 1)
    second = replace(run(SyntheticDevice((slower * a, slower * b, slower * c)), 2), meta=meta)
    found = compare(first, second)
    assert (found.verdict, found.verdict_from_times) == ("undecided", "same" if slower == 1 else "different")
    text = summary(found, first, second)
    assert "UNDECIDED: the run of B was disturbed" in text
    assert text.count(f"reason: {found.disturbed[0]}") == 1
    assert compare(second, first).disturbed[0].startswith("A: ")


@pytest.mark.parametrize(
    "meta",
    [
        {"background_cores": 0.1, "notes": ["stopped after 9 of 15 repeats: budget_s = 60 s are up"]},
        {"background_cores": 1.5, "clock": "thread"},
    ],
)
def test_a_quiet_run_and_thread_time_keep_their_verdict(meta: dict[str, object]) -> None:
    first, second = run(SyntheticDevice(), 1), run(SyntheticDevice(), 2)
    assert compare(first, replace(second, meta=meta)).verdict == "same"


def test_the_summary_repeats_what_else_a_run_noted() -> None:
    first, second = run(SyntheticDevice(), 1), run(SyntheticDevice(), 2)
    noted = replace(second, meta={"notes": ["stopped after 9 of 15 repeats"]})
    assert summary(compare(first, noted), first, noted).endswith("note: B: stopped after 9 of 15 repeats")
