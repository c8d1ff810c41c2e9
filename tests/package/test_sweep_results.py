"""What a sweep's table says: every job, every swept key, in its type; shown and merged alike."""

from __future__ import annotations

import contextlib
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from analysis.__main__ import main as analysis
from analysis.results import merge_results, run_rows
from analysis.settings import join_overrides, settings, short, split_overrides, swept_settings
from sim import __main__ as command_line

FAST = ("video=statistical", "frames=3")


def sim(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    monkeypatch.setattr(sys, "argv", ["sim", *arguments])
    with contextlib.suppress(SystemExit):  # where some job has failed
        command_line.main()


@pytest.fixture
def sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    def run(*arguments: str, into: str = "sweep") -> Path:
        sim(monkeypatch, "-m", *FAST, *arguments, f"hydra.sweep.dir={tmp_path / into}")
        return tmp_path / into

    return run


Sweep = Callable[..., Path]


def test_swept_keys_are_columns_of_their_type(sweep: Sweep) -> None:
    folder = sweep("trace=low,high", "link.delay_s=0,0.25", "deterministic=true,false", "in_flight=null,1")
    table = pd.read_parquet(folder / "results.parquet")
    assert len(table) == 16
    assert table["link.delay_s"].dtype == "Float64"
    assert table["link.delay_s"].unique().tolist() == [0.0, 0.25]
    assert table["deterministic"].dtype == "boolean"
    assert table["swept.in_flight"].dtype == "Int64"
    assert table["swept.in_flight"].isna().tolist() == 8 * [True, False]
    assert table["in_flight"].tolist() == 8 * [4, 1]  # what it was, not what was asked for
    assert table["swept.trace"].tolist() == 8 * ["low"] + 8 * ["high"]
    assert table["trace"].unique().tolist() == ["low (synthetic)", "high (synthetic)"]
    text = pd.read_csv(folder / "results.csv")
    assert text["link.delay_s"].tolist() == table["link.delay_s"].tolist()
    assert text["deterministic"].dtype == bool
    assert "frames" not in table  # the same in all


def test_small_numbers_lists_and_texts_keep_what_they_are(sweep: Sweep) -> None:
    folder = sweep("system.patience_s=0.00001,2", "link.outages_s=[],[[1,2]]")
    table = pd.read_parquet(folder / "results.parquet")
    assert table["system.patience_s"].tolist() == 2 * [1e-5, 2.0]
    assert table["link.outages_s"].tolist() == ["[]", "[]", "[[1, 2]]", "[[1, 2]]"]


def test_what_the_summary_has_is_not_there_twice(sweep: Sweep) -> None:
    folder = sweep("system=edge_only,full_offload", "seed=3,4", "fps=30,0")
    table = pd.read_csv(folder / "results.csv")
    assert table["seed"].tolist() == 2 * [3, 3, 4, 4]
    assert not [name for name in table if name in ("swept.seed", "swept.system")]
    assert table["system"].tolist() == 4 * ["edge_only"] + 4 * ["full_offload"]  # failed jobs, too
    assert table["fps"].tolist() == 4 * [30, 0]
    assert table["status"].tolist() == 4 * ["completed", "failed"]
    as_written = pd.read_csv(folder / "results.csv", dtype=str)["frames_captured"]
    assert all(count.isdecimal() for count in as_written.dropna()), "a count stays one beside a failed job"
    assert as_written.isna().tolist() == 4 * [False, True]


def test_an_option_that_not_all_have_is_empty_elsewhere(sweep: Sweep) -> None:
    table = pd.read_csv(sweep("system=edge_only,coach", "system.variant=split,frame") / "results.csv")
    assert table["system.variant"].fillna("-").tolist() == ["-", "split", "frame"]


def test_effective_accuracy_per_captured_frame_is_there(sweep: Sweep) -> None:
    table = pd.read_csv(sweep("system=edge_only,full_offload", "frames=20", "warmup_s=0") / "results.csv")
    expected = table["ea_mean"] * table["frames_completed"] / table["frames_captured"]
    assert table["ea_per_captured"].tolist() == pytest.approx(expected.tolist())
    assert (table["ea_per_captured"] < table["ea_mean"]).all()


def test_start_up_is_left_out_of_effective_accuracy_per_captured_frame_too(sweep: Sweep) -> None:
    """Frames 0 to 4, captured within 0.15 s, do not count; all others do, with or without a result."""
    folder = sweep("system=edge_only,full_offload", "frames=20", "fps=30", "warmup_s=0.15")
    table = pd.read_csv(folder / "results.csv")
    assert table["warmup_s"].tolist() == [0.15, 0.15]
    for _, row in table.iterrows():
        counted = pd.read_parquet(folder / str(row["folder"]) / "frames.parquet").iloc[5:]
        results = counted["ea"][counted["outcome"] == "completed"]
        assert len(results) > 0
        assert row["ea_per_captured"] == pytest.approx(results.sum() / 15)
        assert row["ea_mean"] == pytest.approx(results.mean())


def test_a_job_without_any_result_has_completed(sweep: Sweep, capsys: pytest.CaptureFixture[str]) -> None:
    folder = sweep("system=full_offload", "link.outages_s=[[0,99]]", "seed=0,1")
    assert pd.read_csv(folder / "results.csv")["status"].tolist() == ["completed", "completed"]
    assert "seed=1: EA – (coverage)," in capsys.readouterr().out


# -- show and merge --------------------------------------------------------------------------------


@pytest.fixture
def cut_short(sweep: Sweep) -> Path:
    """A sweep with a finished job, a failed one, one that did not end and one that never began."""
    folder = sweep("fps=30,0,10,15")
    (folder / "2" / "summary.json").unlink()
    shutil.rmtree(folder / "3")
    for name in ("results.csv", "results.parquet", "runs.png"):
        (folder / name).unlink()
    return folder


def test_an_unfinished_sweep_is_shown_and_merged_alike(
    cut_short: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    analysis(["show", str(cut_short)])
    shown = capsys.readouterr().out
    analysis(["merge", str(cut_short)])
    merged = capsys.readouterr().out
    assert merged.splitlines()[: len(shown.splitlines())] == shown.splitlines()
    rows = shown.splitlines()[2:6]
    assert all(f" fps={fps} " in row for fps, row in zip((30, 0, 10, 15), rows, strict=True))
    assert "failed: video=statistical frames=3 fps=0: InputError: fps: expected a frame rate" in shown
    assert "unfinished: 1 of 4 runs: running, or cut short" in shown
    assert "unfinished: 1 of 4 runs: not begun" in shown
    table = pd.read_csv(cut_short / "results.csv")
    assert table["status"].tolist() == ["completed", "failed", "unfinished", "unfinished"]
    assert table["fps"].tolist() == [30, 0, 10, 15]
    assert table["error"].isna().tolist() == [True, False, False, False]


def test_showing_writes_nothing_that_was_not_asked_for(
    cut_short: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (cut_short / "runs.png").write_text("of the sweep")
    before = {path: path.read_bytes() for path in cut_short.rglob("*") if path.is_file()}
    analysis(["show", str(cut_short)])
    analysis(["show", str(cut_short / "0"), "--picture", str(tmp_path / "mine.svg")])
    assert {path: path.read_bytes() for path in cut_short.rglob("*") if path.is_file()} == before
    assert (tmp_path / "mine.svg").read_bytes().startswith(b"<?xml")
    capsys.readouterr()
    for wrong in ("mine.txt", "nowhere/mine.png"):
        with pytest.raises(SystemExit) as ended:
            analysis(["show", str(cut_short), "--picture", str(tmp_path / wrong)])
        assert ended.value.code == 2
        assert len(capsys.readouterr().err.splitlines()) == 1


def test_runs_and_sweeps_are_shown_together_with_what_they_were_given(
    sweep: Sweep, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = sweep("link.delay_s=0,0.1")
    sim(monkeypatch, *FAST, "link.delay_s=0.1", f"hydra.run.dir={tmp_path / 'run'}")
    capsys.readouterr()
    analysis(["show", str(folder), str(tmp_path / "run"), str(folder / "1")])
    rows = capsys.readouterr().out.splitlines()
    assert rows[0].split()[:6] == ["run", "system", "trace", "video", "codec", "swept"]
    jobs, notes = rows[2:5], rows[5:]
    assert [row.split()[0] for row in jobs] == [
        str(folder / "0"),
        str(folder / "1"),
        str(tmp_path / "run"),
    ]
    assert [next(word for word in row.split() if "=" in word) for row in jobs] == [
        *("link.delay_s=0", "link.delay_s=0.1", "link.delay_s=0.1")
    ]
    assert notes
    assert all(note.startswith("no interval for ") for note in notes)  # runs of three frames


def test_a_single_run_is_no_sweep(tmp_path: Path) -> None:
    (tmp_path / "summary.json").write_text(json.dumps({"status": "completed"}))
    with pytest.raises(FileNotFoundError, match="expected the jobs of a sweep, found a single run"):
        merge_results(tmp_path)
    with pytest.raises(FileNotFoundError, match="expected a run or the jobs of a sweep, found none"):
        run_rows(tmp_path / "nowhere")


# -- overrides as text -----------------------------------------------------------------------------


def test_overrides_with_spaces_and_commas_are_told_apart() -> None:
    overrides = [
        "trace=file",
        "trace.path='/x/a b.csv'",
        'video.path="/x/it\'s, c"',
        "link.outages_s=[[1, 2]]",
    ]
    text = join_overrides(overrides)
    assert split_overrides(text) == overrides
    assert settings(split_overrides(text)) == {
        "trace": "file",
        "trace.path": "/x/a b.csv",
        "video.path": "/x/it's, c",
        "link.outages_s": "[[1, 2]]",
    }
    assert join_overrides(["system=coach", "seed=1"]) == "system=coach seed=1"
    assert split_overrides(float("nan")) == []
    assert split_overrides("it's of=old") == ["it's", "of=old"]


def test_values_are_shortened_but_stay_apart() -> None:
    assert list(short(["/d/att/a b.csv", "/d/vz/a b.csv"]).values()) == ["att/a b.csv", "vz/a b.csv"]
    assert list(short(["/d/a.csv", "/d/ab.csv", "7"]).values()) == ["a.csv", "ab.csv", "7"]
    long = ["x" * 60 + end for end in ("1", "2")]
    assert [len(name) for name in short(long).values()] == [43, 43]
    alike = ["x" * 30 + middle + "y" * 30 for middle in ("1", "2")]
    assert list(short(alike).values()) == alike


def test_a_path_is_not_said_twice() -> None:
    jobs = [["trace.path=/d/a.csv"], ["trace.path=/d/b.csv"]]
    named = [{"trace": "a.csv"}, {"trace": "b.csv"}]
    assert swept_settings(jobs, named) == ["", ""]
    assert swept_settings(jobs, [{"trace": "same"}] * 2) == ["trace.path=a.csv", "trace.path=b.csv"]
