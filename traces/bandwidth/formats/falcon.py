"""FALCON's control-channel log: tab-separated, no header, one row a grant, block sizes included.

Columns: timestamp [s], sfn, subframe, rnti, direction (1 downlink, 0 uplink), mcs_idx, nof_prb, tbs_sum
[bit], tbs_0, tbs_1, format, ndi, ndi_1, harq_idx, ncce, L, cfi, histval, nof_bits, hex. Falkenberg and
Wietfeld, "FALCON: An Accurate Real-Time Monitor for Client-Based Mobile Network Data Analytics", IEEE
GLOBECOM 2019. Retransmissions (mcs_idx 29 to 31) carry no new bits. For what the result means, see
traces.bandwidth.formats.lte_grants.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from traces.bandwidth.formats.lte_grants import DIRECTION_CODE, opportunities_from_grants
from traces.bandwidth.formats.parsing import (
    is_number,
    is_unsigned_integer,
    mostly,
    numbered_rows,
    parse_number,
    read_text,
    shorten,
)
from traces.bandwidth.formats.transport_block import (
    FIRST_RETRANSMISSION_MCS,
    MAX_MCS,
    MAX_PRB,
    transport_block_bits,
)
from traces.bandwidth.trace import OpportunityTrace
from traces.errors import InputError

LEAST_COLUMNS = 8


@dataclass(frozen=True, slots=True)
class TransportBlockCheck:
    """The transport-block rule against the sizes that a log gives.

    rows: single-block grants that are no retransmission; exact_ratio: share the rule meets exactly;
    mean_error, worst_error: of |rule / log - 1|; total_error: rule over log in summed bits, minus 1.
    """

    rows: int
    exact_ratio: float
    mean_error: float
    worst_error: float
    total_error: float


class Falcon:
    """The log of an LTE control channel, block sizes included (a `TraceFormat`)."""

    name = "falcon"
    expects = (
        "tab-separated rows of timestamp [s], sfn, subframe, rnti, direction (0 uplink, 1 downlink), "
        "mcs_idx, nof_prb, tbs_sum [bit], ..."
    )

    @dataclass(frozen=True, slots=True)
    class Options:
        """This format has no options."""

    def __init__(self, options: Options) -> None:
        self.options = options

    def matches(self, sample_lines: list[str]) -> bool:
        """Whether the sampled lines have FALCON's columns."""
        return mostly(sample_lines, _has_shape)

    def read(self, path: Path, direction: str = "uplink", column: str | None = None) -> OpportunityTrace:
        """Read one direction of a FALCON log.

        Raises:
            InputError: a row that does not fit the columns, times that go back, or no grant in that
                direction.
        """
        lines, timestamps_s, grants = _read(path, direction)
        if not lines.size:
            raise InputError(
                f"{path}: expected {direction} rows (direction = {DIRECTION_CODE[direction]}), found none"
            )
        bits = np.where(grants[:, 0] < FIRST_RETRANSMISSION_MCS, grants[:, 2], 0)
        return opportunities_from_grants(path, direction, lines, "line", timestamps_s, bits)


def check_transport_blocks(path: Path, direction: str = "uplink") -> TransportBlockCheck:
    """Compare `transport_block_bits` with the sizes in a log, over grants of one transport block.

    Raises:
        InputError: as for `Falcon.read`, or no grant to compare.
    """
    _lines, _stamps_s, grants = _read(path, direction)
    comparable = (grants[:, 0] < FIRST_RETRANSMISSION_MCS) & (grants[:, 2] > 0) & (grants[:, 3] <= 0)
    grants = grants[comparable]
    if not grants.size:
        raise InputError(f"{path}: expected {direction} grants of one transport block, found none")
    rule = transport_block_bits(grants[:, 0], grants[:, 1], uplink=direction == "uplink")
    errors = np.abs(rule / grants[:, 2] - 1.0)
    return TransportBlockCheck(
        rows=len(grants),
        exact_ratio=float((errors == 0).mean()),
        mean_error=float(errors.mean()),
        worst_error=float(errors.max()),
        total_error=float(rule.sum() / grants[:, 2].sum() - 1.0),
    )


def _has_shape(line: str) -> bool:
    cells = line.split("\t")
    return (
        len(cells) >= LEAST_COLUMNS
        and is_number(cells[0])
        and all(map(is_unsigned_integer, cells[1:4]))
        and cells[4] in ("0", "1")
    )


def _read(path: Path, direction: str) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.int64]]:
    """(line numbers, stamps [s], (n, 4) of mcs, prb, tbs_sum, tbs_1) of one direction."""
    lines: list[int] = []
    timestamps_s: list[float] = []
    grants: list[tuple[int, int, int, int]] = []
    for line, text in numbered_rows(read_text(path)):
        cells = text.split("\t")
        if len(cells) < LEAST_COLUMNS:
            raise InputError(f"{path}, line {line}: expected {Falcon.expects}, found {shorten(text)!r}")
        code = _whole(cells[4], "direction, 0 or 1", 1, path, line)
        if code != DIRECTION_CODE[direction]:
            continue
        lines.append(line)
        timestamps_s.append(parse_number(cells[0], "a timestamp in seconds", path, line))
        grants.append(
            (
                _whole(cells[5], f"mcs_idx in [0, {MAX_MCS}]", MAX_MCS, path, line),
                _whole(cells[6], f"nof_prb in [0, {MAX_PRB}]", MAX_PRB, path, line),
                _whole(cells[7], "tbs_sum in bits, >= 0", 10**9, path, line),
                int(cells[9]) if len(cells) > 9 and is_unsigned_integer(cells[9]) else 0,
            )
        )
    return np.array(lines, np.int64), np.array(timestamps_s), np.array(grants, np.int64).reshape(-1, 4)


def _whole(cell: str, what: str, highest: int, path: Path, line: int) -> int:
    if not is_unsigned_integer(cell) or int(cell) > highest:
        raise InputError(f"{path}, line {line}: expected {what}, found {shorten(cell)!r}")
    return int(cell)
