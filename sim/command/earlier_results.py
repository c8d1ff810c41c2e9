"""What an earlier run left in a folder that is used again: kept aside until the new run has its own results.

A new run with a wrong value, one that fails or one that is interrupted leaves the folder as it found it.
Moving is renaming, so even a killed process loses nothing: the next run in the folder finds what was aside.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from traces.errors import InputError

# What a run writes. The summary, which says that the others are whole, comes first.
FILES = (
    *("summary.json", "frames.parquet", "cameras.csv", "timeline.json", "overlay.mp4", "run.png", "run.log"),
    *("inspection", "traceback.txt", ".hydra"),
)
ASIDE = ".earlier"
_OF_A_SWEEP = ("sweep.json", "multirun.yaml")


class EarlierResults:
    """The earlier results of the one folder that this process's run writes to."""

    def __init__(self) -> None:
        self._folder: Path | None = None

    def set_aside(self, folder: Path) -> None:
        """Keep what a finished run left in the folder, before the new one writes anything there.

        Raises:
            InputError: the folder is a sweep's, or one of its jobs'.
        """
        for place, what in ((folder, "a sweep"), (folder.parent, "a job of a sweep")):
            if any((place / name).exists() for name in _OF_A_SWEEP):
                raise InputError(f"hydra.run.dir: expected a folder of its own, found {what}: {folder}")
        aside = folder / ASIDE
        if aside.is_dir():  # the last run was killed
            if (folder / FILES[0]).exists():
                shutil.rmtree(aside)
            else:
                _bring_back(folder)
        if not (folder / FILES[0]).exists():
            return
        aside.mkdir()
        self._folder = folder
        for name in FILES:
            if (folder / name).exists():
                (folder / name).rename(aside / name)

    def discard(self) -> None:
        """The new run has its results: the earlier ones are no longer needed."""
        if self._folder is not None:
            shutil.rmtree(self._folder / ASIDE)
            self._folder = None

    def restore(self) -> bool:
        """The new run has no results: bring the earlier ones back; whether there were any."""
        folder, self._folder = self._folder, None
        if folder is not None:
            _bring_back(folder)
        return folder is not None


def clear(folder: Path) -> None:
    """Remove what a run that did not finish left in a folder: it would look like the next one's."""
    for path in [folder / name for name in FILES if name != ".hydra"] + list(folder.glob("*.part")):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def _bring_back(folder: Path) -> None:
    clear(folder)
    if (folder / ".hydra").exists() and (folder / ASIDE / ".hydra").exists():
        shutil.rmtree(folder / ".hydra")
    for name in reversed(FILES):
        if (folder / ASIDE / name).exists():
            (folder / ASIDE / name).rename(folder / name)
    (folder / ASIDE).rmdir()


earlier = EarlierResults()
