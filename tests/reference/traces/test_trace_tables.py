"""Tables of times and rates as people have them: their columns, units, clocks and packings."""

from __future__ import annotations

import bz2
import gzip
import lzma
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from traces import load_trace
from traces.bandwidth.formats.delimited import Csv
from traces.bandwidth.loading import detect_format
from traces.bandwidth.trace import OpportunityTrace, RateTrace
from traces.notices import InputWarning


def _file(tmp_path: Path, text: str | bytes, name: str = "trace.csv") -> Path:
    path = tmp_path / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def _rates(path: Path, **options: Any) -> RateTrace:
    trace = load_trace(path, **options)
    assert isinstance(trace, RateTrace)
    return trace


@pytest.mark.parametrize(
    ("header", "expected_bps"),
    [
        ("rate_Bps", 8000),
        ("rate (B/s)", 8000),
        ("rate_B_s", 8000),
        ("Bps", 8000),
        ("rate_bps", 1000),
        ("RATE_BPS", 1000),
        ("rate_kbps", 1e6),
        ("Mbits/sec", 1e9),
        ("Throughput [bytes/s]", 8000),
        ("kilobytes per second", 8e6),
        ("kibibytes_per_s", 8 * 1024 * 1000),
    ],
)
def test_a_capital_b_is_bytes(tmp_path: Path, header: str, expected_bps: float) -> None:
    trace = _rates(_file(tmp_path, f"time_s,{header}\n0,1000\n1,1000\n"))
    assert trace.rates_bps.tolist() == pytest.approx([expected_bps] * 2)


@pytest.mark.parametrize(
    ("header", "row"),
    [
        ("rtt_ms,time_s,rate_mbps", "40,{t},5"),
        ("owd_ms,elapsed_s,rate_mbps", "40,{t},5"),
        ("round_trip_time_ms,timestamp_s,rate_mbps", "40,{t},5"),
        ("rate_min,t_s,rate_mbps", "1,{t},5"),
        ("Speed (m/s),seconds,rate_mbps", "14,{t},5"),
        ("slot_us,unix_time_s,rate_mbps", "9,{t},5"),
        ("start_time_ms,time_s,rate_mbps", "8,{t},5"),
        ("time_s,rate_mbps,buffer_s", "{t},5,30"),
    ],
)
def test_the_column_named_as_time_is_the_axis(tmp_path: Path, header: str, row: str) -> None:
    rows = "".join(row.format(t=t) + "\n" for t in (10, 13, 16))
    trace = _rates(_file(tmp_path, f"{header}\n{rows}"))
    assert (trace.times_s.tolist(), trace.period_s) == ([0, 3, 6], 9)


@pytest.mark.parametrize(
    ("unit", "period_s"), [("s", 3000.0), ("ms", 3.0), ("us", 0.003), ("min", 180_000.0)]
)
def test_a_bare_header_is_usable_with_its_units_named(tmp_path: Path, unit: str, period_s: float) -> None:
    path = _file(tmp_path, "time,bandwidth\n0,5\n1000,6\n2000,7\n")
    trace = _rates(path, time_unit=unit, rate_unit="kbps")
    assert trace.period_s == pytest.approx(period_s)
    assert trace.rates_bps.tolist() == [5e3, 6e3, 7e3]


def test_columns_can_be_named(tmp_path: Path) -> None:
    path = _file(tmp_path, "id,when,x,y\n0,0,5,1\n1,500,6,2\n")
    trace = _rates(path, time_column="when", time_unit="ms", column="y", rate_unit="B/s")
    assert (trace.times_s.tolist(), trace.rates_bps.tolist()) == ([0, 0.5], [8, 16])
    two = _file(tmp_path, "rtt_ms,time_s,rate_mbps\n10,0,5\n20,1,6\n")
    assert _rates(two, time_column="rtt_ms").times_s.tolist() == [0, 0.01]


