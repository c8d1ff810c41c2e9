"""Folders of runs and sweeps: results are never mixed, never lost to a bad value, and a sweep can go on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from sim import __main__ as command_line
from sim.command import hydra_sweep
from sim.command.sweep_folder import read_plan
from traces.errors import InputError

FAST = ("video=statistical", "frames=3", "trace=low")


class Ended:
    """How a command ended and what it said."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err

    @property
    def error(self) -> str:
        """Its one line about what is wrong."""
        (line,) = [line for line in self.err.splitlines() if line.startswith("error: ")]
        return line


Command = Callable[..., Ended]


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    def call(*arguments: str) -> Ended:
        """Run the command in this process."""
        monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
        monkeypatch.setattr(sys, "argv", ["sim", *arguments])
        code = 0
        try:
            command_line.main()
        except SystemExit as ended:
            code = int(ended.code or 0)
        said = capsys.readouterr()
        return Ended(code, said.out, said.err)

    return call


def contents(folder: Path) -> dict[str, bytes]:
    """Every file in a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# -- a run's folder --------------------------------------------------------------------------------


@pytest.mark.parametrize("wrong", ["frames=-1", "fps=0", "trace.mean_mbps=0", "+link.colour=red"])
@pytest.mark.parametrize("traceback", ["0", "1"])
def test_a_bad_value_leaves_the_folders_results_as_they_were(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wrong: str, traceback: str
) -> None:
    folder = tmp_path / "run"
    assert command(*FAST, f"hydra.run.dir={folder}").code == 0
    before = contents(folder)
    monkeypatch.setenv("FLUXSHARD_TRACEBACK", traceback)
    if traceback == "1":
        with pytest.raises(InputError):
            command(*FAST, wrong, f"hydra.run.dir={folder}")
    else:
        ended = command(*FAST, wrong, f"hydra.run.dir={folder}")
        assert ended.code == 2
        assert "the results that were in the folder are still there" in ended.err
    assert contents(folder) == before


def test_a_run_that_breaks_or_is_interrupted_leaves_them_too(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "run"
    command(*FAST, f"hydra.run.dir={folder}")
    before = contents(folder)
    for breaking, code in ((KeyboardInterrupt(), 130), (RuntimeError("a bug"), 3)):
        with monkeypatch.context() as patch:

            def breaks(*_: object, error: BaseException = breaking, **__: object) -> None:
                raise error

            patch.setattr("sim.command.single_run.run_once", breaks)
            assert command(*FAST, "seed=1", f"hydra.run.dir={folder}").code == code
        assert contents(folder) == before


def test_a_new_run_takes_the_place_of_the_old_one(command: Command, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    command(*FAST, "timeline=true", f"hydra.run.dir={folder}")
    command(*FAST, "seed=1", f"hydra.run.dir={folder}")
    assert json.loads((folder / "summary.json").read_text())["seed"] == 1
    assert "seed=1" in (folder / ".hydra" / "overrides.yaml").read_text()
    assert {path.name for path in folder.iterdir()} == {
        *("summary.json", "frames.parquet", "cameras.csv", "run.png", "run.log", ".hydra")
    }


def test_what_a_killed_run_had_put_aside_is_found_again(command: Command, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    command(*FAST, f"hydra.run.dir={folder}")
    before = contents(folder)
    (folder / ".earlier").mkdir()
    for name in ("summary.json", "frames.parquet", "cameras.csv", "run.png", "run.log", ".hydra"):
        (folder / name).rename(folder / ".earlier" / name)
    (folder / ".hydra").mkdir()
    (folder / "run.log").write_text("of the killed run")
    (folder / "frames.parquet.part").write_text("of the killed run")
    assert command(*FAST, "fps=0", f"hydra.run.dir={folder}").code == 2
    assert contents(folder) == before


def test_a_sweeps_folders_are_not_for_single_runs(command: Command, tmp_path: Path) -> None:
    folder = tmp_path / "sweep"
    command("-m", *FAST, "seed=0,1", f"hydra.sweep.dir={folder}")
    before = contents(folder)
    for run, found in ((folder, "found a sweep"), (folder / "1", "found a job of a sweep")):
        ended = command(*FAST, f"hydra.run.dir={run}")
        assert (ended.code, found in ended.error) == (2, True)
    assert contents(folder) == before


# -- a sweep's folder ------------------------------------------------------------------------------


@pytest.mark.parametrize("traceback", ["0", "1"])
def test_a_sweep_into_a_used_folder_is_refused(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, traceback: str
) -> None:
    sweep, run = tmp_path / "sweep", tmp_path / "run"
    command("-m", *FAST, "seed=0,1,2", f"hydra.sweep.dir={sweep}")
    command(*FAST, f"hydra.run.dir={run}")
    before = contents(tmp_path)
    monkeypatch.setenv("FLUXSHARD_TRACEBACK", traceback)
    ended = command("-m", *FAST, "seed=7", f"hydra.sweep.dir={sweep}")
    assert ended.code == 2
    assert f"3 of 3 jobs have finished; to go on with it: python -m sim --resume {sweep}" in ended.error
    assert command("-m", *FAST, "seed=7", f"hydra.sweep.dir={run}").code == 2
    assert contents(tmp_path) == before


def test_a_folder_with_jobs_of_an_older_version_is_used_too(command: Command, tmp_path: Path) -> None:
    (tmp_path / "3" / ".hydra").mkdir(parents=True)
    (tmp_path / "3" / ".hydra" / "config.yaml").write_text("seed: 0\n")
    assert "found 3/.hydra/config.yaml" in command("-m", *FAST, f"hydra.sweep.dir={tmp_path}").error


def test_a_sweep_that_cannot_begin_does_not_use_its_folder(command: Command, tmp_path: Path) -> None:
    folder = tmp_path / "sweep"
    assert command("-m", *FAST, "frmes=1,2", f"hydra.sweep.dir={folder}").code == 2
    assert not folder.exists()


def test_two_jobs_do_not_share_a_folder(command: Command, tmp_path: Path) -> None:
    folder = tmp_path / "sweep"
    sweep = ("-m", *FAST, "seed=0,1", "cameras=1,2", f"hydra.sweep.dir={folder}")
    ended = command(*sweep, "hydra.sweep.subdir=${seed}")
    assert "hydra.sweep.subdir: expected a folder of its own for each job, found '0' for 2" in ended.error
    assert not folder.exists()


def test_jobs_may_lie_deeper(command: Command, tmp_path: Path) -> None:
    sweep = ("-m", *FAST, "seed=0,1", "cameras=1,2", f"hydra.sweep.dir={tmp_path / 'sweep'}")
    assert command(*sweep, "hydra.sweep.subdir=${cameras}/${seed}").code == 0
    table = pd.read_csv(tmp_path / "sweep" / "results.csv")
    assert table["folder"].tolist() == ["1/0", "2/0", "1/1", "2/1"]


# -- going on --------------------------------------------------------------------------------------


@pytest.fixture
def cut_short(command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A sweep of six jobs that was interrupted in its fourth; its third has failed."""
    folder = tmp_path / "sweep"
    from sim.command import single_run

    whole = single_run.run_once

    def run_once(content: dict[str, object], *how: object) -> object:
        if content["seed"] == 2:
            raise RuntimeError("out of luck")
        if content["seed"] == 3:
            raise KeyboardInterrupt
        return whole(content, *how)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(single_run, "run_once", run_once)
        ended = command("-m", *FAST, "seed=0,1,2,3,4,5", f"hydra.sweep.dir={folder}")
    assert ended.code == 130
    assert ended.err.splitlines()[-1] == (
        f"interrupted: 2 of 6 jobs have finished; to go on: python -m sim --resume {folder}"
    )
    return folder


