"""Each launcher, installed as the README says; `make test-launchers` does that in environments of its own."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import sysconfig
from pathlib import Path

import pandas as pd
import pytest

LAUNCHERS = {"joblib": ("joblib", "hydra.launcher.n_jobs=2"), "slurm": ("submitit_local",), "ray": ("ray",)}
VARIABLE = "FLUXSHARD_LAUNCHERS"  # the folder for the environments; installing needs a network
LINE = re.compile(r"^\$ (?:.* && )?\S*pip (install -c (\S+) -e '\.\[(\w+)\]')", re.MULTILINE)
OTHERS = ("cloudpickle", "python-dateutil", "ray", "six")  # what Ray's launcher wants otherwise


def install_lines(repository: Path) -> dict[str, str]:
    """The README's arguments of pip, by extra."""
    text = (repository / "README.md").read_text(encoding="utf-8")
    return {extra: line for line, _, extra in LINE.findall(text)}


def test_the_readme_has_a_line_for_each_launcher(repository: Path) -> None:
    assert list(install_lines(repository)) == list(LAUNCHERS)
    text = (repository / "README.md").read_text(encoding="utf-8")
    assert all(f"hydra/launcher={name}" in text for name, *_ in LAUNCHERS.values())


def test_rays_constraints_differ_only_where_they_must(repository: Path) -> None:
    def pins(name: str) -> set[str]:
        lines = (repository / name).read_text(encoding="utf-8").splitlines()
        return {line for line in lines if not line.startswith((*(f"{one}==" for one in OTHERS), "#"))}

    assert pins("constraints-ray.txt") == pins("constraints.txt")


@pytest.fixture(params=LAUNCHERS)
def environment(request: pytest.FixtureRequest, repository: Path) -> tuple[str, Path]:
    """A launcher's extra, and a Python in an environment where the README's line has been carried out.

    What `make` has installed is there already, as it is for a reader of the README.
    """
    if VARIABLE not in os.environ:
        pytest.skip(f"{VARIABLE} is not set: make test-launchers installs the launchers")
    folder = repository / os.environ[VARIABLE] / request.param
    python = folder / "bin" / "python"
    if not (folder / ".ready").exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", "--without-pip", folder], check=True)
        (site,) = (folder / "lib").glob("python*/site-packages")
        (site / "made.pth").write_text(sysconfig.get_path("purelib") + "\n")
        line = shlex.split(install_lines(repository)[request.param])
        done = subprocess.run(
            [sys.executable, "-m", "pip", "--python", python, "--quiet", *line],
            cwd=repository,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        (folder / ".ready").touch()
    return request.param, python


@pytest.mark.timeout(1200)  # an installation from the network
def test_a_launcher_runs_the_same_jobs(
    environment: tuple[str, Path], repository: Path, tmp_path: Path
) -> None:
    extra, python = environment
    launcher, *options = LAUNCHERS[extra]
    sweep = ["-m", "sim", "-m", "video=statistical", "frames=20", "fps=30,0,15"]
    variables = {**os.environ, "OMP_NUM_THREADS": "1"}
    for interpreter, name, more in (
        (sys.executable, "basic", []),
        (python, launcher, [f"hydra/launcher={launcher}", *options]),
    ):
        done = subprocess.run(
            [interpreter, *sweep, *more, f"hydra.sweep.dir={tmp_path / name}"],
            cwd=repository,
            env=variables,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 2, done.stderr  # one of the jobs fails, and the others go on
        assert "1 of 3 jobs failed" in done.stderr
        table = pd.read_csv(tmp_path / name / "results.csv")
        assert table["status"].tolist() == ["completed", "failed", "completed"]
        assert (tmp_path / name / "1" / "traceback.txt").is_file()
    for job in "02":
        one, other = ((tmp_path / name / job / "frames.parquet").read_bytes() for name in ("basic", launcher))
        assert one == other
