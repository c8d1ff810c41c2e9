"""A run as a call: what the command does, with the results in memory instead of in files."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from traces.errors import InputError

if TYPE_CHECKING:
    from sim.records.summary import RunRecord


def run(
    overrides: Iterable[str] = (), config_dir: Path | str | Sequence[Path | str] | None = None
) -> RunRecord:
    """Run one simulation; writes nothing.

        >>> from sim import run
        >>> run(["trace=low", "frames=40"]).summary["ea_mean"]

    Args:
        overrides: as on the command line: choices (``"trace=low"``) and keys (``"fps=15"``).
        config_dir: one folder or several with YAMLs and modules of your own, laid out as ``conf/`` is; the
            command's ``--config-dir``.

    Returns:
        An object with `summary`, a dict with the keys of summary.json, `frames`, a DataFrame with one row a
        frame, and `cameras`, one with a row a camera.

    Raises:
        InputError: an unknown choice or key, a wrong value, a sweep, or something asked for that is a file.
    """
    from sim.command.hydra_compose import folders_beside_package, searching
    from sim.command.hydra_messages import composed_content
    from sim.command.single_run import run_once

    overrides = [overrides] if isinstance(overrides, str) else list(overrides)
    given = [config_dir] if isinstance(config_dir, (str, Path)) else config_dir or ()
    folders = folders_beside_package(given)
    with searching(folders):
        content = composed_content(overrides, folders)
        for key in ("timeline", "overlay", "inspect"):
            if content.get(key):
                raise InputError(f"{key}: expected false, found true: it is a file, and run() writes none")
        return run_once(content).record