def test_an_interrupted_sweep_goes_on_with_what_is_missing(command: Command, cut_short: Path) -> None:
    kept = {job: contents(cut_short / job) for job in ("0", "1")}
    ended = command("--resume", str(cut_short))
    assert ended.code == 0
    assert "2 of 6 jobs have finished" in ended.err
    assert [line.split()[1] for line in ended.out.splitlines() if line.startswith("job ")] == [
        *("2:", "3:", "4:", "5:")
    ]
    assert {job: contents(cut_short / job) for job in ("0", "1")} == kept
    table = pd.read_csv(cut_short / "results.csv")
    assert table["seed"].tolist() == [0, 1, 2, 3, 4, 5]
    assert (table["status"] == "completed").all()
    assert not (cut_short / "2" / "traceback.txt").exists()
    again = command(f"--resume={cut_short}")
    assert (again.code, "6 of 6 jobs have finished" in again.err) == (0, True)


def test_a_resumed_sweep_is_what_an_uninterrupted_one_is(
    command: Command, cut_short: Path, tmp_path: Path
) -> None:
    command("--resume", str(cut_short))
    command("-m", *FAST, "seed=0,1,2,3,4,5", f"hydra.sweep.dir={tmp_path / 'whole'}")
    for job in map(str, range(6)):
        frames = [
            (folder / job / "frames.parquet").read_bytes() for folder in (cut_short, tmp_path / "whole")
        ]
        assert frames[0] == frames[1]


