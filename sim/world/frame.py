"""What a camera captures: frames, all of one size, cut into square blocks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from traces.errors import InputError


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
        """The image, where there must be one.

        Raises:
            InputError: the video has no pixels, and the system has said that it needs none.
        """
        if self.image is None:
            raise InputError(
                "video.kind: a system that says works_without_pixels = True has asked for them: expected "
                "scene or file, found 'statistical'"
            )
        return self.image
