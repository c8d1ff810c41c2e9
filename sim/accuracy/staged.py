"""A network that is cut between edge and cloud and may be left early, as systems see it.

Features are real tensors: what crosses a cut is encoded and decoded, and the far side goes on from what
arrived. How long that takes is the world's business. Unlike :mod:`sim.accuracy.network` nothing is put off,
since a system decides by what an exit says and by how many bytes a message has.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from profiler.latency import Cut
from sim.accuracy.network import Image
from traces.errors import InputError

if TYPE_CHECKING:
    from kernels.models.exit_tables import ExitTables


@dataclass(frozen=True, slots=True)
class ExitAnswer:
    """What an exit says about a frame.

    Args:
        result: packed, as the whole network's would be.
        confidence: how sure it is, in [0, 1].
        embedding: (channels, rows, columns) float32, what its classes are told apart by.
    """

    result: bytes
    confidence: float
    embedding: NDArray[np.float32]


class StagedFrame(Protocol):
    """One frame on its way through the network, on one side."""

    @property
    def at(self) -> str:
        """The stage that it has left last."""

    def advance(self, until: str) -> None:
        """Compute the stages up to and with `until`."""

    def exit(self) -> ExitAnswer:
        """The answer of the exit behind this stage."""

    def message(self, bits: int) -> bytes:
        """All maps that the other side needs to go on, quantised and compressed."""

    def result(self) -> bytes:
        """The packed result, after the last stage."""


class StagedInLoop(Protocol):
    """The network that runs, cut into stages.

    Attributes:
        cuts: after each stage, from the input to the output, in order; shares are of its arithmetic.
        heads: the stages with an exit, in order, and its head's arithmetic over that of the whole network,
            which does not hold heads.
        tables: what is known of exits and cuts beforehand.
        classes: how many a result tells apart, background included.
    """

    @property
    def cuts(self) -> tuple[Cut, ...]: ...

    @property
    def heads(self) -> Mapping[str, float]: ...

    @property
    def tables(self) -> ExitTables: ...

    @property
    def classes(self) -> int: ...

    def start(self, image: Image) -> StagedFrame:
        """A frame at the input."""

    def receive(self, data: bytes, after: str, bits: int) -> StagedFrame:
        """A frame from what another side has sent after a stage."""

    def result_of(self, scores: NDArray[np.float32]) -> bytes:
        """The packed result of scores (classes, rows, columns): of each position the class with the most."""

    def classes_of(self, result: bytes, rows: int, columns: int) -> NDArray[np.uint8]:
        """The class at the middle of each of rows × columns cells of a packed result."""


def no_stages() -> StagedInLoop:
    """What stands for a staged network where none runs.

    Raises:
        InputError: always.
    """
    raise InputError(
        "system.variant: expected a network that runs, whose exits and features can be measured "
        "(accuracy=measured, video with pixels), found accuracy by coverage"
    )
