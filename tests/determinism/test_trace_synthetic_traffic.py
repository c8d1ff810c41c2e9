"""The same seed gives the same trace, in this process and in another."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sim.assembly import assemble
from sim.configuration import read_config
from tests.strategies.sim import statistical
from traces.bandwidth.synthetic import synthetic_network, synthetic_uplink


def test_ten_generations_are_one_trace() -> None:
    digests = {
        hashlib.sha256(synthetic_uplink(56e6, 20.0, 7).times_ms.tobytes()).hexdigest() for _ in range(10)
    }
    assert len(digests) == 1


def test_seeds_differ() -> None:
    first, second = (synthetic_uplink(56e6, 20.0, seed) for seed in (1, 2))
    assert first.times_ms.tobytes() != second.times_ms.tobytes()


def test_two_processes_write_the_same_file(tmp_path: Path, repository: Path) -> None:
    files = []
    for name in ("a.csv", "b.csv"):
        command = [sys.executable, "-m", "traces", "generate", "--seed", "9", "--duration-s", "5"]
        subprocess.run([*command, "--output", str(tmp_path / name)], check=True, cwd=repository, timeout=60)
        files.append((tmp_path / name).read_bytes())
    assert files[0] == files[1]
    assert b"# synthetic: true" in files[0]


@pytest.mark.parametrize("seed", [0, 1, 60])
def test_a_longer_network_begins_with_a_shorter_one(seed: int) -> None:
    minute, more = (synthetic_network(56e6, covered_s, seed).times_ms for covered_s in (7.0, 1200.0))
    assert minute.tolist() == more[more < 60_000].tolist()
    packets = round(56e6 * 600 / 12000)
    assert np.bincount(more // 600_000).tolist() == 2 * [packets]  # every ten minutes carry the mean


@pytest.mark.parametrize("changes", [{"frames": 240}, {"fps": 5.0}, {"cameras": 2}, {"frames": 1800}])
def test_the_network_of_a_run_does_not_depend_on_frames_fps_or_cameras(changes: dict[str, Any]) -> None:
    plain, other = (
        assemble(read_config(statistical(trace={"mean_mbps": 20.0, "seed": 3}, **more))).simulation.uplink
        for more in ({"frames": 30}, {"frames": 30, **changes})
    )
    for start_s in np.arange(0.0, 12.0, 0.05):
        ends_s = start_s, start_s + 0.05
        assert plain.replay.capacity_bytes(*ends_s) == other.replay.capacity_bytes(*ends_s)
