"""Images, vector fields and block choices for property tests."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter


def texture(
    height: int, width: int, generator: np.random.Generator, blur_px: float, colour: bool
) -> NDArray[np.uint8]:
    """Noise, blurred and stretched to the full range: no two places look alike."""
    noise = generator.normal(size=(height, width, 3) if colour else (height, width))
    if blur_px:
        noise = gaussian_filter(noise, (blur_px, blur_px, 0) if colour else blur_px)
    low, high = noise.min(), noise.max()
    return np.rint((noise - low) * (255 / (high - low))).astype(np.uint8)


def noisy_walk(frames: int, side_px: int, seed: int) -> list[NDArray[np.uint8]]:
    """A pan with noise, which no codec predicts away: bytes depend on the quantiser alone."""
    generator = np.random.default_rng(seed)
    scene = texture(side_px, side_px + 2 * frames, generator, 2.0, True).astype(float)
    shape = (side_px, side_px, 3)
    return [
        np.clip(scene[:, 2 * i : 2 * i + side_px] + generator.normal(0, 6.0, shape), 0, 255).astype(np.uint8)
        for i in range(frames)
    ]


@st.composite
def images(draw: st.DrawFn, height: int, width: int, colour: bool, count: int) -> list[NDArray[np.uint8]]:
    """`count` images that share much: noise, few grey levels, copies of each other with a patch changed."""
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    shape = (height, width, 3) if colour else (height, width)
    levels = draw(st.sampled_from([1, 2, 256]))
    result = [(generator.integers(0, levels, shape) * (255 // max(levels - 1, 1))).astype(np.uint8)]
    for _ in range(count - 1):
        kind = draw(st.sampled_from(["copy", "patch", "roll", "new"]))
        image = result[-1].copy()
        if kind == "patch":
            y, x = generator.integers(0, height), generator.integers(0, width)
            image[y:, x:] = generator.integers(0, 256, image[y:, x:].shape)
        elif kind == "roll":
            image = np.roll(image, tuple(generator.integers(-9, 10, 2)), axis=(0, 1))
        elif kind == "new":
            image = generator.integers(0, 256, shape).astype(np.uint8)
        result.append(image)
    return result


@st.composite
def vector_fields(draw: st.DrawFn, rows: int, columns: int, limit_px: int) -> NDArray[np.int16]:
    """(rows, columns, 2) vectors up to ±limit_px: zero, constant or random."""
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    kind = draw(st.sampled_from(["zero", "constant", "random"]))
    if kind == "zero":
        return np.zeros((rows, columns, 2), np.int16)
    if kind == "constant":
        return np.full((rows, columns, 2), generator.integers(-limit_px, limit_px + 1, 2), np.int16)
    return generator.integers(-limit_px, limit_px + 1, (rows, columns, 2)).astype(np.int16)


@st.composite
def block_choices(draw: st.DrawFn, blocks: int) -> NDArray[np.int32]:
    """Distinct flat block indices in any order; none and all among them."""
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    count = draw(st.sampled_from([0, 1, blocks]) | st.integers(0, blocks))
    return generator.permutation(blocks)[:count].astype(np.int32)
