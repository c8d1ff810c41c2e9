"""Sweeps over systems with different options: each gets those that it has; what none has is refused."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import yaml

from sim import __main__ as command_line

FAST = ("video=statistical", "frames=3")


class Sweep:
    """A finished sweep: its jobs' overrides beside the fixed ones, its table and what was said."""

    def __init__(self, folder: Path, said: str) -> None:
        self.table = pd.read_csv(folder / "results.csv")
        self.notes = [line for line in said.splitlines() if line.startswith("note:")]
        self.jobs = []
        for number in self.table["folder"]:
            written = yaml.safe_load((folder / str(number) / ".hydra" / "overrides.yaml").read_text())
            self.jobs.append([part for part in written if part not in FAST])


Command = Callable[..., str]


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    def call(*arguments: str) -> str:
        """Run the command; what it said on stderr."""
        monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
        monkeypatch.setattr(sys, "argv", ["sim", *arguments, *FAST])
        command_line.main()
        return capsys.readouterr().err

    return call


@pytest.fixture
def sweep(command: Command, tmp_path: Path) -> Callable[..., Sweep]:
    def call(*arguments: str) -> Sweep:
        return Sweep(tmp_path / "sweep", command(*arguments, f"hydra.sweep.dir={tmp_path / 'sweep'}"))

    return call


@pytest.fixture
def own_folder(tmp_path: Path) -> Path:
    """A user's folder with a system (a variation of ours) and two experiments."""
    folder = tmp_path / "mine"
    (folder / "system").mkdir(parents=True)
    (folder / "experiment").mkdir()
    (folder / "system" / "photos.yaml").write_text("defaults:\n  - full_offload\n\ncodec: jpeg\n")
    params = {"system": "photos,spinn", "system.bits": "8", "system.codec": "png,raw"}
    experiment = {"hydra": {"mode": "MULTIRUN", "sweeper": {"params": params}}}
    text = f"# @package _global_\n{yaml.safe_dump(experiment)}"
    (folder / "experiment" / "mine.yaml").write_text(text)
    return folder


Run = Callable[..., Sweep]


def test_each_system_gets_the_options_that_it_has(sweep: Run) -> None:
    done = sweep("-m", "system=full_offload,coach", "system.variant=split")
    assert done.jobs == [["system=full_offload"], ["system=coach", "system.variant=split"]]
    assert (done.table["status"] == "completed").all()
    assert len(done.notes) == 1
    assert "system.variant skipped for full_offload" in done.notes[0]


def test_an_option_that_the_yaml_leaves_at_its_default_is_an_option_too(sweep: Run, own_folder: Path) -> None:
    target = "_target_: sim.systems.full_offload.FullOffload\nresult_bytes: 4096\n"
    (own_folder / "system" / "plain.yaml").write_text(target)
    done = sweep("--config-dir", str(own_folder), "-m", "system=plain,edge_only", "system.codec=png,raw")
    assert done.jobs == [
        ["system=plain", "+system.codec=png"],
        ["system=plain", "+system.codec=raw"],
        ["system=edge_only"],
    ]
    assert (done.table["status"] == "completed").all()


def test_a_quality_of_images_is_skipped_for_a_stream_which_has_a_rate_factor(sweep: Run) -> None:
    done = sweep("-m", "system=full_offload,full_offload_h264", "system.quality=85,null")
    assert done.jobs == [
        ["system=full_offload", "system.quality=85"],
        ["system=full_offload", "system.quality=null"],
        ["system=full_offload_h264"],
    ]
    assert (done.table["status"] == "completed").all()
    assert done.notes == [
        "note: system.quality skipped for full_offload_h264: no such option there; "
        "1 job(s) that differed in nothing else are left out"
    ]


