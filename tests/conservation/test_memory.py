"""What a sweep's jobs take of memory they give back."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from sim.command.memory import give_memory_back
from sim.command.single_run import run_once

JOBS, SETTLED = 24, 8  # and after how many the process has all its modules and caches


def _resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.filterwarnings("ignore:video.size_px")
def test_a_sweeps_jobs_leave_no_memory_behind() -> None:
    """Each is another video: without giving back, they leave 2 MB each."""
    sizes = []
    for seed in range(JOBS):
        run_once(
            {
                "system": {"name": "fluxshard_ea"},
                "video": {"kind": "scene", "name": "scene", "size_px": 64},
                "trace": {"name": "synthetic", "mean_mbps": 20.0, "duration_s": 5.0},
                "accuracy": {"mode": "coverage"},
                "frames": 4,
                "cameras": 4,
                "seed": seed,
            }
        )
        give_memory_back()
        sizes.append(_resident_bytes())
    assert sizes[-1] - sizes[SETTLED] < 0.25e6 * (JOBS - SETTLED)
