"""Madrid LTE parquet: one row a grant with timestamp, direction, mcs_idx and nof_prb, no block size.

Fernández Pérez, Fiandrino and Widmer, "Characterizing and Modeling Mobile Networks User Traffic at
Millisecond Level", ACM WiNTECH 2023. The bits of a grant follow from its scheme and width (see
`transport_block_bits`). Rows with a NaN are undecoded and dropped. Retransmissions (mcs_idx 29 to 31) carry
no new bits, but count as time: their millisecond stays silent unless another grant falls into it. Uplink
data flows 4 ms after its grant; that constant shift is left out. For what the result means, see
traces.bandwidth.formats.lte_grants.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from traces.bandwidth.formats.lte_grants import DIRECTION_CODE, opportunities_from_grants
from traces.bandwidth.formats.parquet_file import MAGIC, open_parquet, unreadable
from traces.bandwidth.formats.transport_block import MAX_MCS, MAX_PRB, transport_block_bits
from traces.bandwidth.trace import OpportunityTrace
from traces.errors import InputError

COLUMNS = ("timestamp", "direction", "mcs_idx", "nof_prb")
GRANT_COLUMNS = ("mcs_idx", "nof_prb")  # what only a recording of grants has


class Madrid:
    """A parquet file of LTE grants without block sizes (a `TraceFormat`)."""

    name = "madrid"
    expects = (
        "a parquet file with the columns timestamp (unix s), direction (0 uplink, 1 downlink), mcs_idx, "
        "nof_prb"
    )

    @dataclass(frozen=True, slots=True)
    class Options:
        """This format has no options."""

    def __init__(self, options: Options) -> None:
        self.options = options

    def matches(self, sample_lines: list[str]) -> bool:
        """Whether it is a parquet file and, where its columns are known, one of them tells of grants."""
        if not sample_lines[0].startswith(MAGIC):
            return False
        return len(sample_lines) == 1 or any(name in sample_lines[1].split("\t") for name in GRANT_COLUMNS)

    def read(self, path: Path, direction: str = "uplink", column: str | None = None) -> OpportunityTrace:
        """Read one direction of a Madrid recording.

        Raises:
            InputError: no parquet file, missing columns, timestamps in single precision, values out of range,
                times that go back, or no grant in that direction.
        """
        columns = _read_columns(path)
        timestamps_s, directions, schemes, widths = (columns[name] for name in COLUMNS)
        decoded = (
            np.isfinite(timestamps_s) & np.isfinite(directions) & np.isfinite(schemes) & np.isfinite(widths)
        )
        wanted = decoded & (directions == DIRECTION_CODE[direction])
        if not wanted.any():
            others = int((decoded & (directions != DIRECTION_CODE[direction])).sum())
            raise InputError(
                f"{path}: expected {direction} rows (direction = {DIRECTION_CODE[direction]}), found none "
                f"({others} rows of the other direction, {int((~decoded).sum())} with NaN)"
            )
        rows = np.flatnonzero(wanted)
        for name, values, highest in (("mcs_idx", schemes, MAX_MCS), ("nof_prb", widths, MAX_PRB)):
            wrong = rows[(values[rows] < 0) | (values[rows] > highest) | (values[rows] % 1 != 0)]
            if wrong.size:
                raise InputError(
                    f"{path}, row (from 0) {wrong[0]}: expected {name} as a whole number in [0, {highest}], "
                    f"found {values[wrong[0]]:g}"
                )
        bits = transport_block_bits(
            schemes[rows].astype(np.int64), widths[rows].astype(np.int64), uplink=direction == "uplink"
        )
        return opportunities_from_grants(path, direction, rows, "row (from 0)", timestamps_s[rows], bits)


def _read_columns(path: Path) -> dict[str, NDArray[np.float64]]:
    """The four columns as float64, NaN where undecoded."""
    import pyarrow as pa

    file = open_parquet(path, Madrid.expects)
    try:
        names = file.schema_arrow.names
        missing = [name for name in COLUMNS if name not in names]
        if missing:
            raise InputError(
                f"{path}: expected the columns {', '.join(COLUMNS)}, found no {', '.join(missing)} "
                f"among {', '.join(names)}"
            )
        if file.schema_arrow.field("timestamp").type == pa.float32():
            raise InputError(
                f"{path}: expected timestamp as float64, found float32, too coarse for unix time"
            )
        table = file.read(columns=list(COLUMNS))
        return {
            name: np.asarray(table.column(name).to_numpy(zero_copy_only=False), dtype=np.float64)
            for name in COLUMNS
        }
    except (pa.ArrowException, OSError, TypeError) as error:
        raise unreadable(path, Madrid.expects, error) from error
