"""The wheel, built once and installed in an environment of its own beside the dependencies of the tests'."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from dataclasses import dataclass
from pathlib import Path

PARTS = ("analysis", "conf", "kernels", "profiler", "sim", "traces")
FILES = ("pyproject.toml", "README.md", "LICENSE")


@dataclass(frozen=True)
class Installed:
    """An environment of its own with the wheel, and a user who has never run it."""

    folder: Path

    @property
    def site(self) -> Path:
        (site,) = (self.folder / "venv" / "lib").glob("python*/site-packages")
        return site

    @property
    def home(self) -> Path:
        return self.folder / "home"

    def run(self, cwd: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """The installed command ``fluxshard``, for that user, with these environment variables."""
        ours = ("FLUXSHARD_", "XDG_", "NUMBA_", "PYTHON")
        environment = {key: value for key, value in os.environ.items() if not key.startswith(ours)}
        environment.update(HOME=str(self.home), OMP_NUM_THREADS="1", MPLBACKEND="Agg", **variables)
        command = self.folder / "venv" / "bin" / "fluxshard"
        return subprocess.run(
            [command, *arguments], cwd=cwd, env=environment, capture_output=True, text=True, timeout=200
        )

    def files(self) -> dict[Path, bytes]:
        """The package's files but for what Python itself compiles."""
        paths = (path for part in PARTS for path in (self.site / part).rglob("*"))
        return {path: path.read_bytes() for path in paths if path.is_file() and path.suffix != ".pyc"}


def install(repository: Path, folder: Path) -> Installed:
    """Build the wheel of a checkout and install it, without any network."""
    source = folder / "source"
    for part in PARTS:
        shutil.copytree(repository / part, source / part, ignore=shutil.ignore_patterns("__pycache__"))
    for name in FILES:
        shutil.copy(repository / name, source)
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "--no-cache-dir"]
    offline = ["--no-index", "--no-deps"]
    subprocess.run(
        [*pip, "wheel", *offline, "--no-build-isolation", "--wheel-dir", folder, source],
        check=True,
        capture_output=True,
        timeout=200,
    )
    venv.create(folder / "venv", with_pip=False, symlinks=True)
    made = Installed(folder)
    made.home.mkdir()
    # The dependencies, but not the checkout among them: their own .pth files are not read.
    (made.site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    (wheel,) = folder.glob("*.whl")
    python = folder / "venv" / "bin" / "python"
    subprocess.run(
        [*pip, "--python", python, "install", *offline, "--no-compile", wheel],
        check=True,
        capture_output=True,
        timeout=200,
    )
    return made
