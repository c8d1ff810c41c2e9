"""A folder of values by key, which any number of processes may use at once.

Each value is a file: its content's hash, then the content. It is written aside and renamed, so that a reader
sees all of it or nothing; one that was cut or changed since does not match its hash and counts as not there.
What was used least recently goes first when the folder grows past its bound. Nothing about it may end a run:
where the folder cannot be written, that is said once and results are computed each time.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
import time
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from conf.search_path import cache_folder
from sim.shared_work.fingerprint import digest
from traces.notices import warn_once

MAGIC = b"FLUXSHARD1"
_HEAD = len(MAGIC) + 32
_DISK_BLOCK = 4096  # what a small file takes at least
_ROOM = 0.9  # of the bound is left used after something had to go
_STEPS = 32  # the folder is looked over each time this process has written a 32nd of the bound
_FORGOTTEN_S = 3600.0  # age of a file that a process cannot be writing any more
_PART = ".part-"
IMAGES = 6  # of one frame: as captured, as decoded, what either side has


class SharedWork(Protocol):
    """Values by key."""

    @property
    def kept(self) -> bool:
        """Whether anything is: else no key needs to be made."""

    def get(self, key: str) -> bytes | None:
        """The value of a key, a hexadecimal hash; None: not known."""

    def put(self, key: str, value: bytes) -> None:
        """Keep a value."""

    def key_of(self, image: NDArray[np.uint8]) -> str:
        """A key of an image's content. The image must not be changed afterwards."""


@dataclass(frozen=True, slots=True)
class NothingKept:
    """Knows nothing and keeps nothing."""

    kept: bool = False

    def get(self, key: str) -> bytes | None:
        return None

    def put(self, key: str, value: bytes) -> None:
        return None

    def key_of(self, image: NDArray[np.uint8]) -> str:
        return ""


NOTHING_KEPT = NothingKept()


@dataclass(slots=True, eq=False)
class Store:
    """Values in a folder.

    Args:
        folder: made when the first value is kept.
        max_bytes: how much the folder may hold, disk blocks counted. Processes that write at once may pass
            it by what each writes between two looks, a 32nd of it.
    """

    folder: Path
    max_bytes: int
    kept: bool = True
    _unlooked: float = field(default=float("inf"))  # bytes written since the folder was looked over
    _writable: bool = True
    _known: deque[tuple[NDArray[np.uint8], str]] = field(default_factory=lambda: deque(maxlen=IMAGES))

    def get(self, key: str) -> bytes | None:
        path = self._path(key)
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            warn_once(f"cache: cannot read {self.folder} ({error.strerror}): results are computed anew")
            return None
        value = content[_HEAD:]
        if content[:_HEAD] != MAGIC + hashlib.sha256(value).digest():
            return None
        with contextlib.suppress(OSError):  # a folder that may only be read serves as well
            os.utime(path)
        return value

    def put(self, key: str, value: bytes) -> None:
        size = _on_disk(_HEAD + len(value))
        if not self._writable or size > self.max_bytes * (1 - _ROOM):
            return
        path = self._path(key)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._unlooked += size
            if self._unlooked > self.max_bytes / _STEPS:
                self._look_over(self.max_bytes - size)
                self._unlooked = 0.0
            handle, aside = tempfile.mkstemp(prefix=_PART, dir=self.folder)
            try:
                with os.fdopen(handle, "wb") as file:
                    file.write(MAGIC + hashlib.sha256(value).digest() + value)
                Path(aside).replace(path)
            except BaseException:
                with contextlib.suppress(OSError):
                    Path(aside).unlink()
                raise
        except OSError as error:
            self._writable = False
            warn_once(
                f"cache: cannot write to {self.folder} ({error.strerror}): what is computed is not kept "
                "for other runs"
            )

    def key_of(self, image: NDArray[np.uint8]) -> str:
        for known, key in self._known:
            if known is image:
                return key
        made = digest(image)
        self._known.append((image, made))
        return made

    def _path(self, key: str) -> Path:
        return self.folder / key[:2] / key[2:]

    def _look_over(self, allowed: float) -> None:
        """Delete what was used least recently until a tenth of the bound is free, if the bound is passed."""
        found: list[tuple[float, int, str]] = []
        now_s = time.time()
        for entry in _files(self.folder):
            with contextlib.suppress(FileNotFoundError):  # another process was first
                status = entry.stat()
                if not entry.name.startswith(_PART):
                    found.append((status.st_mtime, _on_disk(status.st_size), entry.path))
                elif now_s - status.st_mtime > _FORGOTTEN_S:
                    Path(entry.path).unlink()
        total = sum(size for _, size, _ in found)
        if total <= allowed:
            return
        for _, size, path in sorted(found):
            with contextlib.suppress(FileNotFoundError):
                Path(path).unlink()
            total -= size
            if total <= allowed * _ROOM:
                return


def _files(folder: Path) -> list[os.DirEntry[str]]:
    """The files of a folder and of the folders in it."""
    files = []
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                with os.scandir(entry.path) as inner:
                    files += [found for found in inner if found.is_file(follow_symlinks=False)]
            else:
                files.append(entry)
    return files


def _on_disk(size_bytes: int) -> int:
    return -(-size_bytes // _DISK_BLOCK) * _DISK_BLOCK


def open_store(enabled: bool, max_bytes: int) -> SharedWork:
    """What a run shares with others: the folder `results` of the project's cache, or nothing."""
    return Store(cache_folder() / "results", max_bytes) if enabled else NOTHING_KEPT
