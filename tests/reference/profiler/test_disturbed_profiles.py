"""A profile that the profiler called disturbed is not used without a word."""

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from profiler.__main__ import main as profiler
from profiler.latency import load_profile, save_profile
from profiler.latency.disturbance import busy_note, disturbances, drift_note, throttle_note, unsettled_note
from sim import __main__ as command_line
from sim import run

FAST = ("video=statistical", "frames=3", "edge=mine", "cloud=mine")
NOTES = (
    busy_note(1.5, "while measuring"),
    throttle_note("power cap", 3),
    drift_note(0.1, 0.2),
    unsettled_note(40),
)


def kept(folder: Path, provenance: Mapping[str, Any]) -> Path:
    """A folder with a profile of a device "mine" that was measured in this way."""
    published = load_profile("jetson_xavier_nx", "yolo11m-seg")
    mine = replace(published, device="mine", provenance={**published.provenance, **provenance})
    save_profile(mine, folder / "profile" / "mine" / "yolo11m-seg.yaml")
    return folder


@pytest.mark.parametrize("note", NOTES)
def test_a_run_with_it_warns(tmp_path: Path, note: str) -> None:
    folder = kept(tmp_path, {"findings": ["the curve bends down", note]})
    with pytest.warns(UserWarning, match="profile mine/yolo11m-seg: measured on a disturbed machine") as told:
        run(FAST, config_dir=folder)
    assert all(str(warning.message).endswith(note) for warning in told)


def test_load_without_a_note_about_it_is_found(tmp_path: Path) -> None:
    folder = kept(tmp_path, {"background_cores": 0.02, "background_cores_measuring": 0.9, "clock": "wall"})
    with pytest.warns(UserWarning, match=r"kept 0\.9 cores busy while measuring"):
        run(FAST, config_dir=folder)


@pytest.mark.parametrize(
    "provenance",
    [
        {"findings": ["the curve bends down"], "background_cores": 0.1},
        {"background_cores": 1.7, "clock": "thread"},  # waiting for a core is left out of the times
    ],
)
def test_a_quiet_one_is_used_quietly(tmp_path: Path, provenance: dict[str, Any]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run(FAST, config_dir=kept(tmp_path, provenance))
    assert disturbances(provenance) == ()


@pytest.mark.filterwarnings("default:profile mine")
def test_the_command_says_so_in_one_line_and_in_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    kept(tmp_path, {"findings": [NOTES[0]]})
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    arguments = ["-m", *FAST, "seed=0,1", f"--config-dir={tmp_path}", f"hydra.sweep.dir={tmp_path / 'sweep'}"]
    monkeypatch.setattr(sys, "argv", ["sim", *arguments])
    command_line.main()
    said = f"profile mine/yolo11m-seg: measured on a disturbed machine: {NOTES[0]}"
    assert capsys.readouterr().err.splitlines() == [f"note: {said}"]  # once, whatever devices and jobs use it
    for job in "01":
        assert f"WARNING UserWarning: {said}" in (tmp_path / "sweep" / job / "run.log").read_text()
        assert json.loads((tmp_path / "sweep" / job / "summary.json").read_text())["edge"] == "mine"


def test_a_plan_with_it_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = kept(tmp_path, {"findings": [NOTES[1]]}) / "profile" / "mine" / "yolo11m-seg.yaml"
    assert profiler(["plan", f"edge={path}", "cloud=rtx_3080/yolo11m-seg"]) == 0
    assert f"note: {path}: measured on a disturbed machine: {NOTES[1]}" in capsys.readouterr().err
