"""A report over a small sweep with inspections, and a browser that opens it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from analysis.__main__ import main
from tests.real.report.browser import Browser, find_browser


@pytest.fixture(scope="package")
def inspected_sweep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two systems, one with blocks and one without, on two replicates of a small scene."""
    folder = tmp_path_factory.mktemp("sweep") / "sweep"
    arguments = [
        *("-m", "system=fluxshard_ea,full_offload", "video=scene", "video.size_px=64", "frames=16"),
        *("replicates=2", "inspect=true", "inspection.frames=12", f"hydra.sweep.dir={folder}"),
    ]
    done = subprocess.run(
        [sys.executable, "-m", "sim", *arguments], capture_output=True, text=True, timeout=250, check=False
    )
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="package")
def page(inspected_sweep: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its report."""
    out = tmp_path_factory.mktemp("page") / "report.html"
    main(["report", str(inspected_sweep), f"out={out}"])
    return out


@pytest.fixture(scope="package")
def browser_path() -> str:
    """The browser at hand; skips where there is none."""
    found = find_browser()
    if found is None:
        pytest.skip(
            "no Chromium or Chrome found (Debian: apt-get install chromium; FLUXSHARD_BROWSER names one)"
        )
    return found


@pytest.fixture(params=[(1280, 900), (390, 844)], ids=["desktop", "phone"])
def browser(browser_path: str, request: pytest.FixtureRequest) -> Iterator[Browser]:
    """One at each of two window sizes."""
    opened = Browser(browser_path, *request.param)
    yield opened
    opened.close()
