"""Opening parquet files, packed ones too, and the names of their columns."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from traces.bandwidth.formats.compression import compression, read_bytes
from traces.errors import InputError

MAGIC = "PAR1"


def parquet_columns(data: bytes) -> list[str]:
    """The names of the columns, between tabs, as one line; none where the data are no parquet file."""
    if not data.startswith(MAGIC.encode()):
        return []
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return ["\t".join(pq.read_schema(pa.BufferReader(data)).names)]
    except (pa.ArrowException, OSError):
        return []  # it starts like one; whoever reads it says what is wrong


def open_parquet(path: Path, expects: str) -> Any:
    """The file as a `pyarrow.parquet.ParquetFile`.

    Raises:
        InputError: it is none; `expects` says what it should have been.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    if compression(path) is None:
        with path.open("rb") as opened:
            magic = opened.read(len(MAGIC))
        source: Any = path
    else:
        data = read_bytes(path)
        magic, source = data[: len(MAGIC)], pa.BufferReader(data)
    if magic != MAGIC.encode():
        raise InputError(f"{path}: expected {expects}, found no parquet file")
    try:
        return pq.ParquetFile(source)
    except (pa.ArrowException, OSError) as error:
        raise unreadable(path, expects, error) from error


def unreadable(path: Path, expects: str, error: Exception) -> InputError:
    """What to raise where a parquet file cannot be read."""
    found = " ".join(str(error).split())
    return InputError(f"{path}: expected {expects}, found one that cannot be read ({found})")