def test_a_named_unit_stands_above_the_header(tmp_path: Path) -> None:
    path = _file(tmp_path, "time_s,rate_bps\n0,5\n1000,6\n")
    trace = _rates(path, time_unit="ms", rate_unit="mbps")
    assert (trace.times_s.tolist(), trace.rates_bps.tolist()) == ([0, 1], [5e6, 6e6])


def test_the_options_of_a_format_name_columns_too(tmp_path: Path) -> None:
    path = _file(tmp_path, "time,bandwidth\n0,5\n1000,6\n")
    named = Csv(Csv.Options(time_unit="ms", rate_unit="kbps"))
    assert _rates(path, format=named).rates_bps.tolist() == [5e3, 6e3]
    assert _rates(path, format=named, rate_unit="mbps").rates_bps.tolist() == [5e6, 6e6]


def test_cooked_files_have_units_too(tmp_path: Path) -> None:
    trace = _rates(
        _file(tmp_path, "1600000000000 500\n1600000001000 700\n"), time_unit="ms", rate_unit="kbps"
    )
    assert (trace.times_s.tolist(), trace.period_s) == ([0, 1], 2)
    assert trace.rates_bps.tolist() == [5e5, 7e5]


@pytest.mark.parametrize(
    "stamps",
    [
        ("2024-01-16T09:56:56Z", "2024-01-16T09:56:56.250Z", "2024-01-16T09:56:57.5Z"),
        ("2024-01-16 09:56:56", "2024-01-16 09:56:56.250000000", "2024-01-16 09:56:57.5"),
        ("2024-02-29 23:59:59.5+01:00", "2024-02-29T23:59:59.75+0100", "2024-02-29 23:00:01Z"),
        ("2024/12/31 23:59", "2024/12/31 23:59:00.25", "2024/12/31 23:59:01.5"),
    ],
)
@pytest.mark.parametrize("header", ["timestamp,rate_mbps", "when,rate_mbps", ",rate_mbps"])
def test_dates_are_times(tmp_path: Path, header: str, stamps: tuple[str, ...]) -> None:
    rows = "".join(f"{stamp},{rate}\n" for stamp, rate in zip(stamps, (5, 6, 7), strict=True))
    trace = _rates(_file(tmp_path, f"{header}\n{rows}"))
    assert trace.times_s.tolist() == [0, 0.25, 1.5]


def test_dates_across_midnight_zones_and_a_csv_of_packets(tmp_path: Path) -> None:
    rows = "2023-12-31 23:59:59.900,1\n2024-01-01 00:00:00.100,2\n"
    trace = load_trace(_file(tmp_path, f"time,packets\n{rows}"))
    assert isinstance(trace, OpportunityTrace)
    assert (trace.times_ms.tolist(), trace.period_ms) == ([0, 200, 200], 200)


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize(
    ("header", "row"),
    [
        ("|time_s|rate_mbps", "7|{t}|5"),  # the index that pandas writes
        ("Unnamed: 0|time_s|rate_mbps", "7|{t}|5"),
        ("time_s|rate_mbps|", "{t}|5|"),
        ("time_s|rate_mbps", "{t}|5|"),
        ("time_s|rate_mbps|", "{t}|5"),
        ("time_s|rate_mbps|||", "{t}|5||"),
    ],
)
def test_an_index_column_and_a_trailing_separator(
    tmp_path: Path, header: str, row: str, separator: str
) -> None:
    text = header + "\n" + "".join(row.format(t=t) + "\n" for t in (0, 2, 4))
    trace = _rates(_file(tmp_path, text.replace("|", separator)))
    assert (trace.times_s.tolist(), trace.rates_bps.tolist()) == ([0, 2, 4], [5e6] * 3)


@pytest.mark.parametrize(
    "header", ["download_mbps,upload_mbps", "DL (Mbit/s),UL (Mbit/s)", "downstream_mbps,upstream_mbps"]
)
def test_the_direction_chooses_a_column(tmp_path: Path, header: str) -> None:
    path = _file(tmp_path, f"time_s,{header}\n0,50,5\n1,60,6\n")
    assert _rates(path).rates_bps.tolist() == [5e6, 6e6]
    assert _rates(path, direction="downlink").rates_bps.tolist() == [50e6, 60e6]


