"""What a camera captures: frames, all of one size, cut into square blocks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class FrameGeometry:
    """Size of a video's frames, multiples of the block's side."""

    height_px: int
    width_px: int
    block_px: int = 16

    @property
    def rows(self) -> int:
        """Rows of blocks."""
        return self.height_px // self.block_px

    @property
    def columns(self) -> int:
        """Columns of blocks."""
        return self.width_px // self.block_px

    @property
    def blocks_total(self) -> int:
        """Blocks of a frame."""
        return self.rows * self.columns


@dataclass(slots=True, eq=False)
class Frame:
    """One captured frame. `image` is (H, W, 3) uint8 RGB; None where the video has no pixels.

    `index` counts the camera's frames; `prepared` holds what a search needs of the image, made once.
    """

    index: int
    captured_s: float
    image: NDArray[np.uint8] | None = None
    prepared: Any = None

    @property
    def pixels(self) -> NDArray[np.uint8]:
        """The image, where there must be one."""
        assert self.image is not None, "a system that needs pixels was given a video without"
        return self.image
