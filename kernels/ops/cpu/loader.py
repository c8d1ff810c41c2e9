"""Builds the C++ sources beside this file at first use, and loads them through ctypes.

The library has a plain C interface and knows nothing of torch or Python: building takes seconds, and the same
source serves every version of both. It is cached under `~/.cache/fluxshard` (or `FLUXSHARD_CACHE`) in a file
named by a hash of the sources, the compiler's version, the flags and this machine's processor.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

SOURCES = Path(__file__).parent
# Not -ffast-math: a NaN must stay one, and sums must keep their order.
FLAGS = ("-O3", "-march=native", "-std=c++17", "-fno-math-errno", "-ffp-contract=fast", "-fPIC", "-shared")
COMPILERS = ("g++", "clang++", "c++")


class BuildError(RuntimeError):
    """The library could not be built: the message says what was tried."""


def compiler() -> str | None:
    """The C++ compiler to use: `CXX` if set, else the first of g++, clang++ and c++ that is installed."""
    candidates = (os.environ["CXX"],) if os.environ.get("CXX") else COMPILERS
    return next((found for name in candidates if (found := shutil.which(name))), None)


def cache_folder() -> Path:
    """Where built libraries are kept: `FLUXSHARD_CACHE`, or fluxshard in the user's cache folder."""
    chosen = os.environ.get("FLUXSHARD_CACHE")
    if chosen:
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fluxshard"


def processor() -> str:
    """What -march=native depends on: the machine's name and, on Linux, its processor's flags."""
    description = platform.machine() + platform.processor()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return description
    wanted = ("model name", "flags", "Features", "CPU part")
    return description + "".join(dict.fromkeys(line for line in lines if line.startswith(wanted)))


@cache
def library() -> ctypes.CDLL:
    """The library, built if it is not yet in the cache.

    Raises:
        BuildError: no compiler, or it failed; the message has its first lines.
    """
    path = compiler()
    if path is None:
        asked = os.environ.get("CXX")
        tried = f"CXX={asked}" if asked else ", ".join(COMPILERS)
        raise BuildError(f"no C++ compiler found (tried {tried}): install g++ or set CXX")
    version = subprocess.run([path, "--version"], capture_output=True, text=True, check=False).stdout
    files = sorted(SOURCES.glob("*.cpp"))
    digest = hashlib.sha256("\0".join((version, *FLAGS, processor())).encode())
    for file in (*files, *sorted(SOURCES.glob("*.h"))):
        digest.update(file.read_bytes())
    target = cache_folder() / f"cpu-{digest.hexdigest()[:16]}.so"
    if not target.exists():
        _build(path, files, target)
    loaded = ctypes.CDLL(str(target))
    for name in _FUNCTIONS:
        getattr(loaded, name).restype = None
    return loaded


def _build(path: str, files: list[Path], target: Path) -> None:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        # Built aside and renamed: another process may be building or loading the same file.
        handle, temporary = tempfile.mkstemp(suffix=".so", dir=target.parent)
    except OSError as error:
        raise BuildError(
            f"cannot write to the cache {target.parent} (set FLUXSHARD_CACHE): {error}"
        ) from error
    os.close(handle)
    command = [path, *FLAGS, *map(str, files), "-o", temporary]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        Path(temporary).unlink()
        first = "\n".join(done.stderr.strip().splitlines()[:5])
        raise BuildError(f"{path} failed with exit code {done.returncode}:\n{first}")
    Path(temporary).replace(target)


_FUNCTIONS = (
    "fluxshard_convolve",
    "fluxshard_program",
    "fluxshard_gather",
    "fluxshard_interleave",
    "fluxshard_scatter",
    "fluxshard_remap",
    "fluxshard_remap_bilinear",
    "fluxshard_prune",
    "fluxshard_truncate",
    "fluxshard_pointwise",
    "fluxshard_pool",
    "fluxshard_upsample_nearest",
    "fluxshard_upsample_bilinear",
)
