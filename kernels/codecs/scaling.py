"""Images at another size: what a sender does before it encodes, and a receiver after it has decoded.

Down by averaging over areas, up by bicubic interpolation, as libswscale does them: the filters that video
tools use by default for either way, without ringing where detail is thrown away.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def scaled(image: NDArray[np.uint8], height_px: int, width_px: int) -> NDArray[np.uint8]:
    """An (H, W, 3) uint8 image at (height_px, width_px); the image itself where that is its size.

    Raises:
        ValueError: no image of that shape, or a side below 1 px.
    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(f"image must be (H, W, 3) of uint8 (got {image.shape} of {image.dtype})")
    if height_px < 1 or width_px < 1:
        raise ValueError(f"size must be >= 1x1 px (got {height_px}x{width_px})")
    if image.shape[:2] == (height_px, width_px):
        return image
    import av

    smaller = height_px * width_px < image.shape[0] * image.shape[1]
    frame: Any = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
    made = frame.reformat(width=width_px, height=height_px, interpolation="AREA" if smaller else "BICUBIC")
    pixels: NDArray[np.uint8] = made.to_ndarray()
    return pixels
