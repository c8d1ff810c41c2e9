"""Bad trace files and options: one line that names file and line, what was expected, what was found."""

from __future__ import annotations

import gzip
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from traces import load_trace
from traces.bandwidth.conversion import save_trace
from traces.bandwidth.statistics import statistics
from traces.bandwidth.trace import OpportunityTrace, RateTrace
from traces.errors import InputError


def _refused(path: Path, **options: object) -> str:
    with pytest.raises(InputError) as caught:
        load_trace(path, **options)  # type: ignore[arg-type]
    message = str(caught.value)
    assert "\n" not in message
    assert str(path) in message or "must be" in message
    return message


def _write(tmp_path: Path, content: str | bytes, name: str = "trace.txt") -> Path:
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


MAHIMAHI = "".join(f"{t}\n" for t in range(1, 50))
COOKED = "".join(f"{t}.0\t{1 + t % 3}.5\n" for t in range(50))
GHENT = "".join(f"{1452002003586 + 1000 * t} {840 + 1000 * t} 51.0 3.7 1000 1000\n" for t in range(50))
SIGCOMM = "".join(f"{t}.0,CONNECTED,-91,-99,-7,1.0,{t % 5}.0\n" for t in range(50))
CSV = "time_s,rate_mbps\n" + "".join(f"{t},5\n" for t in range(50))
FALCON_ROW = "\t".join(
    ["{t:.6f}", "1", "2", "300", "0", "{mcs}", "{prb}", "20616", "20616", "0"] + ["1"] * 9 + ["0a"]
)
FALCON = "".join(FALCON_ROW.format(t=100 + t / 1000, mcs=20, prb=50) + "\n" for t in range(50))


def _replace_line(text: str, line: int, new: str) -> str:
    lines = text.splitlines(keepends=True)
    lines[line - 1] = new + "\n"
    return "".join(lines)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "found an empty file"),
        ("  \n\n", "found an empty file"),
        ("# only\n# comments\n", "found only comments"),
        (b"\x00\x01\x02binary", "expected a text file, found binary data"),
        (b"1 2\n3 \xff\xfe\n", "line 2: expected UTF-8 text, found binary data"),
        ("hello world\n", "line 1: expected one of the formats csv, mahimahi, .*found 'hello world'$"),
        ("1.5\n2.5\n3.5\n", "found '1.5' .mahimahi times are whole milliseconds"),
        ("1,2\n2,3\n", "found '1,2' .a csv needs a header that names its units"),
        ("5 2.0\n", "line 1: expected at least two rows, found one"),
        ("time_ms,packets\n0,1\n1,999999999999\n", "expected at most 1e.08 packets, found 1e.12"),
        (f"time_ms,packets\n0,1\n1,{'9' * 30}\n", "line 3: expected a whole number of packets"),
        ("time_ms,packets\n0,1\n1e30,1\n", "line 3: expected whole milliseconds >= 0 and at most 1e.15"),
        (f"# packet_bytes: {'9' * 5000}\ntime_ms,packets\n0,1\n5,1\n", "packet_bytes as a whole number"),
        (f"time_s,rate_mbps\n0,{'5' * 200_000}\n1,2\n", "line 2: expected 2 cells, found 1"),
        ("time_s;rate_mbps\n0,0;5,5\n1,0;6,5\n", "line 2: .* found '0,0' .decimals take a point"),
    ],
)
def test_files_that_are_no_trace(tmp_path: Path, content: str | bytes, message: str) -> None:
    assert re.search(message, _refused(_write(tmp_path, content)))


def test_a_missing_file_and_a_folder(tmp_path: Path) -> None:
    assert "expected a trace file, found that there is none" in _refused(tmp_path / "nothing.txt")
    assert "found that it is a folder" in _refused(tmp_path)


