"""Names are found along one path, and what is written goes to a checkout or to the user's folders."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from conf import search_path
from conf.search_path import (
    cache_folder,
    find_file,
    group_names,
    keep_numba_cache,
    package_folder,
    user_folder,
    writable_folder,
)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user without any folder or variable of ours."""
    for variable in ("FLUXSHARD_CONFIG", "FLUXSHARD_CACHE", "XDG_CONFIG_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the package lay in site-packages."""
    monkeypatch.setattr(search_path, "checkout_folder", lambda: None)


def write(folder: Path, name: str) -> Path:
    path = folder / "trace" / f"{name}.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("name: mine\n")
    return path


def test_the_first_folder_that_has_a_name_is_the_one(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given, own = home / "given", home / "own"
    monkeypatch.setenv("FLUXSHARD_CONFIG", str(own))
    assert search_path.search_path([given]) == (package_folder(),)  # what does not exist is passed over
    assert find_file("trace", "low", [given]) == package_folder() / "trace" / "low.yaml"
    mine = write(own, "low")
    assert find_file("trace", "low", [given]) == mine
    other = write(given, "low")
    write(given, "alpine")
    assert find_file("trace", "low", [given]) == other
    assert search_path.search_path([given]) == (given, own, package_folder())
    assert {"alpine", "low", "medium"} <= set(group_names("trace", [given]))
    assert find_file("trace", "nothing", [given]) is None


def test_a_checkout_keeps_profiles_and_a_wheel_does_not(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert writable_folder("profile") == package_folder() / "profile"
    monkeypatch.setattr(search_path, "checkout_folder", lambda: None)
    assert writable_folder("profile") == user_folder() / "profile"
    assert home in user_folder().parents
    monkeypatch.setenv("FLUXSHARD_CONFIG", "~/mine")
    assert writable_folder("profile") == home / "mine" / "profile"


def test_the_cache_is_where_it_was_asked_for(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert home in cache_folder().parents
    monkeypatch.setenv("FLUXSHARD_CACHE", str(home / "cache"))
    assert cache_folder() == home / "cache"


@pytest.mark.usefixtures("installed")
def test_compiled_functions_are_kept_in_the_cache(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = SimpleNamespace(CACHE_DIR="")
    monkeypatch.setitem(sys.modules, "numba", SimpleNamespace(config=config))
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(home))
    keep_numba_cache()
    assert config.CACHE_DIR == ""  # somebody has said where
    monkeypatch.setenv("NUMBA_CACHE_DIR", "")
    keep_numba_cache()
    assert Path(config.CACHE_DIR) == cache_folder() / "numba"
