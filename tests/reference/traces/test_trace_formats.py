"""Each file format on a few lines, and files that come back as they were written."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from tests.strategies.traces import opportunity_traces, rate_traces
from traces import load_trace
from traces.bandwidth.conversion import save_trace
from traces.bandwidth.formats.falcon import check_transport_blocks
from traces.bandwidth.formats.madrid import Madrid
from traces.bandwidth.formats.transport_block import transport_block_bits
from traces.bandwidth.loading import FORMATS, detect_format
from traces.bandwidth.trace import OpportunityTrace, RateTrace

writes_files = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)


def _file(tmp_path: Path, text: str, name: str = "trace.txt") -> Path:
    path = tmp_path / name
    path.write_text(text)
    return path


def _rates(path: Path, **options: str) -> RateTrace:
    trace = load_trace(path, **options)  # type: ignore[arg-type]
    assert isinstance(trace, RateTrace)
    return trace


def test_mahimahi_loops_at_its_last_timestamp(tmp_path: Path) -> None:
    trace = load_trace(_file(tmp_path, "0\n3\n3\n7\n"))
    assert isinstance(trace, OpportunityTrace)
    assert (trace.times_ms.tolist(), trace.period_ms, trace.packet_bytes) == ([0, 3, 3, 7], 7, 1500)


@pytest.mark.parametrize("separator", ["\t", " ", "   "])
def test_cooked_holds_each_rate_to_the_next_row_and_the_last_for_the_median_step(
    tmp_path: Path, separator: str
) -> None:
    rows = [("180.0", "2.5"), ("185.0", "0"), ("190.0", "1"), ("191.0", "4")]
    trace = _rates(_file(tmp_path, "".join(f"{t}{separator}{r}\n" for t, r in rows)))
    assert trace.times_s.tolist() == [0, 5, 10, 11]
    assert trace.rates_bps.tolist() == [2.5e6, 0, 1e6, 4e6]
    assert trace.period_s == 16


def test_of_cooked_rows_with_one_time_the_last_counts(tmp_path: Path) -> None:
    trace = _rates(_file(tmp_path, "0 1\n1 2\n1 3\n2 4\n"))
    assert (trace.times_s.tolist(), trace.rates_bps.tolist()) == ([0, 1, 2], [1e6, 3e6, 4e6])


def test_ghent_rows_tell_of_the_interval_before_them(tmp_path: Path) -> None:
    rows = "1452002003586 840 51.0 3.7 105000 840\n1452002004586 1840 51.0 3.7 0 1000\n"
    trace = _rates(_file(tmp_path, rows))
    assert trace.times_s.tolist() == [0, 0.84]
    assert trace.rates_bps.tolist() == [1e6, 0]
    assert trace.period_s == 1.84


def test_the_norwegian_logs_have_the_same_columns(tmp_path: Path) -> None:
    rows = "1289406399 549692 59.85 10.78 126000 1008\n1289406400 550772 59.85 10.78 135000 1080\n"
    path = _file(tmp_path, rows)
    assert detect_format(path) == "ghent"
    assert _rates(path).rates_bps.tolist() == [1e6, 1e6]


def test_sigcomm21_gives_the_uplink_unless_asked(tmp_path: Path) -> None:
    path = _file(tmp_path, "5.0,CONNECTED,-91,-99,-7,1.5,30,1,2,3\n6.0,CONNECTED,-91,-99,-7,2.5,40,1,2,3\n")
    assert detect_format(path) == "sigcomm21"
    assert _rates(path).rates_bps.tolist() == [30e6, 40e6]
    assert _rates(path, direction="downlink").rates_bps.tolist() == [1.5e6, 2.5e6]


@pytest.mark.parametrize(
    ("header", "row", "expected_bps"),
    [
        ("time_s,rate_bps", "{t},5e6", 5e6),
        ("time_s,rate_mbps", "{t},5", 5e6),
        ("t_s;uplink_kbps", "{t};5000", 5e6),
        ("Timestamp [s]\tThroughput (Mbit/s)", "{t}\t5", 5e6),
        ("time_s,bytes_per_s", "{t},1000", 8e3),
        ("id,time_s,rate_gbps", "7,{t},0.005", 5e6),
        ("downlink_mbps,time_s,uplink_mbps", "9,{t},5", 5e6),
    ],
)
def test_csv_takes_its_units_from_the_header(
    tmp_path: Path, header: str, row: str, expected_bps: float
) -> None:
    rows = "".join(row.format(t=t) + "\n" for t in (10, 12, 14))
    trace = _rates(_file(tmp_path, f"# a comment\n{header}\n{rows}"))
    assert (trace.times_s.tolist(), trace.period_s) == ([0, 2, 4], 6)
    assert trace.rates_bps.tolist() == pytest.approx([expected_bps] * 3)


def test_csv_in_milliseconds_with_a_chosen_column(tmp_path: Path) -> None:
    path = _file(tmp_path, "time_ms,lte_mbps,nr_mbps\n0,1,10\n500,2,20\n")
    trace = _rates(path, column="nr_mbps")
    assert (trace.times_s.tolist(), trace.rates_bps.tolist()) == ([0, 0.5], [10e6, 20e6])


def _falcon_row(time_s: float, direction: int, mcs: int, prb: int, bits: int) -> str:
    cells = [f"{time_s:.6f}", 1, 2, 300, direction, mcs, prb, bits, bits, 0, 1, 0, 0, 3, 1, 1, 1, 5, 44, "0a"]
    return "\t".join(map(str, cells)) + "\n"


def test_falcon_counts_new_bits_of_one_direction(tmp_path: Path) -> None:
    rows = (
        _falcon_row(100.000, 0, 20, 50, 20616)  # one packet (12000 bits), 8616 carried over
        + _falcon_row(100.001, 1, 28, 100, 75376)  # downlink: not ours
        + _falcon_row(100.002, 0, 30, 50, 20616)  # retransmission: no new bits
        + _falcon_row(100.005, 0, 20, 50, 20616)  # 29232 bits waiting: two packets
    )
    path = _file(tmp_path, rows)
    trace = load_trace(path)
    assert isinstance(trace, OpportunityTrace)
    assert (trace.times_ms.tolist(), trace.period_ms) == ([0, 5, 5], 6)
    assert load_trace(path, direction="downlink").bytes_per_period == 6 * 1500


def test_a_falcon_log_checks_the_block_size_rule(tmp_path: Path) -> None:
    rows = _falcon_row(1.0, 0, 20, 50, 20616) + _falcon_row(1.001, 0, 20, 50, 20000)
    check = check_transport_blocks(_file(tmp_path, rows))
    rule_bits = int(transport_block_bits(20, 50))
    assert (check.rows, check.worst_error) == (
        2,
        pytest.approx(max(rule_bits / 20616, rule_bits / 20000) - 1),
    )


def test_madrid_bits_follow_from_scheme_and_width(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    pq = pytest.importorskip("pyarrow.parquet")
    nan = float("nan")
    table = pa.table(
        {
            "timestamp": [1.6e9 + 0.000, 1.6e9 + 0.001, 1.6e9 + 0.002, 1.6e9 + 0.003, 1.6e9 + 0.010],
            "sfn": [0, 0, 0, 0, 1],
            "direction": [0.0, 1.0, nan, 0.0, 0.0],
            "mcs_idx": [28.0, 28.0, nan, 31.0, 28.0],
            "nof_prb": [50.0, 50.0, nan, 50.0, 50.0],
        }
    )
    path = tmp_path / "I-796-raw-df-ms.parquet"
    pq.write_table(table, path)
    trace = load_trace(path)
    assert isinstance(trace, OpportunityTrace)
    # 36696 bits each: 3 packets and 696 bits, then 3 more; the retransmission and the NaN row add none.
    assert (trace.times_ms.tolist(), trace.period_ms) == ([0, 0, 0, 10, 10, 10], 11)
    assert detect_format(path) == "madrid"
    assert Madrid(Madrid.Options()).read(path, "downlink").times_ms.tolist() == [0, 0, 0]


@writes_files
@given(opportunity_traces())
def test_csv_gives_opportunities_back(tmp_path: Path, trace: OpportunityTrace) -> None:
    save_trace(replace(trace, packet_bytes=1200), tmp_path / "t.csv")
    back = load_trace(tmp_path / "t.csv")
    assert isinstance(back, OpportunityTrace)
    assert (back.period_ms, back.packet_bytes, back.name) == (trace.period_ms, 1200, trace.name)
    assert np.array_equal(back.times_ms, trace.times_ms)


@writes_files
@given(opportunity_traces())
def test_mahimahi_gives_the_loop_back(tmp_path: Path, trace: OpportunityTrace) -> None:
    notes = save_trace(trace, tmp_path / "t.mahimahi")
    back = load_trace(tmp_path / "t.mahimahi")
    assert isinstance(back, OpportunityTrace)
    silence_ms = trace.period_ms - int(trace.times_ms[-1])
    assert back.period_ms == trace.period_ms
    assert np.array_equal(back.times_ms, trace.times_ms + silence_ms)
    assert bool(notes) == bool(silence_ms)


@writes_files
@given(rate_traces())
def test_csv_gives_rates_back_to_the_last_bit(tmp_path: Path, trace: RateTrace) -> None:
    save_trace(trace, tmp_path / "t.csv")
    back = _rates(tmp_path / "t.csv")
    assert np.array_equal(back.times_s, trace.times_s)
    assert np.array_equal(back.rates_bps, trace.rates_bps)
    assert back.period_s == trace.period_s


@writes_files
@given(rate_traces())
def test_cooked_gives_all_but_the_last_length_back_and_says_so(tmp_path: Path, trace: RateTrace) -> None:
    if trace.times_s.size < 2:
        return
    notes = save_trace(trace, tmp_path / "t.cooked")
    back = _rates(tmp_path / "t.cooked")
    assert np.array_equal(back.times_s, trace.times_s)
    assert np.allclose(back.rates_bps, trace.rates_bps, rtol=1e-12)
    assert bool(notes) or back.period_s == pytest.approx(trace.period_s, abs=2e-6)


def test_a_synthetic_trace_stays_labelled_through_files(tmp_path: Path) -> None:
    trace = OpportunityTrace(name="a synthetic one", times_ms=np.array([1]), period_ms=5, synthetic=True)
    for name in ("plain.csv", "synthetic.mahimahi"):
        save_trace(trace, tmp_path / name)
        back = load_trace(tmp_path / name)
        assert back.synthetic
        assert "synthetic" in back.name


def test_options_apply_in_the_order_slice_offset_loop_scale(tmp_path: Path) -> None:
    path = _file(tmp_path, "\n".join(map(str, range(1, 101))))
    trace = load_trace(path, start_s=0.05, end_s=0.1, offset_s=0.01, loop_to_s=0.2, mean_bps=6e6)
    assert (trace.duration_s, trace.mean_bps) == (0.2, 6e6)


def test_every_format_can_be_named() -> None:
    assert set(FORMATS) == {
        *("mahimahi", "cooked", "ghent", "falcon", "sigcomm21", "csv", "madrid"),
        *("parquet", "ucc"),
    }