@pytest.mark.parametrize(
    ("text", "line", "new", "message"),
    [
        (MAHIMAHI, 20, "5", "line 20: expected milliseconds that do not go back, found 5 after 19"),
        (MAHIMAHI, 20, "-3", "line 20: expected one whole number a line, the millisecond .* found '-3'"),
        (MAHIMAHI, 20, "20.5", "line 20: expected one whole number a line, the millisecond .* found '20.5'"),
        (MAHIMAHI, 20, "9" * 30, "line 20: expected one whole number a line, .* found '9{30}'"),
        (COOKED, 7, "6.0\t-2", "line 7: expected a rate in Mbit/s >= 0, found -2"),
        (COOKED, 7, "6.0\tnan", "line 7: expected a rate in Mbit/s, finite, found 'nan'"),
        (COOKED, 7, "inf\t1", "line 7: expected a time in seconds, finite, found 'inf'"),
        (COOKED, 7, "6.0\tfast", "line 7: expected a rate in Mbit/s, found 'fast'"),
        (COOKED, 7, "6.0", "line 7: expected two numbers a line, .* found '6.0'"),
        (COOKED, 7, "2.5\t1", "line 7: expected times that do not go back, found 2.5 s after 5.0 s"),
        (GHENT, 9, "1452002011586 840 51.0 3.7 1000 1000", "line 9: .* found 840 ms after 7840 ms"),
        (GHENT, 9, "1452002011586 8840 51.0 3.7 -5 1000", "line 9: expected bytes since .* >= 0, found -5"),
        (GHENT, 9, "1452002011586 8840 51.0 3.7 1000 0", "line 9: expected an interval > 0 ms, found 0"),
        (GHENT, 9, "1452002011586 8840 51.0", "line 9: expected rows of six numbers"),
        (SIGCOMM, 4, "3.0,CONNECTED,-91,-99,-7,1.0,-4", "line 4: expected uplink in Mbit/s >= 0, found -4"),
        (SIGCOMM, 4, "1.0,CONNECTED,-91,-99,-7,1.0,4", "line 4: expected times that do not go back"),
        (SIGCOMM, 4, "3.0,CONNECTED", "line 4: expected comma-separated rows of time"),
        (CSV, 5, "3,-5", "line 5: expected rate_mbps >= 0, found -5"),
        (CSV, 5, "3,x", "line 5: expected rate_mbps, found 'x'"),
        (CSV, 5, "0.5,5", "line 5: expected times that do not go back, found 0.5 time_s after 2 time_s"),
        (CSV, 5, "3", "line 5: expected 2 cells, found 1"),
        (FALCON, 6, FALCON_ROW.format(t=99.0, mcs=20, prb=50), "line 6: expected times that do not go back"),
        (FALCON, 6, FALCON_ROW.format(t=100.005, mcs=40, prb=50), "line 6: expected mcs_idx .* found '40'"),
        (FALCON, 6, FALCON_ROW.format(t=100.005, mcs=20, prb=150), r"line 6: expected nof_prb in \[0, 110\]"),
        (FALCON, 6, "100.005\t1\t2", "line 6: expected tab-separated rows of timestamp"),
    ],
)  # fmt: skip
def test_one_bad_row_is_named_by_its_line(
    tmp_path: Path, text: str, line: int, new: str, message: str
) -> None:
    assert re.search(message, _refused(_write(tmp_path, _replace_line(text, line, new))))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("0\n0\n", "expected a last timestamp > 0 ms"),
        ("0 0\n1 0\n2 0\n", "expected at least one rate > 0, found only 0"),
        ("1 5\n1 6\n", "expected times that advance"),
        ("1 0 51 3 0 1000\n2 1000 51 3 0 1000\n", "expected at least one row with bytes > 0"),
        ("time_ms,packets\n5,0\n", "expected at least one packet"),
        ("time_ms,packets\n5,x\n", "line 2: expected a whole number of packets"),
        ("time_ms,packets\n5.5,1\n", "line 2: expected whole milliseconds >= 0, found 5.5 ms"),
        ("time_ms,packets\n5,1\n4,1\n", "line 3: expected times that do not go back, found 4 ms after 5 ms"),
        ("time,bandwidth\n0,1\n1,2\n", "line 1: expected a time column that ends in its unit"),
        ("time_s,bandwidth\n0,1\n1,2\n", "line 1: expected a rate column that ends in its unit"),
        ("time_s,rate_MB/s\n0,1\n1,2\n", "line 1: expected a rate column that ends in its unit"),
        ("time_s,a_mbps,b_mbps\n0,1,1\n1,2,2\n", "one rate column, found a_mbps, b_mbps; choose with"),
    ],
)  # fmt: skip
def test_files_without_capacity_or_units(tmp_path: Path, content: str, message: str) -> None:
    assert re.search(message, _refused(_write(tmp_path, content)))


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        ("rtt_ms,rate_mbps\n1,5\n2,6\n", {}, "line 1: expected a time column that ends in its unit"),
        ("duration_s,rate_mbps\n1,5\n2,6\n", {}, "line 1: expected a time column"),
        ("Speed (m/s),rate_mbps\n1,5\n2,6\n", {}, "line 1: expected a time column"),
        ("rate_min,rate_mbps\n1,5\n2,6\n", {}, "line 1: expected a time column"),
        ("sent_time_s,got_time_s,rate_mbps\n1,2,5\n2,3,6\n", {}, "one time column, found sent_time_s, got"),
        ("timestamp,buffer_s,rate_mbps\n1,2,5\n2,3,6\n", {}, "expected the unit of 'timestamp' in its name"),
        ("time,bandwidth\n0,1\n1,2\n", {"time_unit": "s"}, "expected a rate column that ends in its unit"),
        ("time,bandwidth\n0,1\n1,2\n", {"rate_unit": "mbps"}, "expected a time column that ends in its unit"),
        ("time,a,b\n0,1,1\n1,2,2\n", {"time_unit": "s", "rate_unit": "mbps"}, "expected a rate column"),
        ("time,rate,bw\n0,1,1\n1,2,2\n", {"time_unit": "s", "rate_unit": "mbps"}, "one rate column, found r"),
        ("time_s,rate_mbps\n0,1\n1,2\n", {"time_column": "t"}, "line 1: expected a column 't', found"),
        ("when,rate_mbps\n0,1\n1,2\n", {"time_column": "when"}, "expected the unit of 'when' in its name or"),
        ("time_s,rate_mbps\n0,1\n1,2\n", {"time_unit": "fortnight"}, "time_unit: expected one of ns,"),
        ("time_s,rate_mbps\n0,1\n1,2\n", {"rate_unit": "kB/s"}, "rate_unit: expected one of bps, .* 'kB"),
        (MAHIMAHI, {"rate_unit": "kbps"}, "expected a format that takes rate_unit .csv, cooked, par"),
        (COOKED, {"time_column": "a"}, "expected a format that takes time_column .csv, par"),
        ("time_s,down_mbps,up_kBps\n0,1,1\n1,2,2\n", {}, "expected the unit of 'up_kBps' in its"),
        ("time,rate_mbps\n2024-01-16T10:00:00,1\n5,2\n", {}, "line 3: expected time as a date .* found '5'"),
        ("time,rate_mbps\n2024-02-30T10:00,1\n2024-03-01T10:00,2\n", {}, "line 2: .* .day is out of range"),
        (
            "time,rate_mbps\n2024-01-16T10:00,1\n2024-01-16T10:00:01Z,2\n",
            {},
            "line 3: expected a time zone in every row or in none",
        ),
        (
            "time,rate_mbps\n2024-01-16T10:00,1\n2024-01-16T09:59,2\n",
            {},
            "line 3: expected times that do not go back, found 2024-01-16T09:59 time after 2024-01-16T10:00",
        ),
        ("time_s,rate_mbps\n0,1\n1,2,3\n", {}, "line 3: expected 2 cells, found 3"),
        ("1600000000\n1600000001\n", {}, "line 1: expected milliseconds .* found 1600000000 .Unix seconds."),
        ("90000000\n90000010\n", {}, "line 1: expected milliseconds .* leave .* first 25 hours"),
        ("time_ms,packets\n523456789,1\n523456799,1\n", {}, "line 2: expected milliseconds .* 145 hours"),
        ("# c\n20000000000000\n20000000000001\n", {}, "line 2: expected milliseconds from"),
        ("time_ms,packets\n1600000000,1\n1600000009,1\n", {}, "line 2: expected milliseconds from"),
        ("1600000000000\n1600000000000\n", {}, "expected a last timestamp > 0 ms"),
        ("1600000000000 5\n1600000001000 6\n", {}, "line 1: expected times in seconds, found 16"),
        ("time_s,rate_mbps\n1600000000000,5\n1600000001000,6\n", {}, "line 2: expected times in seconds"),
    ],
)  # fmt: skip
def test_tables_that_leave_open_what_they_mean(
    tmp_path: Path, content: str, options: dict[str, str], message: str
) -> None:
    with pytest.raises(InputError, match=message) as caught:
        load_trace(_write(tmp_path, content), **options)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