@pytest.mark.parametrize(
    ("header", "direction", "other"),
    [("download_mbps", "uplink", "downlink"), ("UL_kbps", "downlink", "uplink")],
)
def test_the_only_direction_that_there_is_stands_for_the_other_and_that_is_said(
    tmp_path: Path, header: str, direction: str, other: str
) -> None:
    path = _file(tmp_path, f"time_s,{header}\n0,50\n1,60\n")
    with pytest.warns(InputWarning, match=f"rates of the {other} only, {header}: .* for the {direction}'s"):
        _rates(path, direction=direction)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        _rates(path, direction=other)
        _rates(path, direction=direction, column=header)  # named, so meant


def test_rows_with_one_time_count_with_their_mean_and_gaps_hold(tmp_path: Path) -> None:
    path = _file(tmp_path, "time_s,rate_mbps\n0,1\n1,2\n1,4\n1,6\n7,5\n8,6\n")
    trace = _rates(path)
    assert (trace.times_s.tolist(), trace.period_s) == ([0, 1, 7, 8], 9)
    assert trace.rates_bps.tolist() == [1e6, 4e6, 5e6, 6e6]


def test_the_row_that_marks_the_end_is_in_no_mean(tmp_path: Path) -> None:
    trace = _rates(_file(tmp_path, "time_s,rate_mbps\n0,2\n0,4\n1,5\n3,\n"))
    assert (trace.times_s.tolist(), trace.period_s) == ([0, 1], 3)
    assert trace.rates_bps.tolist() == [3e6, 5e6]


@pytest.mark.parametrize(
    ("times_s", "period_s"),
    [
        ((0, 1, 601), 602),  # the median of 1 and 600 is 300.5, a step that the file never shows
        ((0, 600, 601), 602),
        ((0, 1, 601, 602, 1202), 1203),
        ((0, 1, 2, 602), 603),
        ((0, 600), 1200),
        ((0, 1, 2.5), 3.75),  # no gap: the median as it is
    ],
)
def test_a_gap_is_no_usual_step(tmp_path: Path, times_s: tuple[float, ...], period_s: float) -> None:
    text = "".join(f"{time_s} 5\n" for time_s in times_s)
    assert _rates(_file(tmp_path, text)).period_s == period_s


UCC_HEADER = (
    "Timestamp,Longitude,Latitude,Speed,Operatorname,CellID,NetworkMode,RSRP,RSRQ,SNR,CQI,RSSI,"
    "DL_bitrate,UL_bitrate,State,NRxRSRP,NRxRSRQ,ServingCell_Lon,ServingCell_Lat,ServingCell_Distance"
)


def _ucc_row(second: int, downlink: str, uplink: str) -> str:
    return (
        f"2020.01.16_09.56.{second:02d},-8.39,51.89,0,B,11,5G,-95,-13,1.0,9,-,{downlink},{uplink},D,"
        "-,-,-,-,-\n"
    )


def test_the_ucc_recordings_are_read_as_they_are(tmp_path: Path) -> None:
    rows = (
        _ucc_row(50, "-", "-")  # nothing known yet: left out
        + _ucc_row(51, "1000", "10")
        + _ucc_row(52, "2000", "20")
        + _ucc_row(52, "4000", "-")  # one second twice
        + _ucc_row(53, "-", "40")  # missing: the last rate holds
        + _ucc_row(56, "8000", "50")  # two seconds left out
        + _ucc_row(57, "0", "0")
    )
    path = _file(tmp_path, f"{UCC_HEADER}\n{rows}")
    assert detect_format(path) == "ucc"
    down = _rates(path, direction="downlink")
    assert (down.times_s.tolist(), down.period_s) == ([0, 1, 5, 6], 7)
    assert down.rates_bps.tolist() == [1e6, 3e6, 8e6, 0]
    up = _rates(path)
    assert (up.times_s.tolist(), up.rates_bps.tolist()) == ([0, 1, 2, 5, 6], [1e4, 2e4, 4e4, 5e4, 0])
    assert _rates(path, column="DL_bitrate").rates_bps.tolist() == down.rates_bps.tolist()
    assert up.name == "trace.csv uplink"


