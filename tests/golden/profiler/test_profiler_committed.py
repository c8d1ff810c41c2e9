"""Measured profiles in the repository: each follows from its samples, and the documents quote it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from profiler.codecs import codecs_beside
from profiler.latency import CODECS_FILE, PROFILE_FOLDER, available_profiles, load_profile, read_profile
from profiler.measure.samples import COLUMNS, read_samples
from profiler.refit import fit_profile
from profiler.report.profile_table import markdown, measured_profiles

SAMPLES = sorted(PROFILE_FOLDER.glob("*/*/samples.parquet"))
NAMES = [f"{path.parent.parent.name}/{path.parent.name}" for path in SAMPLES]


def test_at_least_one_device_was_measured() -> None:
    assert SAMPLES


@pytest.mark.parametrize("path", SAMPLES, ids=NAMES)
def test_a_committed_profile_is_what_its_samples_give(path: Path) -> None:
    committed = read_profile(path.parent.with_suffix(".yaml"))
    again = fit_profile(read_samples(path)).profile
    assert (committed.device, committed.model) == (path.parent.parent.name, path.parent.name)
    for name in ("a_s", "b_s", "c_s", "a_stderr_s", "b_stderr_s", "c_stderr_s"):
        found, expected = getattr(again.quadratic, name), getattr(committed.quadratic, name)
        assert found == pytest.approx(expected, rel=1e-6, abs=1e-15), name
    assert replace(again, quadratic=committed.quadratic, provenance={}).dense_s == committed.dense_s
    assert again.heldout_error == pytest.approx(committed.heldout_error, abs=1e-5)
    assert again.breakeven_k == pytest.approx(committed.breakeven_k, rel=1e-3)


@pytest.mark.parametrize("path", SAMPLES, ids=NAMES)
def test_a_curve_of_every_committed_device_meets_the_target_of_three_per_cent(path: Path) -> None:
    """Not the one with a ≥ 0: the curvature of these devices is negative, and the profile says so."""
    found = fit_profile(read_samples(path), draws=0)
    others = (found.piecewise.heldout_error, found.profile.provenance["free_quadratic"]["heldout_error"])
    assert all(error is not None and error <= 0.03 for error in others)
    assert any("a free quadratic would predict" in finding for finding in found.findings)


@pytest.mark.parametrize("path", SAMPLES, ids=NAMES)
def test_committed_samples_are_complete_and_name_no_folder(path: Path, repository: Path) -> None:
    samples = read_samples(path)
    assert samples.meta["complete"]
    assert set(COLUMNS) == {"op", "k", "mask", "repeat", "seconds"}
    assert {"dense", "sparse", "extract", "encode"} <= set(samples.op)
    text = str(samples.meta) + path.parent.with_suffix(".yaml").read_text(encoding="utf-8")
    for folder in ("/home/", "/tmp/", "\\Users\\", f"{Path.home()}/", f"{repository.parent}/"):
        assert folder not in text


CODEC_SAMPLES = sorted(PROFILE_FOLDER.glob("*/codecs.parquet"))


@pytest.mark.parametrize("path", CODEC_SAMPLES, ids=lambda path: path.parent.name)
def test_committed_codec_times_are_what_their_samples_give(path: Path) -> None:
    found = codecs_beside(path.parent)
    assert found is not None
    profiles = sorted(set(path.parent.glob("*.yaml")) - {path.with_suffix(".yaml")})
    assert profiles
    for profile in map(read_profile, profiles):
        assert profile.codecs is not None
        assert profile.codecs.provenance == found.provenance
        assert profile.codecs.provenance["kind"] == "measured"
        assert list(profile.codecs.times) == list(found.times)
        for name, times in found.times.items():
            for way in ("encode", "decode"):
                committed, again = getattr(profile.codecs.times[name], way), getattr(times, way)
                assert committed.seconds(4e5, 4e4) == pytest.approx(again.seconds(4e5, 4e4), rel=1e-3)
                assert committed.error == pytest.approx(again.error, abs=1e-3)
                assert again.error < 0.25


@pytest.mark.parametrize("device", ["jetson_xavier_nx", "rtx_3080"])
def test_assumed_codec_times_are_the_measured_ones_times_the_factor_that_they_name(device: str) -> None:
    measured = codecs_beside(PROFILE_FOLDER / "epyc_zen5_1thread")
    assert measured is not None
    for model in available_profiles()[device]:
        table = load_profile(device, model).codecs
        assert table is not None
        assert table.provenance["kind"] == "assumed"
        factor = table.provenance["factor"]
        assert str(factor).rstrip("0").rstrip(".") in table.provenance["source"]
        assert "# Codecs: assumed" in (PROFILE_FOLDER / device / CODECS_FILE).read_text(encoding="utf-8")
        assert list(table.times) == list(measured.times)
        for name, times in table.times.items():
            for way in ("encode", "decode"):
                assumed, base = getattr(times, way), getattr(measured.times[name], way)
                if name.startswith("h264") and way == "encode" and "h264" in table.provenance:
                    assert "hardware" in table.provenance["h264"]
                    assert 0.0 < assumed.seconds(4e5, 4e4) < factor * base.seconds(4e5, 4e4)
                    continue
                assert assumed.seconds(4e5, 4e4) == pytest.approx(factor * base.seconds(4e5, 4e4), rel=2e-3)
                assert assumed.error is None


def test_the_readme_quotes_every_measured_profile(repository: Path) -> None:
    readme = (repository / "profiler" / "README.md").read_text(encoding="utf-8")
    for row in markdown(measured_profiles()).splitlines():
        assert row in readme, f"profiler/README.md lacks: {row} (python -m profiler table)"
