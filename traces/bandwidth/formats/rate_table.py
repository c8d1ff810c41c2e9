"""Parquet tables of times and rates, as pandas and Arrow write them: `time_s`, `rate_mbps`.

Which column is what, and in what unit, follows from the names as in a csv: see
`traces.bandwidth.formats.columns`. Times are numbers, Arrow timestamps, or texts with dates (ISO 8601); an
index of dates that pandas stored is a time column like any other. A row's rate holds to the next row; rows
with one time count with their mean; the last row holds for the median step. LTE grants in a parquet file are
another format, `madrid`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from traces.bandwidth.formats.columns import ColumnOptions, find_rate_column, find_time_column
from traces.bandwidth.formats.madrid import GRANT_COLUMNS
from traces.bandwidth.formats.parquet_file import MAGIC, open_parquet, unreadable
from traces.bandwidth.formats.parsing import merge_repeats, segments_from_timestamps
from traces.bandwidth.formats.stamps import is_iso_time, iso_times_s
from traces.bandwidth.trace import RateTrace
from traces.errors import InputError

WORD = "row (from 0)"


class Parquet:
    """A parquet file with a column of times and one of rates (a `TraceFormat`)."""

    name = "parquet"
    expects = "a parquet file whose column names say units, such as time_s and rate_mbps"
    Options = ColumnOptions

    def __init__(self, options: ColumnOptions) -> None:
        self.options = options

    def matches(self, sample_lines: list[str]) -> bool:
        """Whether it is a parquet file whose columns are known and tell of no LTE grants."""
        if not sample_lines[0].startswith(MAGIC) or len(sample_lines) == 1:
            return False
        return not any(name in sample_lines[1].split("\t") for name in GRANT_COLUMNS)

    def read(self, path: Path, direction: str = "uplink", column: str | None = None) -> RateTrace:
        """Read a table.

        direction: chooses between rate columns whose names say uplink and downlink; column: names one.

        Raises:
            InputError: no parquet file, no time or rate column with a unit, several without a choice, or a
                row without a finite time and a rate >= 0.
        """
        import pyarrow as pa

        file = open_parquet(path, self.expects)
        try:
            schema = file.schema_arrow
            names = list(schema.names)
            dates = [name for name in names if _holds_dates(file, schema, name)]
            time_index, unit_s = find_time_column(
                str(path), names, lambda index: names[index] in dates, self.options
            )
            rate_index, factor = find_rate_column(
                str(path), names, time_index, direction, column, self.options
            )
            table = file.read(columns=[names[time_index], names[rate_index]])
            times, rates = table.column(names[time_index]), table.column(names[rate_index])
            if unit_s is None:
                stamps_s = _dates_s(path, names[time_index], times)
            else:
                stamps_s = _numbers(path, names[time_index], times) * unit_s
            rates_bps = _numbers(path, names[rate_index], rates) * factor
        except (pa.ArrowException, OSError) as error:
            raise unreadable(path, self.expects, error) from error
        negative = np.flatnonzero(rates_bps < 0)
        if negative.size:
            raise InputError(
                f"{path}, {WORD} {negative[0]}: expected {names[rate_index]} >= 0, found "
                f"{rates_bps[negative[0]] / factor:g}"
            )
        rows, merged_s, merged_bps = merge_repeats(
            list(range(rates_bps.size)), stamps_s.tolist(), rates_bps.tolist()
        )
        times_s, kept_bps, period_s = segments_from_timestamps(
            path, rows, merged_s, merged_bps, lambda i: str(times[rows[i]].as_py()), WORD
        )
        return RateTrace(
            name=path.name, times_s=times_s, rates_bps=kept_bps, period_s=period_s, source=str(path)
        )


def _holds_dates(file: Any, schema: Any, name: str) -> bool:
    """Whether a column holds timestamps, or texts the first of which is a date with a time of day."""
    import pyarrow as pa

    kind = schema.field(name).type
    if pa.types.is_timestamp(kind):
        return True
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
        return False
    first = next(file.iter_batches(batch_size=1, columns=[name]), None)
    return first is not None and len(first) > 0 and is_iso_time(str(first.column(0)[0].as_py()))


def _dates_s(path: Path, name: str, column: Any) -> NDArray[np.float64]:
    """Seconds from the first date to each."""
    import pyarrow as pa

    _refuse_missing(path, name, column)
    if not pa.types.is_timestamp(column.type):
        cells = [str(cell) for cell in column.to_pylist()]
        return np.array(iso_times_s(path, list(range(len(cells))), cells, name, WORD))
    unit_s = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}[column.type.unit]
    ticks = np.asarray(column.cast(pa.int64()).to_numpy())
    return np.asarray((ticks - ticks[:1]) * unit_s, dtype=np.float64)


def _numbers(path: Path, name: str, column: Any) -> NDArray[np.float64]:
    """The column as float64."""
    import pyarrow as pa

    kind = column.type
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)):
        raise InputError(f"{path}: expected {name} as numbers, found {kind}")
    _refuse_missing(path, name, column)
    values = np.asarray(column.cast(pa.float64(), safe=False).to_numpy(), dtype=np.float64)
    wrong = np.flatnonzero(~np.isfinite(values))
    if wrong.size:
        raise InputError(f"{path}, {WORD} {wrong[0]}: expected {name}, finite, found {values[wrong[0]]}")
    return values


def _refuse_missing(path: Path, name: str, column: Any) -> None:
    if column.null_count:
        row = int(np.flatnonzero(np.asarray(column.is_null()))[0])
        raise InputError(f"{path}, {WORD} {row}: expected {name}, found none")