def test_it_goes_on_with_another_launcher_and_from_another_folder(
    command: Command, cut_short: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    began = Path.cwd()
    monkeypatch.chdir(tmp_path)
    ended = command("--resume", "sweep", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2")
    assert ended.code == 0
    assert f"note: in {began}, where the sweep began" in ended.err
    assert (pd.read_csv(cut_short / "results.csv")["status"] == "completed").all()


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ("seed=0,1", "--resume: expected the jobs of"),
        ("cameras=2", "where job 0 is 'video=statistical frames=3 trace=low seed=0', found"),
    ],
)
def test_it_goes_on_only_as_the_same_sweep(
    command: Command, cut_short: Path, more: str, expected: str
) -> None:
    before = contents(cut_short)
    ended = command("--resume", str(cut_short), more)
    assert ended.code == 2
    assert expected in ended.error
    assert contents(cut_short) == before


def test_it_does_not_go_on_under_other_constants(
    command: Command, cut_short: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own" / "trace").mkdir(parents=True)
    text = "defaults:\n  - medium\nname: low\nmean_mbps: 7.5\n"
    (tmp_path / "own" / "trace" / "low.yaml").write_text(text)
    monkeypatch.setenv("FLUXSHARD_CONFIG", str(tmp_path / "own"))
    assert (
        "expected job 0 as it ran, with trace.mean_mbps=25.0, found 7.5 today"
        in command("--resume", str(cut_short)).error
    )


@pytest.mark.parametrize("change", ["another rate", "gone"])
def test_it_does_not_go_on_with_another_file(command: Command, tmp_path: Path, change: str) -> None:
    folder, uplink = tmp_path / "sweep", tmp_path / "uplink.csv"
    uplink.write_text("time_s,rate_mbps\n0,5\n1,6\n")
    trace = ("trace=file", f"trace.path={uplink}")
    assert command("-m", *FAST, *trace, "seed=0,1", f"hydra.sweep.dir={folder}").code == 0
    (folder / "1" / "summary.json").unlink()
    uplink.touch()
    assert command("--resume", str(folder)).code == 0
    (folder / "1" / "summary.json").unlink()
    if change == "gone":
        uplink.unlink()
    else:
        uplink.write_text("time_s,rate_mbps\n0,5\n1,7\n")
    found = "none" if change == "gone" else "another one"
    ended = command("--resume", str(folder))
    assert ended.code == 2
    assert f"expected {uplink} as it was when the sweep began, found {found}" in ended.error


def test_of_a_folder_and_a_long_file_both_ends_and_every_name_count(tmp_path: Path) -> None:
    from sim.command.sweep_folder import file_state

    folder = tmp_path / "frames"
    folder.mkdir()
    states = [file_state(folder), file_state(tmp_path / "nothing here")]
    for name, size in (("a.png", 3), ("b.png", 3), ("b.png", 4), ("c/a.png", 1)):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"x" * size)
        states.append(file_state(folder))
    long = tmp_path / "long.mp4"
    for first, last in ((0, 0), (1, 0), (0, 1)):
        with long.open("wb") as stream:
            stream.write(bytes([first]))
            stream.seek(2**26)
            stream.write(bytes([last]))
        states.append(file_state(long))
    assert len(set(states)) == len(states)


def test_there_must_be_a_sweep(command: Command, tmp_path: Path) -> None:
    assert "--resume: expected a sweep's folder" in command("--resume", str(tmp_path)).error
    assert "--resume: expected a folder, found none" in command("--resume").error
    (tmp_path / "sweep.json").write_text('{"jobs": 3}')
    assert (
        f"{tmp_path / 'sweep.json'}: expected what a sweep wrote" in command("--resume", str(tmp_path)).error
    )


