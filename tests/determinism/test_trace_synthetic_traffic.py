"""The same seed gives the same trace, in this process and in another."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

from traces.bandwidth.synthetic import synthetic_uplink


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
