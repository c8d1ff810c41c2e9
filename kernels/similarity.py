"""Similarity of frames, for systems that reuse the result of a similar one: cosines of embeddings.

The embedding of a frame is its grey image averaged down to side × side cells, its mean subtracted, scaled to
unit length. Without subtracting the mean every pair of photographs would have a similarity above 0.9; with
it the cosine is the correlation of the two small images, and does not see a change of exposure or contrast.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def embed(image: NDArray[np.uint8], side: int = 32) -> NDArray[np.float32]:
    """The embedding of an image, (side²,) float32 of length 1, or all zero for an image of one grey level.

    Args:
        image: (H, W) or (H, W, 3) uint8, at least `side` px each way; the quarter-resolution level of an
            image pyramid (`kernels.motion.image_pyramid`) gives nearly the same at a sixteenth of the cost.
        side: cells each way.

    Raises:
        TypeError, ValueError: an argument that is none of the above, by name.
    """
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8:
        raise TypeError(
            f"image must be a numpy array of uint8 (got {getattr(image, 'dtype', type(image).__name__)})"
        )
    if image.ndim not in (2, 3) or side < 2 or min(image.shape[:2]) < side:
        raise ValueError(f"image must be at least side={side} px each way, side >= 2 (got {image.shape})")
    height, width = image.shape[:2]
    row_edges = np.arange(side) * height // side
    column_edges = np.arange(side) * width // side
    sums = np.add.reduceat(image, row_edges, axis=0, dtype=np.int64)
    sums = np.add.reduceat(sums, column_edges, axis=1)
    if sums.ndim == 3:
        sums = sums.sum(axis=2)
    sizes = np.diff([*row_edges, height])[:, None] * np.diff([*column_edges, width])
    cells = (sums / sizes).reshape(-1)
    cells -= cells.mean()
    length = np.sqrt(cells @ cells)
    embedding: NDArray[np.float32] = (cells / max(length, 1e-6)).astype(np.float32)
    return embedding


def cosine_similarity(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    """a·b of two embeddings, −1 to 1; 0 if either image had one grey level only."""
    if a.shape != b.shape or a.ndim != 1:
        raise ValueError(f"b must be an embedding of a's length {a.shape} (got {b.shape})")
    return float(np.clip(np.dot(a.astype(np.float64), b), -1.0, 1.0))


def most_similar(
    embedding: NDArray[np.float32], history: Sequence[NDArray[np.float32]]
) -> tuple[int, float] | None:
    """Index and similarity of the most similar embedding, the latest of equals; None without any."""
    if not history:
        return None
    similarities = [cosine_similarity(embedding, other) for other in history]
    best = max(range(len(history)), key=lambda i: (similarities[i], i))
    return best, similarities[best]
