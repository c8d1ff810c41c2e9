"""The bytes of a trace file, unpacked where it starts as gzip, bzip2 or xz files do, whatever its name."""

from __future__ import annotations

import bz2
import gzip
import lzma
import zlib
from pathlib import Path

from traces.errors import InputError

MAX_BYTES = 1 << 31  # of a file that is unpacked: a few kilobytes may stand for more than there is memory
_MAGIC = {b"\x1f\x8b\x08": "gzip", b"BZh": "bzip2", b"\xfd7zXZ\x00": "xz"}
_BZIP2_BLOCK = (b"1AY&SY", b"\x17rE8P\x90")  # after BZh and a digit, which alone might begin a text


def read_bytes(path: Path) -> bytes:
    """What the file holds, unpacked.

    Raises:
        InputError: no such file, a folder, an empty file, or a packed one that is damaged or too large.
    """
    if not path.is_file():
        found = "it is a folder" if path.is_dir() else "there is none"
        raise InputError(f"{path}: expected a trace file, found that {found}")
    kind = compression(path)
    data = path.read_bytes() if kind is None else _unpacked(path, kind)
    if not data.strip():
        raise InputError(f"{path}: expected a trace, found an empty file")
    return data


def compression(path: Path) -> str | None:
    """What packed the file: "gzip", "bzip2", "xz" or None."""
    with path.open("rb") as file:
        start = file.read(10)
    kind = next((name for magic, name in _MAGIC.items() if start.startswith(magic)), None)
    return None if kind == "bzip2" and start[4:] not in _BZIP2_BLOCK else kind


def _unpacked(path: Path, kind: str) -> bytes:
    try:
        with _opened(path, kind) as file:
            data = file.read(MAX_BYTES + 1)
    except (OSError, EOFError, zlib.error, lzma.LZMAError) as error:
        raise InputError(f"{path}: expected a whole {kind} file, found a damaged one ({error})") from error
    if len(data) > MAX_BYTES:
        raise InputError(f"{path}: expected at most {MAX_BYTES:.1e} bytes after {kind}, found more")
    return data


def _opened(path: Path, kind: str) -> gzip.GzipFile | bz2.BZ2File | lzma.LZMAFile:
    if kind == "gzip":
        return gzip.open(path)
    return bz2.open(path) if kind == "bzip2" else lzma.open(path)