UCC = "Timestamp,NetworkMode,DL_bitrate,UL_bitrate\n" + "".join(
    f"2020.01.16_09.56.{second:02d},5G,100,10\n" for second in range(20)
)


@pytest.mark.parametrize(
    ("line", "new", "message"),
    [
        (5, "2020.01.16 09:56:03,5G,1,1", "line 5: expected a stamp such as 2020.01.16_09.56.56, found"),
        (5, "2020.13.16_09.56.03,5G,1,1", "line 5: expected a stamp .*month"),
        (5, "2020.01.16_09.56.01,5G,1,1", "line 5: expected times that do not go back, found 2020"),
        (5, "2020.01.16_09.56.03,5G,1,-4", "line 5: expected UL_bitrate in kbit/s >= 0, found -4"),
        (5, "2020.01.16_09.56.03,5G,1", "line 5: expected 4 cells, found 3"),
    ],
)  # fmt: skip
def test_ucc_rows_that_cannot_be_used(tmp_path: Path, line: int, new: str, message: str) -> None:
    assert re.search(message, _refused(_write(tmp_path, _replace_line(UCC, line, new))))
    assert "found 'CQI' to use" in _refused(_write(tmp_path, UCC), column="CQI")


@pytest.mark.parametrize("line", [2, 3, 4])
@pytest.mark.parametrize(
    "text",
    [
        "# a comment\n1\n\n2\n",
        "# a comment\n1 2\n2 3\n3 4\n",
        "time_s,rate_mbps\n1,2\n2,3\n3,4\n",
        "time_ms,packets\n1,2\n2,3\n3,4\n",
        "# a comment\n1452002003586 840 51.0 3.7 10 9\n" + 2 * "1452002004586 1840 51.0 3.7 10 9\n",
        "# a comment\n5.0,CONNECTED,-9,-9,-7,1.5,30\n" + 2 * "6.0,CONNECTED,-9,-9,-7,2.5,40\n",
        "# a comment\n" + "".join(FALCON_ROW.format(t=t, mcs=20, prb=50) + "\n" for t in (1, 2, 3)),
        "".join(UCC.splitlines(keepends=True)[:4]),
    ],
)
def test_a_mistake_in_a_short_file_is_named_by_its_own_line(tmp_path: Path, text: str, line: int) -> None:
    assert f", line {line}: expected " in _refused(_write(tmp_path, _replace_line(text, line, "x")))


