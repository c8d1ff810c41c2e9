"""Raw samples of a profiling run: one row a measurement, in a Parquet file with its metadata.

The columns are ``op`` (``dense``, ``sparse``, ``extract``, ``encode``, ``layer:<name>``, ``margin:<px>``:
sparse with a margin around k given blocks), ``k`` (null where it has no meaning), ``mask`` (``random``,
``clustered``, ``recorded``; null likewise), ``repeat`` and ``seconds``. What was measured, on what and how,
is JSON under the key ``fluxshard`` of the file's schema metadata.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from profiler.fit.least_squares import FloatArray
from profiler.latency.files import whole_file
from traces.errors import InputError

COLUMNS = ("op", "k", "mask", "repeat", "seconds")
OPS = ("dense", "sparse", "extract", "encode")
LAYER, MARGIN = "layer:", "margin:"
MASKS = ("random", "clustered", "recorded")
META_KEY = b"fluxshard"


class Sample(NamedTuple):
    """One measurement."""

    op: str
    k: int | None
    mask: str | None
    repeat: int
    seconds: float


@dataclass(frozen=True, slots=True)
class SampleTable:
    """Columns of a samples file, and its meta (empty for a file made elsewhere).

    ``op`` and ``mask`` are (n,) object arrays, ``k`` (n,) with NaN for null, ``seconds`` (n,).
    """

    op: NDArray[np.object_]
    k: FloatArray
    mask: NDArray[np.object_]
    repeat: NDArray[np.int64]
    seconds: FloatArray
    meta: Mapping[str, Any] = field(default_factory=dict)
    where: str = "samples"

    def seconds_of(self, op: str) -> FloatArray:
        """(m,) times of one operation."""
        chosen: FloatArray = self.seconds[self.op == op]
        return chosen

    def curve(self, op: str = "sparse", masks: Sequence[str] | None = None) -> tuple[FloatArray, FloatArray]:
        """(m,) k and (m,) seconds of an operation that depends on k, for some kinds of active set or all."""
        chosen = (self.op == op) & ~np.isnan(self.k)
        if masks is not None:
            chosen &= np.isin(self.mask.astype(str), masks)
        return self.k[chosen], self.seconds[chosen]

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the measured layers in the order in which they first appear."""
        found = dict.fromkeys(one for one in self.op if one.startswith("layer:"))
        return tuple(one.removeprefix("layer:") for one in found)


def write_samples(path: Path | str, rows: Sequence[Sample], meta: Mapping[str, Any]) -> None:
    """Write samples and meta; the file appears whole or not at all.

    Raises:
        InputError: the place cannot be written to.
    """
    import pyarrow as pa
    import pyarrow.parquet as parquet

    types = (pa.string(), pa.int64(), pa.string(), pa.int64(), pa.float64())
    columns = zip(*rows, strict=True) if rows else ((),) * len(COLUMNS)
    arrays = [pa.array(list(column), type=kind) for column, kind in zip(columns, types, strict=True)]
    table = pa.Table.from_arrays(arrays, names=list(COLUMNS))
    table = table.replace_schema_metadata({META_KEY: json.dumps(meta, sort_keys=True)})
    with whole_file(path) as part:
        parquet.write_table(table, part, compression="zstd")


def read_samples(path: Path | str) -> SampleTable:
    """Read and check a samples file.

    Raises:
        InputError: not a Parquet file, a column missing or of another type, an unknown ``op`` or ``mask``,
            a time that is not above 0 and finite, or a sparse or encode row without its k.
    """
    import pyarrow as pa
    import pyarrow.parquet as parquet

    path = Path(path)
    try:
        table = parquet.read_table(path)
    except (OSError, pa.ArrowException) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{path}: expected samples in Parquet, found {reason}") from error
    missing = [name for name in COLUMNS if name not in table.column_names]
    if missing:
        raise InputError(f"{path}: expected the columns {list(COLUMNS)}, found no {missing[0]!r}")
    raw_meta = (table.schema.metadata or {}).get(META_KEY)
    try:
        meta = json.loads(raw_meta) if raw_meta else {}
        numbers = {
            name: table.column(name).cast(pa.float64()).to_numpy() for name in ("k", "repeat", "seconds")
        }
    except (pa.ArrowException, json.JSONDecodeError) as error:
        raise InputError(f"{path}: expected numbers in k, repeat and seconds, found {error}") from error
    op = np.array(table.column("op").to_pylist(), dtype=object)
    mask = np.array(table.column("mask").to_pylist(), dtype=object)
    samples = SampleTable(
        op=op,
        k=numbers["k"],
        mask=mask,
        repeat=np.nan_to_num(numbers["repeat"]).astype(np.int64),
        seconds=numbers["seconds"],
        meta=meta,
        where=str(path),
    )
    _check(samples)
    return samples


def _check(samples: SampleTable) -> None:
    if not len(samples.op):
        raise InputError(f"{samples.where}: expected samples, found none")
    known_op = np.array([one in OPS or str(one).startswith((LAYER, MARGIN)) for one in samples.op])
    known_mask = np.array([one is None or one in MASKS for one in samples.mask])
    needs_k = np.array([one in ("sparse", "encode") or str(one).startswith(MARGIN) for one in samples.op])
    checks = (
        ("op", known_op, f"one of {[*OPS, 'layer:<name>', 'margin:<px>']}", samples.op),
        ("mask", known_mask, f"one of {list(MASKS)} or null", samples.mask),
        (
            "seconds",
            np.isfinite(samples.seconds) & (samples.seconds > 0),
            "a time above 0 (seconds)",
            samples.seconds,
        ),
        (
            "k",
            (~needs_k | (samples.k >= 0)) & ~np.isinf(samples.k),
            "a block count ≥ 0 for sparse, encode and margin",
            samples.k,
        ),
    )
    for column, sound, expected, values in checks:
        if not sound.all():
            row = int(np.flatnonzero(~sound)[0])
            raise InputError(
                f"{samples.where}: row {row}: {column}: expected {expected}, found {values[row]}"
                f" ({int((~sound).sum())} such rows)"
            )


def rows_of(samples: SampleTable) -> list[Sample]:
    """The rows of a file, for a resumed run to continue."""
    return [
        Sample(
            str(op), None if np.isnan(k) else int(k), None if mask is None else str(mask), int(r), float(s)
        )
        for op, k, mask, r, s in zip(
            samples.op, samples.k, samples.mask, samples.repeat, samples.seconds, strict=True
        )
    ]
