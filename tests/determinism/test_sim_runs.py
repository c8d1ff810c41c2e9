"""The same configuration and seed give the same bytes: in two processes, and under two launchers."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from profiler.latency import Residuals, load_profile, save_profile
from tests.strategies.sim import run, statistical

TIMING = ["wall_s"]


def python_m_sim(repository: Path, *arguments: str) -> None:
    subprocess.run(
        [sys.executable, "-m", "sim", *arguments],
        cwd=repository,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        check=True,
        capture_output=True,
        timeout=240,
    )


@pytest.fixture
def noisy(tmp_path: Path) -> dict[str, object]:
    """Devices whose service times scatter."""
    residuals = Residuals((0.0, 0.5, 1.0), (1.0, 1600.0), ((0.8, 1.0, 1.6), (0.9, 1.0, 1.3)), (0.9, 1.0, 1.5))
    for device in ("jetson_xavier_nx", "rtx_3080"):
        profile = replace(load_profile(device, "yolo11m-seg"), residual_quantiles=residuals)
        save_profile(profile, tmp_path / "profile" / device / "yolo11m-seg.yaml")
    return {"config_folders": [str(tmp_path)]}


def test_two_processes_and_two_launchers_leave_the_same_bytes(repository: Path, tmp_path: Path) -> None:
    arguments = ["-m", "system=fluxshard_ea,full_offload", "video.size_px=96", "frames=12", "seed=3"]
    arguments.append("accuracy=coverage")
    python_m_sim(repository, *arguments, f"hydra.sweep.dir={tmp_path / 'basic'}")
    python_m_sim(
        repository,
        *arguments,
        *("hydra/launcher=joblib", "hydra.launcher.n_jobs=2", f"hydra.sweep.dir={tmp_path / 'joblib'}"),
    )
    for job in ("0", "1"):
        basic, joblib = (
            (tmp_path / name / job / "frames.parquet").read_bytes() for name in ("basic", "joblib")
        )
        assert basic == joblib
    tables = [
        pd.read_parquet(tmp_path / name / "results.parquet").drop(columns=TIMING)
        for name in ("basic", "joblib")
    ]
    pd.testing.assert_frame_equal(*tables)
    assert (tables[0]["status"] == "completed").all()


def test_the_seed_decides_and_nothing_else(noisy: dict[str, object]) -> None:
    first, again, other = (run(statistical(**noisy, seed=seed)).frames for seed in (1, 1, 2))
    pd.testing.assert_frame_equal(first, again)
    assert not np.array_equal(first["latency_s"], other["latency_s"])


@pytest.mark.parametrize("system", ["full_offload", "spinn"])
def test_frames_under_way_together_are_as_deterministic_as_one_at_a_time(
    system: str, noisy: dict[str, object]
) -> None:
    first, again, other = (
        run(statistical(system, **noisy, cameras=2, in_flight=4, seed=seed)).frames for seed in (1, 1, 2)
    )
    pd.testing.assert_frame_equal(first, again)
    assert not first["latency_s"].equals(other["latency_s"])


def test_deterministic_runs_take_the_models_own_curve(noisy: dict[str, object]) -> None:
    """Without residuals a published profile and one with scatter are the same."""
    smooth = run(statistical("edge_only", **noisy, deterministic=True)).frames
    plain = run(statistical("edge_only")).frames
    pd.testing.assert_frame_equal(smooth, plain)
    rough = run(statistical("edge_only", **noisy)).frames
    done = rough["outcome"] == "completed"
    assert rough.loc[done, "edge_compute_s"].nunique() == done.sum()


def test_a_camera_sees_the_same_whoever_else_is_there(noisy: dict[str, object]) -> None:
    """Streams of random numbers are per camera, so a camera that shares nothing does not notice others."""
    alone = run(statistical("edge_only", **noisy)).frames
    crowd = run(statistical("edge_only", **noisy, cameras=3)).frames
    first = crowd[crowd["camera"] == 0].reset_index(drop=True)
    pd.testing.assert_frame_equal(first, alone)