def test_a_terminated_sweep_says_how_to_go_on(repository: Path, tmp_path: Path) -> None:
    seeds = ",".join(map(str, range(200)))
    process = subprocess.Popen(
        [sys.executable, "-m", "sim", "-m", *FAST, f"seed={seeds}", f"hydra.sweep.dir={tmp_path}"],
        cwd=repository,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 120.0
    while not (tmp_path / "1" / "summary.json").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert said.splitlines()[-1].startswith("interrupted: ")
    assert said.splitlines()[-1].endswith(
        f"of 200 jobs have finished; to go on: python -m sim --resume {tmp_path}"
    )
    assert len(read_plan(tmp_path).jobs) == 200


# -- what a job leaves -----------------------------------------------------------------------------


def test_a_failed_job_keeps_its_traceback_and_each_run_has_a_log(command: Command, tmp_path: Path) -> None:
    ended = command("-m", *FAST, "fps=30,0", f"hydra.sweep.dir={tmp_path}")
    assert ended.code == 2
    text = (tmp_path / "1" / "traceback.txt").read_text()
    assert text.startswith("Traceback (most recent call last):")
    assert "fps: expected a frame rate > 0" in text
    assert not (tmp_path / "0" / "traceback.txt").exists()
    good, bad = ((tmp_path / job / "run.log").read_text() for job in "01")
    assert "overrides: video=statistical frames=3 trace=low fps=30" in good
    assert "INFO completed: fluxshard_ea, low (synthetic)" in good
    assert "ERROR failed: fps: expected a frame rate > 0" in bad


# -- sweeps over files -----------------------------------------------------------------------------


@pytest.fixture
def uplinks(tmp_path: Path) -> Path:
    """Traces whose names are no easy words."""
    folder = tmp_path / "up links"
    folder.mkdir()
    for rate, name in (
        (3, "a, b 2.csv"),
        (4, "a, b 10.csv"),
        (5, "it's.csv"),
        (6, "1e3.csv"),
        (7, "note.txt"),
    ):
        (folder / name).write_text(f"time_s,rate_mbps\n0,{rate}\n5,9\n")
    return folder


def test_files_are_swept_over_in_the_order_of_their_numbers(
    command: Command, uplinks: Path, tmp_path: Path
) -> None:
    pattern = f'trace.path=glob("{uplinks}/*.csv")'
    ended = command("-m", *FAST, "trace=file", pattern, f"hydra.sweep.dir={tmp_path / 'sweep'}")
    assert ended.code == 0, ended.err
    table = pd.read_csv(tmp_path / "sweep" / "results.csv")
    names = ["1e3.csv", "a, b 2.csv", "a, b 10.csv", "it's.csv"]
    assert table["trace"].tolist() == names
    assert table["trace.path"].tolist() == [str(uplinks / name) for name in names]


def test_a_list_of_files_is_a_sweep(command: Command, uplinks: Path, tmp_path: Path) -> None:
    values = ",".join(hydra_sweep.quoted(str(uplinks / name)) for name in ("it's.csv", "a, b 2.csv"))
    command("-m", *FAST, "trace=file", f"trace.path={values}", f"hydra.sweep.dir={tmp_path / 'sweep'}")
    assert pd.read_csv(tmp_path / "sweep" / "results.csv")["trace"].tolist() == ["it's.csv", "a, b 2.csv"]


def test_some_files_may_be_left_out(command: Command, uplinks: Path, tmp_path: Path) -> None:
    pattern = f'trace.path=glob(["{uplinks}/*.csv","{uplinks}/*.txt"],exclude="{uplinks}/a*")'
    command("-m", *FAST, "trace=file", pattern, f"hydra.sweep.dir={tmp_path / 'sweep'}")
    table = pd.read_csv(tmp_path / "sweep" / "results.csv")
    assert table["trace"].tolist() == ["1e3.csv", "it's.csv", "note.txt"]


@pytest.mark.parametrize("exclude", ['"a*"', '"*/a, b *"', '"a, b 10.csv","a, b 2.csv"'])
def test_a_name_is_enough_to_leave_files_out(
    command: Command, uplinks: Path, tmp_path: Path, exclude: str
) -> None:
    pattern = f'trace.path=glob("{uplinks}/*.csv",exclude=[{exclude}])'
    ended = command("-m", *FAST, "trace=file", pattern, f"hydra.sweep.dir={tmp_path / 'sweep'}")
    assert ended.code == 0, ended.err
    assert pd.read_csv(tmp_path / "sweep" / "results.csv")["trace"].tolist() == ["1e3.csv", "it's.csv"]


@pytest.mark.parametrize(
    "nothing",
    ["trace.path=glob(nowhere/*.csv)", "system=glob(x*)", "seed=range(0,0)", "video.path=glob(no.mp4)"],
)
def test_a_sweep_that_matches_nothing_is_an_error(command: Command, tmp_path: Path, nothing: str) -> None:
    ended = command("-m", *FAST, nothing, f"hydra.sweep.dir={tmp_path / 'sweep'}")
    assert ended.code == 2
    key, _, value = nothing.partition("=")
    assert f"{key}: expected something to sweep over, found nothing that matches {value}" in ended.error
    assert not (tmp_path / "sweep").exists()


@pytest.mark.parametrize(
    "text", ["plain", "a, b", "it's", "ends in \\", "\\'", '"', "{x: 1}", "[1]", "null", "a=b"]
)
def test_any_text_survives_as_a_value(text: str) -> None:
    from hydra.core.override_parser.overrides_parser import OverridesParser

    (override,) = OverridesParser.create().parse_overrides([f"key={hydra_sweep.quoted(text)}"])
    assert override.value() == text
