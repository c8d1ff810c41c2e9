"""Packing: the kit's files as one .pyz that Python runs, the same bytes for the same sources."""

from __future__ import annotations

import io
import sys
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

from profiler.kit.contents import kit_files
from profiler.measure.sources import sources_commit
from traces.errors import InputError

DATE = (1980, 1, 1, 0, 0, 0)  # of every file: the earliest that the format knows
SHEBANG = b"#!/usr/bin/env python3\n"


def write_kit(
    path: Path | str,
    *,
    video: str | None = None,
    resolution_px: tuple[int, int] = (640, 640),
    binaries: Path | None = None,
) -> dict[str, bytes]:
    """Pack a kit; returns what is in it.

    Args:
        path: of the file. video: clip or folder whose frames boards are to compute on, at one resolution;
            None: made frames, at any. resolution_px: of the video's frames. binaries: folder of compiled
            kernels (`kernels.ops.cuda.precompiled`); None: none.

    Raises:
        InputError: the video cannot be read, a binary is not what its name says, or the file cannot be
        written.
    """
    extra: dict[str, bytes] = {}
    if video is not None:
        extra["profiler/kit/packed_frames.npz"] = _packed_video(video, resolution_px)
    if binaries is not None:
        from kernels.ops.cuda.precompiled import checked_binaries

        try:
            found = checked_binaries(binaries)
        except ValueError as error:
            raise InputError(f"binaries: {error}") from error
        extra.update({f"kernels/ops/cuda/binaries/{one.name}": one.read_bytes() for one in found})
    files = kit_files(sources_commit(), extra)
    part = Path(f"{path}.part")
    try:
        part.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(archived(files))
        part.chmod(0o755)
        part.replace(path)
    except OSError as error:
        raise InputError(f"out: {path}: expected a path that can be written, found {error}") from error
    return files


def archived(files: Mapping[str, bytes]) -> bytes:
    """An executable zip archive of files.

    Names are sorted, dates fixed, and nothing is compressed: what deflate makes depends on the library that
    does it.
    """
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(files):
            entry = zipfile.ZipInfo(name, DATE)
            entry.external_attr = 0o644 << 16
            entry.create_system = 3  # Unix, wherever it is packed
            archive.writestr(entry, files[name])
    return SHEBANG + buffer.getvalue()


def _packed_video(video: str, resolution_px: tuple[int, int]) -> bytes:
    from profiler.kit.frames import write_pairs
    from profiler.kit.measuring import BLOCK_PX
    from profiler.measure.masks import collect_frame_pairs

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "frames.npz"
        write_pairs(collect_frame_pairs(video, resolution_px, BLOCK_PX), path)
        return path.read_bytes()


if __name__ == "__main__":  # where there is no more than torch and numpy, and no command line of the project
    made = write_kit(sys.argv[1], binaries=Path(sys.argv[2]) if len(sys.argv) > 2 else None)
    print(f"{sys.argv[1]}: {len(made)} files")
