"""What the systems of one camera compute with, and the truth that their results are compared with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sim.accuracy.network import Image
from sim.accuracy.steps import Step, Steps
from sim.world.frame import Frame


@dataclass(slots=True, eq=False)
class Truth:
    """One camera's dense results, each computed once, whoever asks.

    Args:
        steps: the network.
        image: the picture of a frame by index.
    """

    steps: Steps
    image: Callable[[int], Image]
    _known: dict[int, bytes] = field(default_factory=dict)

    def of(self, index: int) -> bytes:
        """The packed result of dense inference on a frame as it was captured."""
        if index not in self._known:
            self._known[index] = self.steps.result(self.steps.dense(self.image(index)))
        return self._known[index]


@dataclass(frozen=True, slots=True, eq=False)
class RunningNetwork:
    """A network that runs (see :class:`sim.accuracy.network.NetworkInLoop`): outputs and features are steps.

    Args:
        steps: the network, shared by all cameras.
        truth: the camera's dense results.
    """

    steps: Steps
    truth: Truth
    runs: bool = True

    def dense(self, frame: Frame, received: Callable[[], Image] | None = None) -> bytes:
        if received is not None:
            arrived = received()
            if not np.array_equal(arrived, frame.pixels):
                return self.steps.result(self.steps.dense(arrived))
        return self.truth.of(frame.index)

    def features(self, image: Image) -> tuple[Step, Step]:
        step = self.steps.dense(image)
        return step, step

    def sparse(
        self, image: Image, blocks: NDArray[np.bool_], vectors: NDArray[np.int16], features: Any
    ) -> tuple[Step, Step]:
        step = self.steps.sparse(image, blocks, vectors, features)
        return step, step

    def result(self, outputs: Any) -> bytes:
        return self.steps.result(outputs)
