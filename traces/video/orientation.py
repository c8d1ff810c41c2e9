"""How a clip's pictures are turned and mirrored before they are shown: the container's display matrix."""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from traces.errors import InputError

MATRIX = struct.Struct("=9i")  # native byte order, as in FFmpeg's side data
SLANT = 0.02  # of the largest entry: what rounding leaves beside a quarter turn; about one degree


@dataclass(frozen=True, slots=True)
class Orientation:
    """One of the eight ways to lay a picture: swap rows and columns, then mirror."""

    transposed: bool = False
    left_right: bool = False
    upside_down: bool = False

    def upright(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The picture (h, w, 3) as it is to be seen; a view."""
        if self.transposed:
            pixels = pixels.swapaxes(0, 1)
        return pixels[:: -1 if self.upside_down else 1, :: -1 if self.left_right else 1]


UPRIGHT = Orientation()


def orientation(frame: Any, where: str) -> Orientation | None:
    """The orientation that a decoded frame carries; None where it says nothing.

    Args:
        frame: of PyAV.
        where: begins the message, as the file and the frame.

    Raises:
        InputError: the matrix turns by anything but quarter turns.
    """
    try:
        found = [bytes(data) for data in frame.side_data if data.type.name == "DISPLAYMATRIX"]
    except ValueError:  # side data of a kind that PyAV has no name for hides the rest: only turns are known
        if not frame.rotation:
            return None
        turn = math.radians(frame.rotation)  # anticlockwise
        return read_matrix((math.cos(turn), -math.sin(turn), math.sin(turn), math.cos(turn)), where)
    if not found or len(found[0]) < MATRIX.size:
        return None
    a, b, _, c, d, *_ = MATRIX.unpack(found[0][: MATRIX.size])
    return read_matrix((a, b, c, d), where)


def read_matrix(matrix: tuple[float, float, float, float], where: str) -> Orientation:
    """The orientation that shows the source's pixel (x, y) at (a·x + c·y, b·x + d·y), y downwards.

    Args:
        matrix: a, b, c, d; their scale is of no account, and all zero is taken for none.
        where: begins the message.

    Raises:
        InputError: the matrix turns by anything but quarter turns.
    """
    a, b, c, d = matrix
    slant = SLANT * max(abs(entry) for entry in matrix)
    if not slant:
        return UPRIGHT
    if max(abs(b), abs(c)) <= slant and min(abs(a), abs(d)) > slant:
        return Orientation(False, a < 0, d < 0)
    if max(abs(a), abs(d)) <= slant and min(abs(b), abs(c)) > slant:
        return Orientation(True, c < 0, b < 0)
    raise InputError(
        f"{where}: expected a display matrix that turns by quarter turns or mirrors, found one that turns by "
        f"{math.degrees(math.atan2(b, a)):.0f} degrees; write the clip out upright first"
    )
