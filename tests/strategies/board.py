"""A board as the kit meets it: Python with torch and numpy alone, and a samples file without a device."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import numpy as np

BARE = ("torch", "numpy")


def bare_packages(folder: Path) -> Path:
    """A folder of links to torch, numpy and what they require, out of this environment, and nothing else."""
    waiting, seen = list(BARE), set()
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        try:
            found = distribution(name)
        except PackageNotFoundError:  # a requirement of another platform
            continue
        needed = (one for one in found.requires or () if "extra ==" not in one)
        waiting += [re.split(r"[\s<>=!~;(\[]", one)[0] for one in needed]
        for top in {
            path.parts[0] for path in found.files or () if path.parts[0] not in ("..", "__pycache__")
        }:
            link = folder / top
            if not link.exists():
                link.symlink_to(Path(str(found.locate_file(top))))
    return folder


def run_kit(
    kit: Path, arguments: list[str], packages: Path | None, python: str = sys.executable, **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run a kit as a board would: no site packages but those of a folder; None: those of `python` itself."""
    kept = {key: value for key, value in os.environ.items() if key in ("PATH", "HOME", "FLUXSHARD_CACHE")}
    options = [] if packages is None else ["-S", "-B"]
    if packages is not None:
        kept["PYTHONPATH"] = str(packages)
    return subprocess.run(
        [python, *options, str(kit), *arguments],
        capture_output=True,
        text=True,
        env={**kept, "OMP_NUM_THREADS": "1", **variables},
        cwd=kit.parent,
        timeout=200,
        check=False,
    )


def old_python() -> str | None:
    """A Python 3.8 of this machine, if there is one."""
    candidates = [shutil.which("python3.8"), *map(str, Path.home().glob(".pyenv/versions/3.8*/bin/python"))]
    for found in filter(None, candidates):
        question = [found, "-c", "import sys; print(sys.version_info[:2])"]
        said = subprocess.run(question, capture_output=True, text=True, check=False)
        if said.stdout.strip() == "(3, 8)":
            return found
    return None


class SteadyDevice:
    """A workload and a clock in one: takes what a curve says, at once; `tick` comes before each call."""

    blocks_total = 400

    def __init__(self, tick: Callable[[], None] = lambda: None) -> None:
        self.now_s, self.tick = 0.0, tick
        self.noise = np.random.default_rng(3)

    def spend(self, seconds: float) -> None:
        self.tick()
        self.now_s += seconds * float(self.noise.uniform(0.99, 1.01))

    def seconds(self, call: Callable[[], object]) -> float:
        start_s = self.now_s
        call()
        return self.now_s - start_s

    def dense(self) -> None:
        self.spend(0.08)

    def sparse(self, active: np.ndarray, step: int, margin_px: int = 0) -> None:
        self.spend(4e-3 + 1e-4 * float(active.sum()) * (1 + margin_px / 16))

    def settle(self) -> None:
        self.now_s += 1e-4

    def extract(self, step: int) -> None:
        self.spend(0.003)

    def encode(self, active: np.ndarray, step: int) -> None:
        self.spend(3e-4 + 1e-6 * float(active.sum()))

    def layers(self, seconds: Callable[[Callable[[], object]], float]) -> list[tuple[str, float]]:
        return [(name, seconds(lambda: self.spend(0.04))) for name in ("first", "second")]
