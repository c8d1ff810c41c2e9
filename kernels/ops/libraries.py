"""Libraries that are compiled at first use and kept for the next process.

A library's file is named `<name>-<what>-<compiler>-<content>.so`: hashes of what it is made from (sources,
flags, and the machine it is made for), of the compiler's version, and of the file itself. So a library that
is damaged is never loaded, one of other sources never found, and where there is no compiler any whole library
of the same sources, flags and machine will do, whoever compiled it.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from conf.search_path import cache_folder

_DIGITS = 16  # of each hash in a name


class BuildError(RuntimeError):
    """There is no library, or it cannot be loaded: the message says what was tried."""


@dataclass(frozen=True, slots=True)
class BuildRecipe:
    """What a library is built from.

    Attributes:
        name: first part of its file's name.
        files: what the compiler is given.
        sources: everything that goes into them, headers included.
        flags: of the compiler.
        includes: folders of headers; where they are says nothing about what is made.
        machine: what else the result depends on.
        apart: whether each file is compiled by itself, all at once, and then linked: the same code, sooner.
    """

    name: str
    files: Sequence[Path]
    sources: Iterable[Path]
    flags: Sequence[str]
    includes: Sequence[Path] = ()
    machine: str = ""
    apart: bool = False

    def stem(self) -> str:
        """The parts of a file's name that do not depend on the compiler."""
        digest = hashlib.sha256("\0".join((*self.flags, self.machine)).encode())
        for source in sorted(self.sources):
            digest.update(b"\0" + source.name.encode() + b"\0" + source.read_bytes())
        return f"{self.name}-{digest.hexdigest()[:_DIGITS]}"


def obtain(recipe: BuildRecipe, compiler: str | None, missing: str) -> Path:
    """The library of a recipe: from the cache, or made now.

    Args:
        recipe: what to make.
        compiler: its path; None where there is none.
        missing: what to say if there is neither a compiler nor a library in the cache.

    Raises:
        BuildError: `missing`; the compiler failed, with its first lines; the cache cannot be written.
    """
    stem = recipe.stem()
    if compiler is None:
        kept = _whole(f"{stem}-*")
        if kept is None:
            raise BuildError(missing)
        return kept
    stem = f"{stem}-{hashlib.sha256(_version(compiler).encode()).hexdigest()[:_DIGITS]}"
    kept = _whole(f"{stem}-*")
    if kept is not None:
        return kept
    with _alone():  # processes that start together need the same: one makes it, the others take it
        return _whole(f"{stem}-*") or _build(recipe, compiler, stem)


def load(path: Path) -> ctypes.CDLL:
    """Load a library.

    Raises:
        BuildError: the system refuses it, as from a folder that nothing may be executed in.
    """
    try:
        return ctypes.CDLL(str(path))
    except OSError as error:
        raise BuildError(f"cannot load {path} (FLUXSHARD_CACHE names another folder): {error}") from error


@contextmanager
def _alone() -> Iterator[None]:
    """Wait until no other process makes a library in the cache; where folders cannot be locked, do not wait.

    Without the lock a library is made twice, and is as whole: it only costs time. The lock is the folder's
    own and ends with its holder, so that nothing is left to clear away.
    """
    cache = cache_folder()
    try:
        import fcntl
    except ImportError:  # not on Windows
        yield
        return
    try:
        cache.mkdir(parents=True, exist_ok=True)
        folder = os.open(cache, os.O_RDONLY)
    except OSError:  # what writes there says why it cannot
        yield
        return
    try:
        with suppress(OSError):
            fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def _whole(pattern: str) -> Path | None:
    """The first file of the cache with such a name whose content is what its name says."""
    for path in sorted(cache_folder().glob(f"{pattern}.so")):
        try:
            content = path.read_bytes()
        except OSError:  # taken away since, or not for us to read
            continue
        if path.stem.endswith(f"-{_hash(content)}"):
            return path
    return None


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:_DIGITS]


def _version(compiler: str) -> str:
    try:
        done = subprocess.run([compiler, "--version"], capture_output=True, text=True, check=False)
    except OSError as error:
        raise BuildError(f"{compiler} does not run: {error}") from error
    return done.stdout


def _build(recipe: BuildRecipe, compiler: str, stem: str) -> Path:
    cache = cache_folder()
    try:
        cache.mkdir(parents=True, exist_ok=True)
        # Made aside and renamed: another process may be making or loading the same library. The file has the
        # permissions that the compiler gives it, by the user's mask: a shared cache is one to read.
        with tempfile.TemporaryDirectory(prefix=".building-", dir=cache) as aside:
            made = Path(aside) / f"{recipe.name}.so"
            includes = [f"-I{folder}" for folder in recipe.includes]
            command = [compiler, *includes, *recipe.flags]
            files = list(recipe.files)
            if recipe.apart:
                objects = [Path(aside) / f"{place}.o" for place in range(len(files))]
                with ThreadPoolExecutor(os.cpu_count()) as pool:
                    made_each = pool.map(
                        partial(_compile, command), ([file, "-c"] for file in files), objects
                    )
                    list(made_each)  # raises what one of them has
                files = objects
            _compile(command, files, made)
            return made.replace(cache / f"{stem}-{_hash(made.read_bytes())}.so")
    except OSError as error:
        raise BuildError(f"cannot write to the cache {cache} (set FLUXSHARD_CACHE): {error}") from error


def _compile(command: Sequence[str], rest: Sequence[str | Path], made: Path) -> None:
    """Run a compiler; it has to leave a file.

    Raises:
        BuildError: it did not, with the first lines of what it said.
    """
    done = subprocess.run(
        [*command, *map(str, rest), "-o", str(made)], capture_output=True, text=True, check=False
    )
    if done.returncode != 0 or not made.exists():
        first = "\n".join((done.stderr or done.stdout).strip().splitlines()[:5])
        raise BuildError(f"{command[0]} failed with exit code {done.returncode}:\n{first}")
