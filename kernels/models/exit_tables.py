"""What is known of the default network's exits and cuts before a run: tables beside the weights.

`python -m kernels.bench.exits` measures them: on held-out scenes (0 to 3) what each exit is worth, to be
read; on scenes 100 to 103, which neither training nor a run with a small seed shows, what schedulers may
know: each frame's confidences and agreements, from which any threshold's exit rate and accuracy follow, and
for each cut and precision what features weigh and what quantising them costs.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

FOLDER = Path(__file__).parent / "weights"
HELD_OUT = FOLDER / "exit_heads.csv"
FRAMES = FOLDER / "exit_frames.csv"
PRECISION = FOLDER / "cut_precision.csv"


@dataclass(frozen=True, slots=True)
class Precision:
    """Features at a cut in some number of bits: bytes a value on the wire, and what the result keeps.

    Attributes:
        bytes_per_value: mean over frames, headers included.
        agreement: mean agreement of the final output with that of unquantised features, in [0, 1].
    """

    bytes_per_value: float
    agreement: float


@dataclass(frozen=True, slots=True, eq=False)
class ExitTables:
    """What schedulers may know.

    Attributes:
        exits: stages with an exit, in order.
        confidence, agreement: (frames, exits): of each exit's answer, and with the final output.
        precision: by the stage that the cut lies after, and bits.
    """

    exits: tuple[str, ...]
    confidence: NDArray[np.float64]
    agreement: NDArray[np.float64]
    precision: Mapping[str, Mapping[int, Precision]]

    def fewest_bits(self, cut: str, loss: float) -> int:
        """The fewest bits that cost at most `loss` of agreement, by bisection; the most where none do.

        What bits cost is taken to fall as they grow (the dichotomous search of Gao et al., arXiv 2501.12388).

        Raises:
            KeyError: no such cut.
        """
        known = self.precision[cut]
        low, high = min(known), max(known)
        while low < high:
            middle = (low + high) // 2
            if known[middle].agreement >= 1.0 - loss:
                high = middle
            else:
                low = middle + 1
        return high


@cache
def read_exit_tables(frames: Path = FRAMES, precision: Path = PRECISION) -> ExitTables:
    """The tables that come along."""
    with frames.open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    exits = tuple(name.removeprefix("confidence_") for name in rows[0] if name.startswith("confidence_"))
    confidence, agreement = (
        np.array([[float(row[f"{what}_{name}"]) for name in exits] for row in rows])
        for what in ("confidence", "agreement")
    )
    cuts: dict[str, dict[int, Precision]] = {}
    with precision.open(newline="", encoding="utf-8") as stream:
        for row in csv.DictReader(stream):
            found = Precision(float(row["bytes_per_value"]), float(row["agreement"]))
            cuts.setdefault(row["after"], {})[int(row["bits"])] = found
    return ExitTables(exits, confidence, agreement, cuts)
