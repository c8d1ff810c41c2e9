"""A kit, packed once, and a folder of the packages that a board has."""

from __future__ import annotations

from pathlib import Path

import pytest

from profiler.kit.archive import write_kit
from tests.strategies.board import bare_packages


@pytest.fixture(scope="session")
def kit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("kit") / "fluxshard-kit.pyz"
    write_kit(path)
    return path


@pytest.fixture(scope="session")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return bare_packages(tmp_path_factory.mktemp("packages"))
