"""The README's recipe for a system of one's own works as it stands there, outside the project."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from sim import run


@pytest.fixture
def lab(repository: Path, tmp_path: Path) -> Path:
    """The two files of the README, in the folder `lab`."""
    text = (repository / "README.md").read_text(encoding="utf-8")
    blocks = {
        "mine.py": next(
            code for code in re.findall(r"```python\n(.*?)```", text, re.S) if "class Mine:" in code
        ),
        "system/mine.yaml": next(
            code for code in re.findall(r"```yaml\n(.*?)```", text, re.S) if "mine.Mine" in code
        ),
    }
    for name, code in blocks.items():
        assert f"`lab/{name}`" in text
        path = tmp_path / "lab" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(code), encoding="utf-8")
    return tmp_path / "lab"


def test_the_readmes_command_runs_the_readmes_system(lab: Path, repository: Path) -> None:
    text = (repository / "README.md").read_text(encoding="utf-8")
    line = next(found for found in re.findall(r"`(python -m sim[^`]*)`", text) if "system=mine" in found)
    words = shlex.split(line)
    environment = {**os.environ, "PYTHONPATH": str(repository)}  # as a checkout is found from its own folder
    done = subprocess.run(
        [sys.executable, *words[1:], "frames=4", "hydra.run.dir=out"],
        cwd=lab.parent,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
    summary = json.loads((lab.parent / "out" / "summary.json").read_text())
    assert (summary["system"], summary["frames_captured"]) == ("mine", 4)
    assert summary["frames_completed"] >= 2


def test_its_option_and_its_result_count(lab: Path) -> None:
    """A coarser JPEG is smaller, and its measured accuracy lower."""
    fine, coarse = (
        run(["system=mine", f"system.quality={quality}", "frames=8", "accuracy=measured"], config_dir=lab)
        for quality in (95, 5)
    )
    assert coarse.summary["uplink_bytes"] < fine.summary["uplink_bytes"] / 3
    assert coarse.summary["measured_accuracy_mean"] < fine.summary["measured_accuracy_mean"] < 1


def test_a_value_that_its_codec_refuses_is_one_line(lab: Path) -> None:
    with pytest.raises(ValueError, match=r"^system\.codec\.quality: expected 1 to 95") as caught:
        run(["system=mine", "system.quality=300", "frames=3"], config_dir=lab)
    assert "300" in str(caught.value)


ORACLE = """
from dataclasses import dataclass

from sim.schedulers import OracleScheduler


class Seer:
    wants_truth = True

    @dataclass(frozen=True)
    class Options:
        pass

    def __init__(self, objective, options):
        self.oracle = OracleScheduler(objective)

    def decide(self, observation):
        return self.oracle.decide(observation)
"""


def test_a_scheduler_of_ones_own_that_wants_the_truth_is_told_it(repository: Path, tmp_path: Path) -> None:
    (tmp_path / "seer.py").write_text(ORACLE, encoding="utf-8")
    (tmp_path / "scheduler").mkdir()
    ours = (repository / "conf" / "scheduler" / "oracle.yaml").read_text(encoding="utf-8")
    own = ours.replace("sim.schedulers.OracleScheduler", "seer.Seer")
    (tmp_path / "scheduler" / "seer.yaml").write_text(own, encoding="utf-8")
    seer, oracle = (
        run(["video=statistical", "trace=low", f"scheduler={name}", "frames=40"], config_dir=tmp_path)
        for name in ("seer", "oracle")
    )
    assert seer.frames.equals(oracle.frames)


def test_the_readmes_call_works(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = (repository / "README.md").read_text(encoding="utf-8")
    code = next(code for code in re.findall(r"```python\n(.*?)```", text, re.S) if "import run" in code)
    exec(compile(code, "README.md", "exec"), {})
    ea, latency_s = map(float, capsys.readouterr().out.split())
    assert 0 < ea < 1
    assert 0 < latency_s < 1
