"""Composing the configuration of a run from named choices, for the command and for :func:`sim.run` alike.

Hydra looks names up along the search path of :mod:`conf.search_path`: the given folders, the user's, the
package's. So a YAML of a user's own may also stand in for one of the package of the same name.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_module
from hydra.core.config_search_path import ConfigSearchPath, SearchPathQuery
from hydra.core.global_hydra import GlobalHydra
from hydra.core.plugins import Plugins
from hydra.core.utils import JobRuntime
from hydra.plugins.search_path_plugin import SearchPathPlugin
from hydra.types import RunMode
from hydra.version import VersionBase
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

from conf.search_path import package_folder, search_path
from sim.configuration.sections import NAMED
from traces.errors import InputError

CONFIG, MODULE, VERSION = "config", "conf", "1.3"
_searched: ContextVar[tuple[Path, ...]] = ContextVar("searched", default=())
_one_at_a_time = threading.RLock()  # Hydra's state is the process's


class SearchedFolders(SearchPathPlugin):
    """Has Hydra look into the folders of :func:`searching` before it looks into the package."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Called by Hydra whenever it makes a search path."""
        for folder in _searched.get():
            search_path.prepend("fluxshard", f"file://{folder}", SearchPathQuery(provider="main"))


def folders_beside_package(given: Iterable[Path | str]) -> tuple[Path, ...]:
    """The given folders and the user's, in the order they are searched.

    Raises:
        InputError: a given folder does not exist.
    """
    given = tuple(given)
    for folder in given:
        if not Path(folder).expanduser().is_dir():
            raise InputError(f"--config-dir: expected a folder, found {str(folder)!r}")
    return tuple(folder for folder in search_path(given) if folder != package_folder())


def add_modules(folders: Iterable[Path]) -> list[str]:
    """Let Python find modules in the folders, after all others; returns those that are new to it."""
    new = [text for text in map(str, folders) if text not in sys.path]
    sys.path.extend(new)
    return new


def search_always(folders: tuple[Path, ...]) -> None:
    """Have Hydra and Python search the folders for the rest of this process."""
    Plugins.instance().register(SearchedFolders)
    _searched.set(folders)
    add_modules(folders)


@contextmanager
def searching(folders: tuple[Path, ...]) -> Iterator[None]:
    """Have Hydra and Python search the folders for a while, and leave both as they were.

    Modules found there are forgotten: the next call may search another folder with one of the same name.
    """
    Plugins.instance().register(SearchedFolders)
    token = _searched.set(folders)
    added = add_modules(folders)
    before = set(sys.modules)
    try:
        yield
    finally:
        _searched.reset(token)
        for folder in added:
            sys.path.remove(folder)
        for name in set(sys.modules) - before:
            if _lies_in(sys.modules[name], added):
                del sys.modules[name]


def _lies_in(module: Any, folders: Iterable[str]) -> bool:
    file = getattr(module, "__file__", None)
    places = [file] if isinstance(file, str) else [str(one) for one in getattr(module, "__path__", ())]
    return any(Path(place).is_relative_to(folder) for place in places for folder in folders)


@contextmanager
def _initialised() -> Iterator[None]:
    """Hydra over the package `conf`; another application's Hydra is as before afterwards."""
    runtime, version = JobRuntime.instance(), VersionBase.instance()
    before = runtime.conf.copy(), version.getbase()
    theirs, GlobalHydra.instance().hydra = GlobalHydra.instance().hydra, None
    try:
        with initialize_config_module(MODULE, job_name="sim", version_base=VERSION):
            yield
    finally:
        runtime.conf, version.version_base = before
        GlobalHydra.instance().hydra = theirs


def compose_run(overrides: Sequence[str]) -> DictConfig:
    """The configuration of one run, with Hydra's own in its section `hydra`.

    Args:
        overrides: as on the command line, ``["trace=low", "frames=40"]``.

    Raises:
        HydraException: an unknown choice or key, or a sweep.
    """
    with _one_at_a_time, _initialised():
        return compose(CONFIG, list(overrides), return_hydra_config=True)


def compose_sweep(overrides: Sequence[str]) -> DictConfig:
    """What the command composes before it sweeps; sweeps may be among the overrides.

    Raises:
        HydraException: an unknown choice or key.
    """
    with _one_at_a_time, _initialised():
        hydra = GlobalHydra.instance().hydra
        assert hydra is not None
        return hydra.compose_config(CONFIG, list(overrides), RunMode.MULTIRUN, validate_sweep_overrides=False)


def option_keys(config: DictConfig, group: str) -> tuple[str, ...]:
    """The keys of a section that are options of what was chosen, sorted."""
    section = config.get(group)
    besides = ("name", "display")
    keys = section.keys() if isinstance(section, DictConfig) else ()
    return tuple(sorted(str(key) for key in keys if key not in besides and not str(key).startswith("_")))


def run_content(config: DictConfig, choices: Mapping[str, Any], folders: Iterable[Path]) -> dict[str, Any]:
    """The plain mappings that a run is made from, all values resolved; `config` is without section `hydra`.

    What is known by its YAML's name gets that name; `config_folders` are `folders`, if there are any.

    Raises:
        InputError: a value is missing or cannot be resolved.
    """
    try:
        content = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    except MissingMandatoryValue as error:
        key = error.full_key
        raise InputError(f"{key}: expected a value, found none; give it as {key}=...") from None
    except OmegaConfBaseException as error:
        problem = str(error).splitlines()[0]
        raise InputError(f"{error.full_key}: expected a value that can be resolved: {problem}") from None
    assert isinstance(content, dict)
    content.pop("experiment", None)
    for name in NAMED:
        if isinstance(content.get(name), dict) and choices.get(name) is not None:
            content[name]["name"] = choices[name]
            content[name].pop("display", None)  # how pictures show it is no part of a run
    if searched := [str(folder) for folder in folders]:
        content["config_folders"] = searched
    return {str(key): value for key, value in content.items()}
