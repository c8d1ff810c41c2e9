"""The one ruler of coverage: which blocks of what a result rests on differ from the true frame.

A block is stale if its mean absolute difference D from the frame, over its pixels and channels on [0, 1] as
in the motion search, is τ₀ or more. τ₀ is the run's, not the system's: a system that recomputes less than
others because its own threshold is larger has more stale blocks, and not fewer.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sim.records.outcome import Outcome, RestsOn
from traces.errors import InputError


@dataclass(frozen=True, slots=True)
class CoverageRuler:
    """Counts stale blocks.

    Args:
        threshold: τ₀, the mean difference on [0, 1] from which a block is stale.
        block_px: side of a block.
    """

    threshold: float
    block_px: int

    def valued(self, outcome: Outcome, image: NDArray[np.uint8], place: str) -> Outcome:
        """The outcome with its stale blocks counted in what it rests on.

        One that names nothing keeps its own count.

        Args:
            outcome: what the system said of a frame.
            image: the frame as it was captured, (H, W, 3).
            place: of the system's code, for messages.

        Raises:
            InputError: it rests on what is no image of the frame's size.
        """
        if outcome.rests_on is None:
            return outcome
        return outcome._replace(stale=self.stale(image, outcome.rests_on, place), rests_on=None)

    def stale(self, image: NDArray[np.uint8], rests_on: RestsOn, place: str = "a system") -> int:
        """How many blocks of `rests_on` differ from `image` by τ₀ or more.

        Raises:
            InputError: `rests_on` is, or makes, no image of the size of `image`.
        """
        return int(np.count_nonzero(self.stale_map(image, rests_on, place)))

    def stale_map(
        self, image: NDArray[np.uint8], rests_on: RestsOn, place: str = "a system"
    ) -> NDArray[np.bool_]:
        """Which blocks those are, (rows, columns); raises as :meth:`stale`."""
        seen = rests_on() if callable(rests_on) else rests_on
        rows, columns = (side // self.block_px for side in image.shape[:2])
        if seen is image:
            return np.zeros((rows, columns), np.bool_)
        if not isinstance(seen, np.ndarray) or seen.dtype != np.uint8 or seen.shape != image.shape:
            found = f"{seen.dtype} of {seen.shape}" if isinstance(seen, np.ndarray) else repr(seen)
            raise InputError(f"{place}: expected rests_on to be uint8 of {image.shape}, found {found}")
        from kernels.motion.search import block_difference  # loads numba

        still = np.zeros((rows, columns, 2), np.int16)
        difference = block_difference(image, seen, still, self.block_px)
        stale: NDArray[np.bool_] = difference >= np.float32(self.threshold)
        return stale
