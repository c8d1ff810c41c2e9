"""A run's video with its decisions drawn on it: which blocks were active, processed, left stale.

Blocks that were processed have a frame in the colour of their path, stale ones are filled with red; frames
that were never worked on are left out, so the video shows what the system saw.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from sim.records.outcome import Outcome

COLOURS = {"cloud": (0, 114, 178), "edge": (230, 159, 0), "split": (0, 158, 115), "reused": (86, 180, 233)}
STALE = (213, 94, 0)


@runtime_checkable
class ShowsBlocks(Protocol):
    """A system that can say which blocks its last frame was about, the processed ones first."""

    @property
    def shown_blocks(self) -> Sequence[int] | NDArray[np.int32]:
        """Active blocks of the last frame on the path it took."""


@dataclass(slots=True, eq=False)
class Overlay:
    """Draws camera 0's frames into a video as they are finished.

    Args:
        path: the MP4 to write.
        fps: frames a second of the video.
        block_px: side of a block.
    """

    path: Path
    fps: float
    block_px: int = 16
    _container: Any = field(default=None)
    _stream: Any = field(default=None)

    def draw(
        self, image: NDArray[np.uint8], outcome: Outcome, blocks: Sequence[int] | NDArray[np.int32]
    ) -> NDArray[np.uint8]:
        """The frame with its blocks drawn, (H, W, 3) uint8."""
        drawn = image.copy()
        columns = image.shape[1] // self.block_px
        colour = np.array(COLOURS[outcome.path], np.uint8)
        for rank, block in enumerate(blocks):
            row, column = divmod(int(block), columns)
            top, left = row * self.block_px, column * self.block_px
            cell = drawn[top : top + self.block_px, left : left + self.block_px]
            if rank >= outcome.processed:
                cell[:] = (cell.astype(np.uint16) + np.array(STALE, np.uint16)) // 2
            else:
                cell[0], cell[-1], cell[:, 0], cell[:, -1] = colour, colour, colour, colour
        drawn[: self.block_px // 2] = colour  # a bar: where this frame's result came from
        return drawn

    def add(
        self, image: NDArray[np.uint8], outcome: Outcome, blocks: Sequence[int] | NDArray[np.int32]
    ) -> None:
        """Draw a frame and append it."""
        import av

        if self._container is None:
            self._container = av.open(str(self.path), "w")
            self._stream = self._container.add_stream(
                "libx264", rate=Fraction(self.fps).limit_denominator(1000)
            )
            self._stream.height, self._stream.width = image.shape[:2]
            self._stream.pix_fmt = "yuv420p"
            self._stream.options = {"crf": "20", "preset": "veryfast"}
        frame = av.VideoFrame.from_ndarray(self.draw(image, outcome, blocks), format="rgb24")
        self._container.mux(self._stream.encode(frame))

    def close(self) -> None:
        """Finish the file."""
        if self._container is not None:
            self._container.mux(self._stream.encode(None))
            self._container.close()
            self._container = None
