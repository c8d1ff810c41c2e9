"""The installed wheel, for every test of the package from outside."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.package.installed import Installed, install


@pytest.fixture(scope="session")
def installed(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """The wheel in an environment of its own; built once."""
    return install(repository, tmp_path_factory.mktemp("wheel"))
