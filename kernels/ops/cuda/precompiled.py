"""Kernels that were compiled beforehand, for machines without nvcc: which file serves a GPU, and is it sound?

A binary is one file, `<architecture>-<sources>-<content>.cubin.xz`: code of one architecture, independent
of the machine's processor, named by hashes of the device code that it was made from and of itself. One that
is damaged, or of other sources, is never loaded. `launch.cu` calls the kernels in it through the driver
(`driver.h`); that file is compiled by the machine's own C++ compiler.

    python -m kernels.ops.cuda.compile_binaries FOLDER      makes one for every architecture that boards have
"""

from __future__ import annotations

import hashlib
import lzma
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

SOURCES = Path(__file__).parent
FOLDER = SOURCES / "binaries"
ARCHITECTURES = ("sm_72", "sm_75", "sm_80", "sm_86", "sm_87", "sm_89", "sm_90")
INTEGRATED = ("sm_72", "sm_87")  # Jetsons: their code and that of other GPUs do not run on each other
_DIGITS = 16
_NAME = re.compile(rf"(sm_\d+)-([0-9a-f]{{{_DIGITS}}})-([0-9a-f]{{{_DIGITS}}})\.cubin\.xz")


@dataclass(frozen=True, slots=True)
class KernelBinary:
    """A file of compiled kernels, by its name."""

    path: Path
    architecture: str
    sources: str
    content: str

    def read(self) -> bytes:
        """The code.

        Raises:
            ValueError: it is damaged, or not of the device code that is here; one line.
        """
        try:
            code = lzma.decompress(self.path.read_bytes())
        except (OSError, lzma.LZMAError) as error:
            raise ValueError(f"{self.path.name}: expected compiled kernels, found {error}") from error
        if digest(code) != self.content:
            raise ValueError(
                f"{self.path.name}: expected content of the hash in its name, found {digest(code)}"
            )
        if self.sources != sources_digest():
            raise ValueError(f"{self.path.name}: made of other device code than is here ({sources_digest()})")
        return code


def digest(content: bytes) -> str:
    """The hash that names a content."""
    return hashlib.sha256(content).hexdigest()[:_DIGITS]


def sources_digest() -> str:
    """The hash of all device code."""
    text = b"\0".join(
        path.name.encode() + b"\0" + path.read_bytes() for path in sorted(SOURCES.glob("*.cuh"))
    )
    return digest(text)


def file_name(architecture: str, code: bytes) -> str:
    """What a binary of this device code is called."""
    return f"{architecture}-{sources_digest()}-{digest(code)}.cubin.xz"


def binaries_in(folder: Path) -> list[KernelBinary]:
    """The binaries of a folder, by their names alone."""
    found = []
    for path in sorted(folder.glob("*.cubin.xz")):
        named = _NAME.fullmatch(path.name)
        if named is not None:
            found.append(KernelBinary(path, *named.groups()))
    return found


def checked_binaries(folder: Path) -> list[Path]:
    """Every binary of a folder, each read and found sound.

    Raises:
        ValueError: there is none, or one is not what its name says.
    """
    found = binaries_in(folder)
    if not found:
        raise ValueError(f"{folder}: expected binaries of kernels (*.cubin.xz), found none")
    for one in found:
        one.read()
    return [one.path for one in found]


def suited(architecture: str, found: Iterable[KernelBinary]) -> list[KernelBinary]:
    """Those that run on an architecture, the closest first.

    Code runs on GPUs of its own major version and the same or a later minor one ("Binary Compatibility" of
    the CUDA C++ Programming Guide), except between Jetsons and other GPUs, and among Jetsons.
    """
    wanted = _capability(architecture)
    exact = [one for one in found if one.architecture == architecture]
    if architecture in INTEGRATED:
        return exact
    older = [
        one
        for one in found
        if one.architecture not in INTEGRATED
        and _capability(one.architecture)[0] == wanted[0]
        and _capability(one.architecture)[1] < wanted[1]
    ]
    return [*exact, *sorted(older, key=lambda one: _capability(one.architecture), reverse=True)]


def binary_for(architecture: str, folder: Path = FOLDER) -> tuple[KernelBinary, bytes]:
    """The binary that serves an architecture, and its code.

    Raises:
        ValueError: there is none that is sound; one line says why each was refused.
    """
    refused = []
    found = binaries_in(folder)
    for one in suited(architecture, found):
        try:
            return one, one.read()
        except ValueError as error:
            refused.append(str(error))
    here = ", ".join(sorted({one.architecture for one in found})) or "none"
    raise ValueError("; ".join(refused) or f"no precompiled kernels run on {architecture} (here: {here})")


def _capability(architecture: str) -> tuple[int, int]:
    digits = architecture.removeprefix("sm_")
    return int(digits[:-1]), int(digits[-1])
