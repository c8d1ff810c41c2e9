"""One command for a GPU: every part runs whatever became of the others, within the time there is."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from kernels.bench import gpu as bench
from profiler.kit import gpu
from profiler.kit.gpu import GpuPart, parts, run_everything, run_part
from profiler.kit.program import MEASURE
from tests.strategies.board import run_kit


def test_parts_that_fail_are_said_and_do_not_stop_the_rest(tmp_path: Path) -> None:
    said: list[str] = []
    ends = {"profile yolo11n-seg": ("failed", "kit: device: out of memory"), "search": ("cut off", "")}

    def run(part: GpuPart, limit_s: float, log: Path) -> tuple[str, str]:
        log.write_text("")
        return ends.get(part.name, ("done", ""))

    assert run_everything(said.append, str(tmp_path), device="cpu", run=run) == 1
    (folder,) = tmp_path.iterdir()
    made = json.loads((folder / "gpu.json").read_text())
    assert [one["name"] for one in made["parts"]] == [one.name for one in parts("cpu", folder)]
    assert {one["name"]: one["ended"] for one in made["parts"] if one["ended"] != "done"} == {
        "profile yolo11n-seg": "failed",
        "search": "cut off",
    }
    assert "not done: profile yolo11n-seg" in said
    assert str(tmp_path) not in json.dumps(made)  # no path of the machine


def test_what_would_start_too_late_is_left_out(tmp_path: Path) -> None:
    assert run_everything(print, str(tmp_path), 5.0, "cpu", lambda *_: ("done", "")) == 1
    (folder,) = tmp_path.iterdir()
    assert {one["ended"] for one in json.loads((folder / "gpu.json").read_text())["parts"]} == {"left out"}


@pytest.mark.parametrize(
    ("program", "limit_s", "ended"),
    [
        ("print('first'); print('last')", 60.0, ("done", "last")),
        ("import os; print('before', flush=True); os.abort()", 60.0, ("failed", "before")),
        ("import time; print('slow', flush=True); time.sleep(60)", 1.5, ("cut off", "slow")),
    ],
)
def test_a_part_is_a_process_of_its_own(
    program: str, limit_s: float, ended: tuple[str, str], tmp_path: Path
) -> None:
    found = run_part(GpuPart("one", ("-c", program), 1.0), limit_s, tmp_path / "log.txt")
    assert found[0] == ended[0]
    assert ended[1] in (tmp_path / "log.txt").read_text()


def test_commands_are_those_that_the_programs_know(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for part in parts("cuda:0", tmp_path):
        module, words = part.command[1], part.command[2:]
        if module == "profiler.kit.program" and words[0] != "check":
            assert {word.partition("=")[0] for word in words} <= set(MEASURE)
        elif module == "kernels.bench.gpu":
            monkeypatch.setattr(bench.torch.cuda, "is_available", lambda: False)
            assert bench.main(list(words)) == 2  # refused for want of a GPU, after the arguments were read


def test_it_is_packed_with_torch_and_numpy_alone_and_refuses_without_a_gpu(
    bare: Path, tmp_path: Path, repository: Path
) -> None:
    """`make gpu`, by its two commands."""
    kit = tmp_path / "kit.pyz"
    packed = subprocess.run(
        [sys.executable, "-S", "-B", "-m", "profiler.kit.archive", str(kit)],
        env={"PYTHONPATH": f"{repository}:{bare}", "PATH": "/usr/bin:/bin"},
        cwd=repository,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (packed.returncode, packed.stderr) == (0, "")
    done = run_kit(kit, ["gpu", f"out={tmp_path}", "device=cuda:99"], bare)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "device: expected one of" in done.stderr
    assert gpu.BUDGET_S <= 460  # of 8 minutes: what is cut off takes time to end