def test_jobs_that_differ_in_a_skipped_option_alone_run_once(sweep: Run) -> None:
    done = sweep("--multirun", "system=full_offload,edge_only", "system.codec=png,jpeg", "seed=0,1")
    assert [sorted(job) for job in done.jobs] == [
        ["seed=0", "system.codec=png", "system=full_offload"],
        ["seed=0", "system.codec=jpeg", "system=full_offload"],
        ["seed=1", "system.codec=png", "system=full_offload"],
        ["seed=1", "system.codec=jpeg", "system=full_offload"],
        ["seed=0", "system=edge_only"],
        ["seed=1", "system=edge_only"],
    ]
    assert len(done.table) == 6
    assert done.notes == [
        "note: system.codec skipped for edge_only: no such option there; "
        "2 job(s) that differed in nothing else are left out"
    ]


def test_nothing_is_said_where_nothing_is_skipped(sweep: Run) -> None:
    done = sweep("-m", "system=full_offload,full_offload_h264", "system.result_bytes=500,6000")
    assert len(done.jobs) == 4
    assert (done.table["status"] == "completed").all()
    assert done.notes == []


def test_a_quality_that_was_not_recorded_fails_its_jobs_by_name(
    command: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Sizes of another quality would be made up; with pixels they are known, and differ."""
    folder = tmp_path / "sweep"
    swept = ("-m", "system=full_offload,fluxshard_ea", "system.quality=20,85", f"hydra.sweep.dir={folder}")
    with pytest.raises(SystemExit) as ended:
        command(*swept)
    assert ended.value.code == 2
    table = pd.read_csv(folder / "results.csv")
    assert table["status"].tolist() == ["failed", "completed"] * 2
    refusal = "system.quality: statistics are recorded with 85, found 20; use video=scene or video=file"
    assert table["error"].fillna("").tolist() == [f"InputError: {refusal}", ""] * 2


def test_a_quality_is_swept_with_pixels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "sweep"
    scene = ("video=scene", "accuracy=coverage", "frames=6", f"hydra.sweep.dir={folder}")
    monkeypatch.setattr(sys, "argv", ["sim", "-m", "system=full_offload", "system.quality=20,85", *scene])
    command_line.main()
    table = pd.read_csv(folder / "results.csv")
    assert table["quality"].tolist() == [20.0, 85.0]
    coarse, fine = table["uplink_bytes"]
    assert 0 < coarse < 0.6 * fine


def test_a_sweep_that_yaml_describes_is_dealt_out_alike(sweep: Run, own_folder: Path) -> None:
    done = sweep("--config-dir", str(own_folder), "experiment=mine")
    assert [sorted(set(job) - {"experiment=mine"}) for job in done.jobs] == [
        ["system.codec=png", "system=photos"],
        ["system.codec=raw", "system=photos"],
        ["system.bits=8", "system=spinn"],
    ]
    assert (done.table["status"] == "completed").all()
    assert "system.bits skipped for photos" in done.notes[0]


def test_the_command_line_goes_before_the_yaml(sweep: Run, own_folder: Path) -> None:
    given = ("experiment=mine", "system.codec=jpeg", "system=photos,spinn")
    done = sweep(f"--config-dir={own_folder}", *given)
    assert [sorted(set(job) - {"experiment=mine"}) for job in done.jobs] == [
        ["system.codec=jpeg", "system=photos"],
        ["system.bits=8", "system=spinn"],
    ]
    assert (done.table["status"] == "completed").all()


def test_joblib_gets_the_same_jobs(sweep: Run) -> None:
    done = sweep("-m", "system=full_offload,coach", "system.variant=split", "hydra/launcher=joblib")
    assert done.jobs == [["system=full_offload"], ["system=coach", "system.variant=split"]]
    assert (done.table["status"] == "completed").all()


def refused(command: Command, capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    with pytest.raises(SystemExit) as ended:
        command(*arguments)
    assert ended.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    return line


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["-m", "system=full_offload,coach", "system.varaint=split"], ["did you mean system.variant?"]),
        (
            ["-m", "system=full_offload", "seed=0,1", "system.variant=split"],
            ["of system=full_offload", "codec"],
        ),
        (["system=full_offload", "system.variant=split"], ["of system=full_offload", "codec, quality"]),
        (["system=full_offload", "system.crf=30"], ["of system=full_offload", "'crf'"]),
        (["system=full_offload_h264", "system.quality=30"], ["of system=full_offload_h264", "crf, key"]),
        (["experiment=quickstart", "system.colour=red"], ["system.colour", "edge_only"]),
        (["-m", "system=full_offload,choach", "system.variant=split"], ["did you mean coach"]),
    ],
)
def test_an_option_that_no_chosen_system_has_is_refused(
    command: Command,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    expected: list[str],
) -> None:
    folder = tmp_path / "refused"
    line = refused(command, capsys, *arguments, f"hydra.sweep.dir={folder}", f"hydra.run.dir={folder}")
    assert line.startswith("error: ")
    for part in expected:
        assert part in line
    assert not folder.exists()


def test_choices_in_ones_own_folder_are_known(
    command: Command, own_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "run"
    command("--config-dir", str(own_folder), "system=photos", f"hydra.run.dir={folder}")
    assert json.loads((folder / "summary.json").read_text())["status"] == "completed"
    line = refused(command, capsys, "--config-dir", str(own_folder), "system=fotos")
    assert "photos" in line
    assert "did you mean photos" in line
    assert "--config-dir" in refused(command, capsys, "--config-dir", str(own_folder / "nowhere"))
    assert "--config-dir" in refused(command, capsys, "--config-dir")


def test_the_users_own_folder_is_searched_too(
    command: Command, own_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLUXSHARD_CONFIG", str(own_folder))
    folder = tmp_path / "run"
    command("system=photos", f"hydra.run.dir={folder}")
    assert json.loads((folder / "summary.json").read_text())["status"] == "completed"


# -- experiments whose systems are swept over different keys ------------------------------------------------


@pytest.fixture
def experiment_of_lines(tmp_path: Path) -> Callable[[object], Path]:
    def make(lines: object) -> Path:
        """A user's folder with the experiment `lines`."""
        folder = tmp_path / "lab"
        (folder / "experiment").mkdir(parents=True)
        content = {"experiment": {"sweeps": lines}, "hydra": {"mode": "MULTIRUN"}}
        text = f"# @package _global_\n{yaml.safe_dump(content)}"
        (folder / "experiment" / "lines.yaml").write_text(text)
        return folder

    return make


def test_each_line_is_a_sweep_of_its_own_and_no_job_runs_twice(
    sweep: Run, experiment_of_lines: Callable[[object], Path]
) -> None:
    folder = experiment_of_lines(
        ["system=full_offload system.codec=png,raw", "system=spinn", "system=spinn,edge_only"]
    )
    done = sweep("--config-dir", str(folder), "experiment=lines", "seed=3")
    jobs = [[part for part in job if not part.startswith("experiment=")] for job in done.jobs]
    assert jobs == [
        ["system=full_offload", "system.codec=png", "seed=3"],
        ["system=full_offload", "system.codec=raw", "seed=3"],
        ["system=spinn", "seed=3"],
        ["system=edge_only", "seed=3"],
    ]
    assert (done.table["status"] == "completed").all()


def test_the_command_line_sweeps_every_line(
    sweep: Run, experiment_of_lines: Callable[[object], Path]
) -> None:
    folder = experiment_of_lines(["system=spinn", "system=full_offload system.codec=raw"])
    done = sweep("--config-dir", str(folder), "experiment=lines", "seed=0,1")
    seeds = [part for job in done.jobs for part in job if part.startswith("seed=")]
    assert seeds == ["seed=0", "seed=1"] * 2
    assert list(done.table["system"]) == ["spinn", "spinn", "full_offload", "full_offload"]


@pytest.mark.parametrize("lines", ["system=spinn", [], [{"system": "spinn"}]])
def test_lines_that_are_no_list_of_texts_are_refused(
    command: Command,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    experiment_of_lines: Callable[[object], Path],
    lines: object,
) -> None:
    folder = experiment_of_lines(lines)
    with pytest.raises(SystemExit) as ended:
        command("--config-dir", str(folder), "experiment=lines", f"hydra.sweep.dir={tmp_path / 'sweep'}")
    assert ended.value.code == 2
    assert "experiment.sweeps: expected a list of lines" in capsys.readouterr().err