def test_the_end_of_a_csv_is_named_by_its_own_line(tmp_path: Path) -> None:
    path = _write(tmp_path, "time_s,rate_mbps\n0,5\n1,6\n\n# the end\n0.5,\n")
    assert "line 6: expected times that do not go back, found 0.5 time_s after 1 time_s" in _refused(path)


def test_packed_files_that_are_damaged(tmp_path: Path) -> None:
    whole = gzip.compress(COOKED.encode())
    cut = _write(tmp_path, whole[:-20], "cut.gz")
    assert re.search("expected a whole gzip file, found a damaged one", _refused(cut))
    assert "found an empty file" in _refused(_write(tmp_path, gzip.compress(b""), "empty.gz"))


def test_mixed_up_families_say_what_the_file_looks_like(tmp_path: Path) -> None:
    mahimahi, cooked = _write(tmp_path, MAHIMAHI, "m"), _write(tmp_path, COOKED, "c")
    assert _refused(mahimahi, format="cooked") == (
        f"{mahimahi}, line 1: expected the cooked format (two numbers a line, time in seconds and rate in "
        "Mbit/s), found '1', which looks like the mahimahi format (one whole number a line, the millisecond "
        "at which one 1500-byte packet may leave)"
    )
    assert _refused(cooked, format="mahimahi") == (
        f"{cooked}, line 1: expected the mahimahi format (one whole number a line, the millisecond at which "
        "one 1500-byte packet may leave), found '0.0\\t1.5', which looks like the cooked format (two numbers "
        "a line, time in seconds and rate in Mbit/s)"
    )
    assert "expected a rate column" in _refused(_write(tmp_path, "a,b_s\n1,2\n", "x.csv"), format="csv")


