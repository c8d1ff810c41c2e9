"""The network that runs in the loop, as systems see it.

It computes what results really are; how long that takes is the world's business. A result is opaque to
a system, which hands it on in its outcome. Where accuracy is known by coverage alone nothing runs, and every
result is None.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from sim.world.frame import Frame

Image: TypeAlias = NDArray[np.uint8]  # (H, W, 3)


class NetworkInLoop(Protocol):
    """Dense and sparse inference. It keeps nothing: features are handed out and given back.

    Both are opaque. Inference is put off until a result asks for it, so images, blocks and vectors that were
    handed in must not be changed afterwards.
    """

    @property
    def runs(self) -> bool:
        """Whether anything is computed."""

    def dense(self, frame: Frame, received: Callable[[], Image] | None = None) -> Any:
        """The result of dense inference on a frame as captured, or on what was `received` of it.

        `received` gives the image that the far side decodes; it is asked only where a network runs.
        """

    def features(self, image: Image) -> tuple[Any, Any]:
        """Raw outputs and feature cache of dense inference on an image; (None, None) where nothing runs."""

    def sparse(
        self, image: Image, blocks: NDArray[np.bool_], vectors: NDArray[np.int16], features: Any
    ) -> tuple[Any, Any]:
        """Raw outputs and feature cache with some blocks computed and the rest moved along vectors.

        Args:
            blocks: (rows, columns), those that are computed.
            vectors: (rows, columns, 2), position in the image that `features` belong to minus position here.
            features: of that image; None: of a black one.
        """

    def result(self, outputs: Any) -> Any:
        """The result that raw outputs mean."""


@dataclass(frozen=True, slots=True)
class IdleNetwork:
    """A network that computes nothing: accuracy is known by coverage."""

    runs: bool = False

    def dense(self, frame: Frame, received: Callable[[], Image] | None = None) -> Any:
        return None

    def features(self, image: Image) -> tuple[Any, Any]:
        return None, None

    def sparse(
        self, image: Image, blocks: NDArray[np.bool_], vectors: NDArray[np.int16], features: Any
    ) -> tuple[Any, Any]:
        return None, None

    def result(self, outputs: Any) -> Any:
        return None


IDLE = IdleNetwork()
NetworkMaker: TypeAlias = Callable[[str, str, int], NetworkInLoop]  # by policy, sampling and margin in px


def no_network(policy: str, sampling: str, margin_px: int) -> NetworkInLoop:
    """What stands for a network where accuracy is known by coverage."""
    return IDLE
