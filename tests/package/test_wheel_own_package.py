"""A package of a user's own runs with the wheel as it does with a checkout, through YAMLs alone."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd

from conf.search_path import cache_folder
from sim import run
from tests.package.installed import Installed
from tests.strategies.own_package import RUNS, overrides, write_own_package


def test_ones_own_package_runs_with_the_wheel(installed: Installed, tmp_path: Path) -> None:
    folder = write_own_package(tmp_path / "own")
    chosen = overrides(folder, RUNS[0])
    kept = str(cache_folder())  # compiled kernels: whose they are is tested elsewhere
    command = ("sim", "--config-dir", "own", *chosen, "hydra.run.dir=run")
    done = installed.run(tmp_path, *command, FLUXSHARD_CACHE=kept)
    assert (done.returncode, done.stderr) == (0, "")
    here = run(chosen, config_dir=folder)
    pd.testing.assert_frame_equal(here.frames, pd.read_parquet(tmp_path / "run" / "frames.parquet"))
    there = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert there["config_sha256"] == here.summary["config_sha256"]
    assert there["system"] == RUNS[0][0].partition("=")[2]
