"""Where named YAML files are looked for, and where the project writes what it keeps.

A name such as ``edge=jetson_xavier_nx`` or ``system=mine`` is a file ``<folder>/<group>/<name>.yaml`` in the
first folder of one search path that has it: the folders of the command line (``--config-dir``), then the
user's own folder, then this package. An installed package is never written to: what is measured or built goes
to the user's folders. Only a checkout, which is a working copy, keeps profiles in its own ``conf/``.

This module is a leaf: any package may import it, and it imports none of them.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from pathlib import Path

APPLICATION = "fluxshard"
CONFIG_VARIABLE = "FLUXSHARD_CONFIG"
CACHE_VARIABLE = "FLUXSHARD_CACHE"


def package_folder() -> Path:
    """The groups that come with the package; to be read only."""
    return Path(__file__).resolve().parent


def checkout_folder() -> Path | None:
    """The working copy that this code runs from; None where it runs from an installed wheel."""
    root = package_folder().parent
    return root if (root / "pyproject.toml").is_file() else None


def user_folder() -> Path:
    """The user's own groups, laid out as ``conf/`` is: `FLUXSHARD_CONFIG`, or the system's place for them.

    It need not exist.
    """
    chosen = os.environ.get(CONFIG_VARIABLE)
    if chosen:
        return Path(chosen).expanduser().resolve()
    from platformdirs import user_config_dir

    return Path(user_config_dir(APPLICATION, False))


def cache_folder() -> Path:
    """Built libraries and downloads: `FLUXSHARD_CACHE`, or the system's place for caches.

    It need not exist.
    """
    chosen = os.environ.get(CACHE_VARIABLE)
    if chosen:
        return Path(chosen)
    try:
        from platformdirs import user_cache_dir
    except ModuleNotFoundError:  # GPU benchmarks run where there is no more than torch and numpy
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / APPLICATION
    return Path(user_cache_dir(APPLICATION, False))


def search_path(extra: Iterable[Path | str] = ()) -> tuple[Path, ...]:
    """The folders that exist, in the order they are searched: `extra`, the user's, the package's.

    Args:
        extra: folders laid out as ``conf/`` is, of a command line or a caller; the first comes first.
    """
    folders = [*(Path(folder).expanduser().resolve() for folder in extra), user_folder(), package_folder()]
    return tuple(dict.fromkeys(folder for folder in folders if folder.is_dir()))


def group_folders(group: str, extra: Iterable[Path | str] = ()) -> tuple[Path, ...]:
    """The folders of one group (``"profile"``, ``"system"``) along the search path, as far as they exist."""
    folders = (folder / group for folder in search_path(extra))
    return tuple(folder for folder in folders if folder.is_dir())


def find_file(group: str, name: str, extra: Iterable[Path | str] = ()) -> Path | None:
    """The file of a name, ``<folder>/<group>/<name>.yaml``, from the first folder that has it, or None."""
    for folder in group_folders(group, extra):
        path = folder / f"{name}.yaml"
        if path.is_file():
            return path
    return None


def group_names(group: str, extra: Iterable[Path | str] = ()) -> tuple[str, ...]:
    """Every name of a group along the search path, sorted."""
    return tuple(
        sorted({path.stem for folder in group_folders(group, extra) for path in folder.glob("*.yaml")})
    )


def writable_folder(group: str) -> Path:
    """Where new files of a group go: the checkout's ``conf/<group>``, else the user's. It need not exist."""
    return (package_folder() if checkout_folder() is not None else user_folder()) / group


def keep_numba_cache() -> None:
    """Outside a checkout, have Numba keep what it compiles in the user's cache (or in `NUMBA_CACHE_DIR`).

    It would keep it beside the sources, that is inside an installed package. To be called before Numba is
    imported, which reads the variable then.
    """
    if checkout_folder() is not None or os.environ.get("NUMBA_CACHE_DIR"):
        return
    os.environ["NUMBA_CACHE_DIR"] = str(cache_folder() / "numba")
    if "numba" in sys.modules:  # somebody else's import came first
        sys.modules["numba"].config.CACHE_DIR = os.environ["NUMBA_CACHE_DIR"]