def test_ucc_stamps_go_on_after_midnight(tmp_path: Path) -> None:
    rows = _ucc_row(59, "1", "1").replace("_09.56", "_23.59") + _ucc_row(1, "2", "2").replace(
        "16_09.56", "17_00.00"
    )
    assert _rates(_file(tmp_path, f"{UCC_HEADER}\n{rows}")).times_s.tolist() == [0, 2]


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress])
@pytest.mark.parametrize("text", ["1\n5\n5\n9\n", "0 1\n1 2\n2 3\n", "time_s,rate_mbps\n0,1\n1,2\n"])
def test_packed_files_are_the_files(tmp_path: Path, text: str, pack: Any) -> None:
    plain, packed = _file(tmp_path, text, "plain"), _file(tmp_path, pack(text.encode()), "packed.gz")
    assert detect_format(packed) == detect_format(plain)
    assert load_trace(packed).mean_bps == load_trace(plain).mean_bps


def _parquet(tmp_path: Path, columns: dict[str, Any], name: str = "trace.parquet") -> Path:
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    pq.write_table(pa.table(columns), tmp_path / name)
    return tmp_path / name


def test_parquet_holds_numbers(tmp_path: Path) -> None:
    path = _parquet(tmp_path, {"rtt_ms": [9, 9, 9], "time_ms": [500, 500, 1000], "rate_Bps": [1.0, 3.0, 5.0]})
    assert detect_format(path) == "parquet"
    trace = _rates(path)
    assert (trace.times_s.tolist(), trace.rates_bps.tolist()) == ([0, 0.5], [16, 40])
    bare = _parquet(tmp_path, {"time": [0, 1], "bandwidth": [5, 6]})
    assert _rates(bare, time_unit="s", rate_unit="mbps").rates_bps.tolist() == [5e6, 6e6]


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("zone", [None, "UTC"])
def test_parquet_holds_timestamps_of_both_directions(tmp_path: Path, unit: str, zone: str | None) -> None:
    pa = pytest.importorskip("pyarrow")
    stamps = pa.array(np.array(["2024-01-16T09:56:56", "2024-01-16T09:56:58"], f"datetime64[{unit}]"))
    columns = {
        "__index_level_0__": stamps.cast(pa.timestamp(unit, tz=zone)),
        "download_mbps": [50, 60],
        "upload_mbps": [5, 6],
    }
    trace = _rates(_parquet(tmp_path, columns))
    assert (trace.times_s.tolist(), trace.rates_bps.tolist()) == ([0, 2], [5e6, 6e6])
    assert _rates(_parquet(tmp_path, columns), direction="downlink").rates_bps.tolist() == [50e6, 60e6]


def test_parquet_holds_dates_as_texts_and_may_be_packed(tmp_path: Path) -> None:
    dates = ["2024-01-16T09:56:56.5Z", "2024-01-16T09:56:57Z"]
    path = _parquet(tmp_path, {"time": dates, "rate_mbps": [5, 6]})
    assert _rates(path).times_s.tolist() == [0, 0.5]
    packed = _file(tmp_path, gzip.compress(path.read_bytes()), "trace.parquet.gz")
    assert _rates(packed).times_s.tolist() == [0, 0.5]


def test_unix_milliseconds_count_from_the_first_opportunity(tmp_path: Path) -> None:
    text = "1600000000000\n1600000000005\n1600000000005\n1600000000010\n"
    trace = load_trace(_file(tmp_path, text))
    assert isinstance(trace, OpportunityTrace)
    assert (trace.times_ms.tolist(), trace.period_ms) == ([0, 5, 5, 10], 10)
    counted = load_trace(
        _file(tmp_path, "time_ms,packets\n1600000000000,1\n1600000000005,2\n1600000000010,1\n")
    )
    assert isinstance(counted, OpportunityTrace)
    assert (counted.times_ms.tolist(), counted.period_ms) == ([0, 5, 5, 10], 10)
