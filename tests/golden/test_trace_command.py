"""`python -m traces` as a user meets it."""

from __future__ import annotations

from pathlib import Path

import pytest

from traces import load_trace
from traces.__main__ import main


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_show_prints_facts_and_draws(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "link.up").write_text("".join(f"{t}\n" for t in range(1, 3001)))
    assert main(["show", "link.up"]) == 0
    out = capsys.readouterr().out
    assert "millisecond opportunities: 3000 packets of 1500 bytes" in out
    assert "3 s, then it loops" in out
    assert "12 Mbit/s" in out
    assert (here / "link.up.png").read_bytes().startswith(b"\x89PNG")


def test_show_says_that_a_trace_is_synthetic(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["generate", "--duration-s", "2", "--mean-mbps", "25", "--seed", "4"]) == 0
    name = "synthetic_uplink_25mbps_2s_seed4.csv"
    assert name in capsys.readouterr().out
    assert main(["show", name, "--no-plot"]) == 0
    assert "[synthetic]" in capsys.readouterr().out
    assert not list(here.glob("*.png"))


def test_convert_says_what_a_format_cannot_hold(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "link.up").write_text("".join(f"{t}\n" for t in range(1, 3001)))
    assert main(["convert", "link.up", "link.cooked", "--bin-s", "0.5"]) == 0
    assert "the millisecond structure is lost: rates in bins of 0.5 s" in capsys.readouterr().out
    assert load_trace(here / "link.cooked").mean_bps == pytest.approx(12e6)
    assert main(["convert", "link.cooked", "again.mahimahi", "--mean-mbps", "24"]) == 0
    assert load_trace(here / "again.mahimahi").mean_bps == pytest.approx(24e6)


def test_bad_input_is_one_line_and_exit_code_2(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "link.txt").write_text("1 2\n2 -3\n")
    assert main(["show", "link.txt"]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == "error: link.txt, line 2: expected a rate in Mbit/s >= 0, found -3\n"
    assert main(["convert", "link.txt", "out.csv"]) == 2
    assert not (here / "out.csv").exists()


def test_show_says_where_a_recording_pauses(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "t.txt").write_text("0 5\n1 6\n2 7\n20 8\n21 9\n")
    assert main(["show", "t.txt", "--no-plot"]) == 0
    out = capsys.readouterr().out
    assert "rate segments: 5, 1 s (median), 18 s (longest)" in out
    assert "the rate before a pause holds through it" in out


def test_show_checks_the_block_sizes_of_a_falcon_log(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    row = "{time_s:.3f}\t1\t2\t300\t0\t22\t50\t22920\t22920\t0\t0\t1\t0\t3\t1\t1\t1\t5\t44\t0a\n"
    (here / "falcon.log").write_text("".join(row.format(time_s=7 + t / 100) for t in range(300)))
    assert main(["show", "falcon.log"]) == 0
    out = capsys.readouterr().out
    assert "the scheduled load of a cell, not the capacity of a link" in out
    assert "computed sizes equal the log's in 100.0% of 300 grants" in out
    assert (here / "falcon.log.png").is_file()