def test_unknown_options(tmp_path: Path) -> None:
    path = _write(tmp_path, COOKED)
    assert "format must be in ('csv', 'mahimahi', 'cooked'" in _refused(path, format="pcap")
    assert "direction must be in ('uplink', 'downlink') (got 'sideways')" in _refused(
        path, direction="sideways"
    )
    assert "expected a column 'z'" in _refused(_write(tmp_path, CSV, "t.csv"), column="z")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"start_s": -1.0}, "a slice must satisfy 0 <= start < end <= 50 s"),
        ({"start_s": 10.0, "end_s": 5.0}, "a slice must satisfy"),
        ({"end_s": 51.0}, r"\(got 0 to 51 s\)"),
        ({"loop_to_s": 0.0}, "the duration must be finite and > 0 s"),
        ({"offset_s": float("inf")}, "offset_s must be finite"),
        ({"loop_to_s": 1e12}, "a length of 1e.12 s needs 1e.12 opportunities or segments in a period"),
        ({"mean_bps": 0.0}, "the mean must be a finite rate > 0 bit/s"),
        ({"mean_bps": float("nan")}, r"\(got nan\)"),
    ],
)
def test_options_out_of_range(tmp_path: Path, options: dict[str, float], message: str) -> None:
    assert re.search(message, _refused(_write(tmp_path, COOKED), **options))


def test_a_unit_slipped_by_a_million_is_refused_before_the_memory_runs_out(tmp_path: Path) -> None:
    path = _write(tmp_path, MAHIMAHI)
    assert "a mean of 5.6e+13 bit/s needs 2.29e+08 opportunities" in _refused(path, mean_bps=56e12)


def test_slices_without_capacity(tmp_path: Path) -> None:
    silent = _write(tmp_path, "0 1\n1 0\n2 0\n3 1\n")
    assert "every rate between 1 s and 3 s is 0 bit/s" in _refused(silent, start_s=1.0, end_s=3.0)
    sparse = _write(tmp_path, "1\n500\n1000\n")
    assert "no delivery opportunity between 0.1 s and 0.2 s" in _refused(sparse, start_s=0.1, end_s=0.2)


def _parquet(tmp_path: Path, **columns: list[float]) -> Path:
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    full = {
        "timestamp": [1.6e9, 1.6e9 + 0.001],
        "direction": [0, 0],
        "mcs_idx": [28, 28],
        "nof_prb": [50, 50],
    }
    table = {name: values for name, values in (full | columns).items() if values}
    path = tmp_path / "cell.parquet"
    pq.write_table(pa.table(table), path)
    return path


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"direction": [1, 1]}, r"expected uplink rows \(direction = 0\), found none \(2 rows of the other"),
        ({"direction": [float("nan")] * 2}, "0 rows of the other direction, 2 with NaN"),
        ({"nof_prb": []}, "expected the columns timestamp, direction, mcs_idx, nof_prb, found no nof_prb"),
        ({"mcs_idx": [28, 32]}, r"row .from 0. 1: expected mcs_idx as a whole number in \[0, 31\], found 32"),
        (
            {"nof_prb": [50, 111]},
            r"row .from 0. 1: expected nof_prb as a whole number in \[0, 110\], found 111",
        ),
        ({"timestamp": [1.6e9, 1.6e9 - 1]}, "row .from 0. 1: expected times that do not go back"),
        ({"mcs_idx": [29, 31]}, "expected at least one packet of 1500 bytes of new uplink data"),
    ],
)
def test_madrid_recordings_that_cannot_be_used(
    tmp_path: Path, columns: dict[str, list[float]], message: str
) -> None:
    assert re.search(message, _refused(_parquet(tmp_path, **columns)))


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"rate_mbps": [1.0, -5.0]}, "row .from 0. 1: expected rate_mbps >= 0, found -5"),
        ({"rate_mbps": [1.0, None]}, "row .from 0. 1: expected rate_mbps, found none"),
        ({"rate_mbps": [1.0, float("nan")]}, "row .from 0. 1: expected rate_mbps, finite, found nan"),
        ({"rate_mbps": ["1", "2"]}, "expected rate_mbps as numbers, found string"),
        ({"rate": [1, 2]}, "expected a rate column that ends in its unit .* found 'time_s, rate'"),
        ({"time_s": [3, 2], "rate_mbps": [1, 2]}, "row .from 0. 1: .* do not go back, found 2 after 3"),
        ({"time_s": ["2024-01-16T10:00", "x"], "rate_mbps": [1, 2]}, "row .from 0. 1: expected time_s as"),
    ],
)  # fmt: skip
def test_parquet_tables_that_cannot_be_used(
    tmp_path: Path, columns: dict[str, list[Any]], message: str
) -> None:
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "table.parquet"
    pq.write_table(pa.table({"time_s": [0, 1]} | columns), path)
    assert re.search(message, _refused(path))


