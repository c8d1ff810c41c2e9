"""Every real trace at hand loads by looking at it, with a sensible mean and length."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from traces import load_trace
from traces.bandwidth.loading import detect_format
from traces.bandwidth.statistics import binned_rates_bps
from traces.bandwidth.trace import OpportunityTrace, RateTrace
from traces.downloads.registry import read_registry

pytestmark = pytest.mark.data

FORMAT_OF_FOLDER = {
    "mahimahi": "mahimahi",
    "fcc_cooked": "cooked",
    "norway3g_cooked": "cooked",
    "wifi_solis": "cooked",
    "lumos5g": "cooked",
    "ghent4g": "ghent",
    "sigcomm21_uplink": "sigcomm21",
}
FILES_OF_FOLDER = {
    "mahimahi": 4,
    "fcc_cooked": 8,
    "norway3g_cooked": 9,
    "wifi_solis": 12,
    "lumos5g": 14,
    "ghent4g": 7,
    "sigcomm21_uplink": 3,
}


@pytest.mark.parametrize("folder", FORMAT_OF_FOLDER)
def test_every_file_is_recognised_and_loads(data_dir: Path, folder: str) -> None:
    paths = sorted((data_dir / "traces" / folder).iterdir())
    assert len(paths) == FILES_OF_FOLDER[folder]
    for path in paths:
        assert detect_format(path) == FORMAT_OF_FOLDER[folder]
        trace = load_trace(path)
        assert not trace.synthetic
        assert 0.3e6 < trace.mean_bps < 1e9
        assert 60 < trace.duration_s < 1300
        same = load_trace(path, format=FORMAT_OF_FOLDER[folder])
        assert same.mean_bps == trace.mean_bps


def test_no_folder_is_left_out(data_dir: Path) -> None:
    assert {path.name for path in (data_dir / "traces").iterdir()} == set(FORMAT_OF_FOLDER)


def test_mahimahi_files_keep_every_opportunity(data_dir: Path) -> None:
    for path in (data_dir / "traces" / "mahimahi").iterdir():
        stamps_ms = np.loadtxt(path, dtype=np.int64)
        trace = load_trace(path)
        assert isinstance(trace, OpportunityTrace)
        assert np.array_equal(trace.times_ms, stamps_ms)
        assert trace.period_ms == stamps_ms[-1]


def test_a_timestamp_0_is_legal(data_dir: Path) -> None:
    trace = load_trace(data_dir / "traces" / "mahimahi" / "ATT-LTE-driving-2016.up")
    assert isinstance(trace, OpportunityTrace)
    assert trace.times_ms[0] == 0


def test_ghent_logs_keep_every_byte(data_dir: Path) -> None:
    for path in (data_dir / "traces" / "ghent4g").iterdir():
        columns = np.loadtxt(path)
        trace = load_trace(path)
        assert trace.bytes_per_period == pytest.approx(columns[:, 4].sum(), rel=1e-12)
        assert trace.duration_s == pytest.approx(columns[-1, 1] / 1000, abs=1e-6)


def test_fcc_files_that_start_late_start_at_zero(data_dir: Path) -> None:
    trace = load_trace(data_dir / "traces" / "fcc_cooked" / "trace_797466_http---www.amazon_part1.log")
    assert isinstance(trace, RateTrace)
    assert (trace.times_s[0], trace.duration_s) == (0.0, 180.0)
    assert trace.rates_bps[0] == pytest.approx(462_624)


def test_a_doubled_second_of_lumos5g_counts_once(data_dir: Path) -> None:
    trace = load_trace(data_dir / "traces" / "lumos5g" / "4g_trace_walking_50007_c.txt")
    assert isinstance(trace, RateTrace)
    assert (trace.times_s.size, trace.duration_s) == (799, 800.0)


def test_sigcomm21_directions_differ(data_dir: Path) -> None:
    path = data_dir / "traces" / "sigcomm21_uplink" / "mi_0120_ul_udp_150_2.csv"
    assert load_trace(path).mean_bps > 10 * load_trace(path, direction="downlink").mean_bps


@pytest.mark.parametrize("mean_bps", [130e6, 56e6, 25e6])
def test_the_papers_levels_are_obtainable_over_any_trace(data_dir: Path, mean_bps: float) -> None:
    for path in (
        data_dir / "traces" / "mahimahi" / "TMobile-UMTS-driving.up",
        data_dir / "traces" / "wifi_solis" / "wifi_office_231114-151821.txt",
    ):
        original, scaled = load_trace(path), load_trace(path, mean_bps=mean_bps)
        assert scaled.mean_bps == pytest.approx(mean_bps, rel=1e-6)
        ratio = mean_bps / original.mean_bps
        before, after = (binned_rates_bps(trace, 1.0) for trace in (original, scaled))
        assert np.allclose(after, ratio * before, atol=12000)


def test_recorded_hashes_are_those_of_the_files(data_dir: Path) -> None:
    import hashlib

    folder = data_dir / "traces" / "mahimahi"
    recorded = {file.file: file.sha256 for file in read_registry()["mahimahi"].files}
    for path in folder.iterdir():
        assert recorded[path.name] == hashlib.sha256(path.read_bytes()).hexdigest()
