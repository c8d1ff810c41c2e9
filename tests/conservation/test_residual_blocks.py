"""Blocks coded against what both ends have: both ends decode the same, and never more than a step off."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.fft import dctn

from kernels.codecs.block_payload import apply_blocks, decode_blocks, encode_blocks, overhead_bytes
from kernels.codecs.block_pixels import gather_blocks
from kernels.codecs.prediction import Prediction
from kernels.codecs.residual import ResidualBlocks
from kernels.codecs.residual.transform import FRACTION, ZIGZAG, forward, inverse
from kernels.motion.warp import warp_image
from sim.systems.fluxshard_remap import FluxShardRemap
from tests.conservation.test_sim_frames import CHANGES, check_frames, with_loss
from tests.strategies.images import block_choices, images, texture, vector_fields
from tests.strategies.sim import pixels, run


def codec_of(quality: int) -> ResidualBlocks:
    return ResidualBlocks(ResidualBlocks.Options(quality))


def step_of(quality: int) -> int:
    """JPEG's 16 of the lowest frequency, as libjpeg scales it."""
    scale = 5000 // quality if quality < 50 else 200 - 2 * quality
    return max(1, (16 * scale + 50) // 100)


@settings(max_examples=60, deadline=None)
@given(st.data(), st.sampled_from([8, 16, 24]), st.booleans(), st.integers(1, 98))
def test_both_ends_decode_the_same_and_no_further_off_than_the_step(
    data: Any, block_px: int, colour: bool, quality: int
) -> None:
    codec = codec_of(quality)
    reference, image = data.draw(images(3 * block_px, 4 * block_px, colour, count=2))
    indices, vectors = data.draw(block_choices(12)), data.draw(vector_fields(3, 4, 50))

    wire = encode_blocks(image, indices, vectors, codec, block_px, reference)
    again = encode_blocks(image.copy(), indices, vectors, codec, block_px, reference.copy())
    proxy, server = (
        apply_blocks(held, decode_blocks(wire, codec, held)) for held in (reference, reference.copy())
    )

    assert wire == again
    assert proxy.tobytes() == server.tobytes()
    # A coefficient is off by at most .67 of a step, the transform is orthonormal, and to red, green and blue
    # luma and colours contribute √(3, 3.3, 2.5) / √3; rounding to whole levels adds the rest.
    if len(indices):
        error = gather_blocks(proxy, indices, block_px) - gather_blocks(image, indices, block_px).astype(
            float
        )
        gain = np.sqrt((3.0 + 3.26 + 2.48) / 3.0) if colour else 1.0
        assert (
            np.sqrt((error**2).mean(axis=tuple(range(1, error.ndim)))).max()
            <= 0.68 * step_of(quality) * gain + 1
        )


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_the_transform_is_the_discrete_cosine_transform(seed: int) -> None:
    plane = np.random.default_rng(seed).integers(-255, 256, (8, 8))
    scratch, coefficients, back = (np.zeros((8, 8), np.int32) for _ in range(3))

    forward((4 * plane).astype(np.int32), scratch, coefficients)
    expected = dctn(plane.astype(float), norm="ortho")
    assert np.abs(coefficients.T / FRACTION - expected).max() < 0.25

    whole = np.rint(expected).astype(np.int32)
    inverse(np.ascontiguousarray(whole.T), scratch, back)
    assert np.abs(back / 16 - plane).max() < 2.5  # whole coefficients are off by half a unit each


def test_frequencies_are_in_jpegs_order() -> None:
    rows, columns = np.divmod(ZIGZAG, 8)[::-1]  # of the transposed
    assert list(zip(rows, columns, strict=True))[:6] == [(0, 0), (0, 1), (1, 0), (2, 0), (1, 1), (0, 2)]
    assert sorted(ZIGZAG) == list(range(64))


def test_size_falls_with_quality() -> None:
    before, image = (texture(96, 128, np.random.default_rng(seed), 2.0, colour=True) for seed in (0, 1))
    image = (0.7 * before + 0.3 * image).astype(np.uint8)
    for reference in (None, before):
        sizes = [
            len(encode_blocks(image, np.arange(48), None, codec_of(quality), reference=reference))
            for quality in (98, 90, 70, 50, 30, 10, 1)
        ]
        assert sizes == sorted(sizes, reverse=True)
        assert sizes[0] > 5 * sizes[-1]


@pytest.mark.parametrize("half", [False, True])
def test_what_has_only_moved_costs_next_to_nothing(half: bool) -> None:
    """By whole pixels along the vectors, or half a pixel further."""
    reference = texture(96, 128, np.random.default_rng(3), 1.5, colour=True)
    vectors = np.full((6, 8, 2), (2, -1), np.int16)
    image = warp_image(reference, vectors)
    if half:
        beside = warp_image(reference, vectors + np.int16([1, 0]))
        image = ((image.astype(int) + beside + 1) // 2).astype(np.uint8)
    inner = np.array([row * 8 + column for row in range(1, 5) for column in range(1, 7)])
    codec = codec_of(85)

    wire = encode_blocks(image, inner, vectors, codec, reference=reference)
    alone = encode_blocks(image, inner, vectors, codec)

    assert len(wire) - overhead_bytes(wire) < 0.05 * (len(alone) - overhead_bytes(alone))
    moved = gather_blocks(apply_blocks(reference, decode_blocks(wire, codec, reference)), inner)
    np.testing.assert_array_equal(moved, gather_blocks(image, inner))


def test_a_residual_without_its_reference_is_refused() -> None:
    image = texture(64, 64, np.random.default_rng(0), 2.0, colour=True)
    wire = encode_blocks(image, [1, 2], None, codec_of(50), reference=image)
    with pytest.raises(ValueError, match="need the image that they were coded against"):
        decode_blocks(wire, codec_of(50))
    with pytest.raises(ValueError, match="reference must be uint8 of the message's shape"):
        decode_blocks(wire, codec_of(50), image[:32])


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200), st.integers(1, 4))
def test_bytes_of_something_else_are_refused_or_decode_to_blocks(noise: bytes, count: int) -> None:
    prediction = Prediction(np.zeros((32, 32, 3), np.uint8), None, np.arange(count))
    refused = "residuals that are not those of"
    blocks = None
    with suppress_only(refused):
        blocks = codec_of(50).decode(b"\1" + noise, count, 16, 3, prediction)
    assert blocks is None or blocks.shape == (count, 16, 16, 3)


@contextmanager
def suppress_only(words: str) -> Iterator[None]:
    """Let a ValueError of these words pass, and nothing else."""
    try:
        yield
    except ValueError as error:
        if words not in str(error):
            raise


@pytest.mark.filterwarnings("ignore:video.size_px", "ignore:system.salience", "ignore:scheduler")
@settings(max_examples=10, deadline=None)
@given(CHANGES, st.sampled_from([0.0, 0.2]), st.sampled_from([0.05, 1.0]))
def test_proxy_and_server_agree_though_each_decodes_against_its_own(
    changes: dict[str, Any], loss: float, patience_s: float
) -> None:
    """Under every fault: one byte of difference would grow with each message."""
    changes = with_loss(changes, loss)
    options = {"patience_s": patience_s, "codec": "residual", "quality": 50}
    content = pixels("fluxshard_remap", options=options, frames=24, **changes)
    done = run(content, drain=True)
    check_frames(done, changes["cameras"], 24, done.assembly.metric.blocks_total)
    for camera in done.assembly.simulation.cameras:
        system = camera.system
        assert isinstance(system, FluxShardRemap)
        assert system.state.synchronised
        if system.server.epoch >= 0:
            assert system.proxy.same_as(system.server.image)
