"""What is noted of some frames, in no order: numbers in one flat array, found a frame's row at the end."""

from __future__ import annotations

from array import array
from struct import Struct

import numpy as np
from numpy.typing import NDArray


class FrameNotes:
    """Rows of camera, frame and `width` numbers each; a frame may have none, one or several."""

    def __init__(self, width: int) -> None:
        self._row = 2 + width
        self._values = array("d")
        self._packed = Struct(f"{self._row}d").pack  # three times as fast as array.extend

    def add(self, *row: float) -> None:
        """Note a row: camera, frame, numbers."""
        self._values.frombytes(self._packed(*row))

    def placed(
        self, cameras: NDArray[np.float64], frames: NDArray[np.float64]
    ) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
        """Where each note's frame stands, (notes,), and the notes, (notes, width).

        Args:
            cameras, frames: of the table's rows, (rows,) each, in order of camera and frame.

        Raises:
            KeyError: a frame that has been noted is not in the table.
        """
        notes = np.array(self._values).reshape(-1, self._row)
        width = 1.0 + max(frames.max(initial=0.0), notes[:, 1].max(initial=0.0))
        keys, wanted = cameras * width + frames, notes[:, 0] * width + notes[:, 1]
        at = np.searchsorted(keys, wanted)
        missing = (at == len(keys)) | (keys[np.minimum(at, len(keys) - 1)] != wanted) if len(keys) else True
        if np.any(missing) and len(notes):
            camera, frame = notes[np.flatnonzero(np.broadcast_to(missing, len(notes)))[0], :2]
            raise KeyError(f"camera {camera:g}, frame {frame:g}: noted, but in no row of the table")
        return at, notes[:, 2:]