def test_parquet_files_that_are_none(tmp_path: Path) -> None:
    broken = _write(tmp_path, b"PAR1 and then nothing of the kind", "broken.parquet")
    assert "found one that cannot be read" in _refused(broken)
    assert "found no parquet file" in _refused(_write(tmp_path, "??\n", "text.parquet"), format="madrid")
    assert "which looks like the madrid format" in _refused(_parquet(tmp_path), format="cooked")


def test_single_precision_timestamps_are_too_coarse(tmp_path: Path) -> None:
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    stamps = pa.array(np.array([1.6e9, 1.6e9], np.float32))
    path = tmp_path / "coarse.parquet"
    pq.write_table(
        pa.table({"timestamp": stamps, "direction": [0, 0], "mcs_idx": [28, 28], "nof_prb": [5, 5]}), path
    )
    assert "expected timestamp as float64, found float32" in _refused(path)


@pytest.mark.parametrize(
    ("times_ms", "period_ms", "message"),
    [
        ([], 5, "at least one opportunity"),
        ([3, 2], 5, "must not decrease"),
        ([1.5], 5, "whole milliseconds"),
        ([-1], 5, "must lie within"),
        ([6], 5, r"must lie within \[0, period_ms=5\]"),
        ([0], 0, r"period_ms\(=0\) must be >= 1"),
    ],
)
def test_impossible_opportunities(times_ms: list[float], period_ms: int, message: str) -> None:
    with pytest.raises(InputError, match=message):
        OpportunityTrace(name="t", times_ms=np.array(times_ms), period_ms=period_ms)


@pytest.mark.parametrize(
    ("times_s", "rates_bps", "period_s", "message"),
    [
        ([], [], 1.0, "of one length >= 1"),
        ([0.0, 1.0], [1.0], 2.0, "of one length"),
        ([1.0], [1.0], 2.0, "must start at 0"),
        ([0.0, 0.0], [1.0, 1.0], 2.0, "must increase"),
        ([0.0, 2.0], [1.0, 1.0], 2.0, r"period_s\(=2\) must be > the last time 2 s"),
        ([0.0], [-1.0], 2.0, "must be >= 0"),
        ([0.0], [0.0], 2.0, "every rate is 0 bit/s"),
        ([0.0], [float("inf")], 2.0, "must be finite"),
    ],
)
def test_impossible_rates(
    times_s: list[float], rates_bps: list[float], period_s: float, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        RateTrace(name="t", times_s=np.array(times_s), rates_bps=np.array(rates_bps), period_s=period_s)


def test_files_that_cannot_be_written(tmp_path: Path) -> None:
    trace = OpportunityTrace(name="a synthetic one", times_ms=np.array([1]), period_ms=5, synthetic=True)
    with pytest.raises(InputError, match="expected 'synthetic' in the file's name"):
        save_trace(trace, tmp_path / "uplink.mahimahi")
    with pytest.raises(InputError, match=r"expected a suffix in \.csv"):
        save_trace(trace, tmp_path / "synthetic.dat")
    with pytest.raises(InputError, match="expected a path that can be written"):
        save_trace(trace, tmp_path / "no" / "folder.csv")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("text", [MAHIMAHI, COOKED, GHENT, SIGCOMM, CSV, FALCON])
@pytest.mark.parametrize("ending", ["\r", "\r\n"])
def test_line_endings_of_other_systems_are_read(tmp_path: Path, text: str, ending: str) -> None:
    plain = load_trace(_write(tmp_path, text))
    assert load_trace(_write(tmp_path, text.replace("\n", ending))).mean_bps == plain.mean_bps


def test_the_synthetic_mark_is_read_in_any_case(tmp_path: Path) -> None:
    assert load_trace(_write(tmp_path, "# synthetic: True\n" + CSV)).synthetic


def test_statistics_of_a_trace_that_lasts_for_years_are_refused(tmp_path: Path) -> None:
    trace = load_trace(_write(tmp_path, "1\n999999999999\n"))
    with pytest.raises(InputError, match=r"at most 1e.08 bins of 0.001 s, found 1e.09 s; does a time jump"):
        statistics(trace)
