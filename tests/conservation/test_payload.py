"""What goes into a block message comes out of it, on both ends the same."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernels.codecs.block_codecs import block_codec
from kernels.codecs.block_payload import apply_blocks, decode_blocks, encode_blocks, overhead_bytes
from kernels.codecs.block_pixels import gather_blocks, paste_blocks
from kernels.motion.warp import warp_image
from tests.strategies.images import block_choices, images, texture, vector_fields

BLOCK_SIDES = st.sampled_from([8, 16, 32])


@settings(max_examples=120, deadline=None)
@given(st.data(), BLOCK_SIDES, st.sampled_from(["raw", "png", "jpeg"]), st.booleans(), st.booleans())
def test_a_message_says_what_was_put_in(data, block_px, codec, colour, wide):
    rows, columns = data.draw(st.integers(1, 7)), data.draw(st.integers(1, 7))
    (image,) = data.draw(images(rows * block_px, columns * block_px, colour, count=1))
    indices = data.draw(block_choices(rows * columns))
    vectors = data.draw(st.none() | vector_fields(rows, columns, 32767 if wide else 128))

    message = decode_blocks(encode_blocks(image, indices, vectors, block_codec(codec, 90), block_px))

    assert (message.rows, message.columns, message.block_px) == (rows, columns, block_px)
    np.testing.assert_array_equal(message.indices, np.sort(indices))
    assert message.indices.dtype == np.int32
    if vectors is None:
        assert message.vectors is None
    else:
        np.testing.assert_array_equal(message.vectors, vectors)
        assert message.vectors.dtype == np.int16
    sent = gather_blocks(image, message.indices, block_px)
    assert message.pixels.shape == sent.shape
    if codec != "jpeg":
        np.testing.assert_array_equal(message.pixels, sent)


@settings(max_examples=40, deadline=None)
@given(st.data(), st.sampled_from(["raw", "png", "jpeg"]))
def test_proxy_and_server_stay_equal_byte_for_byte(data, codec):
    frames = data.draw(images(64, 96, True, count=4))
    proxy = server = frames[0]
    for frame in frames[1:]:
        vectors = data.draw(st.none() | vector_fields(4, 6, 20))
        wire = encode_blocks(frame, data.draw(block_choices(24)), vectors, block_codec(codec))
        proxy = apply_blocks(proxy, decode_blocks(wire))
        server = apply_blocks(server, decode_blocks(bytes(wire)))
        assert proxy.tobytes() == server.tobytes()


@settings(max_examples=40, deadline=None)
@given(st.data(), BLOCK_SIDES, st.booleans())
def test_applying_moves_first_and_pastes_after(data, block_px, colour):
    frame, reference = data.draw(images(3 * block_px, 4 * block_px, colour, count=2))
    indices, vectors = data.draw(block_choices(12)), data.draw(vector_fields(3, 4, 50))
    before = reference.copy()

    image = apply_blocks(
        reference, decode_blocks(encode_blocks(frame, indices, vectors, block_codec("raw"), block_px))
    )

    sent = np.zeros(12, np.bool_)
    sent[indices] = True
    mask = sent.reshape(3, 4).repeat(block_px, axis=0).repeat(block_px, axis=1)
    np.testing.assert_array_equal(image[mask], frame[mask])
    np.testing.assert_array_equal(image[~mask], warp_image(reference, vectors, block_px)[~mask])
    np.testing.assert_array_equal(reference, before)


@pytest.mark.parametrize("count", [1, 7, 16, 17, 23, 101, 400])
def test_jpeg_blocks_are_near_the_original_whatever_their_number(count):
    image = texture(320, 320, np.random.default_rng(0), 4.0, colour=True)
    message = decode_blocks(encode_blocks(image, np.arange(count), codec=block_codec("jpeg", 95)))
    error = np.abs(message.pixels.astype(int) - gather_blocks(image, np.arange(count)))
    assert error.mean() < 3


def test_gathered_and_pasted_blocks_are_where_they_should_be():
    image = np.arange(32 * 48, dtype=np.uint8).reshape(32, 48)
    blocks = gather_blocks(image, np.array([5, 0]))
    np.testing.assert_array_equal(blocks, [image[16:32, 32:48], image[:16, :16]])
    pasted = paste_blocks(np.zeros_like(image), np.array([4]), blocks[:1])
    np.testing.assert_array_equal(pasted[16:32, 16:32], image[16:32, 32:48])
    assert pasted.sum() == blocks[0].sum()


def test_every_part_of_a_message_is_counted():
    image = texture(160, 160, np.random.default_rng(1), 1.0, colour=True)
    indices = np.arange(0, 100, 3)
    vectors = np.random.default_rng(2).integers(-16, 17, (10, 10, 2)).astype(np.int16)
    empty = encode_blocks(image, [], codec=block_codec("raw"))
    blocks = encode_blocks(image, indices, codec=block_codec("raw"))
    both = encode_blocks(image, indices, vectors, codec=block_codec("raw"))
    assert len(blocks) == overhead_bytes(blocks) + len(indices) * 16 * 16 * 3
    assert overhead_bytes(empty) == len(empty) < 40
    assert 100 < len(both) - len(blocks) <= 200  # at most a byte a component
    assert len(encode_blocks(image, [], np.zeros_like(vectors))) == len(empty)


def test_more_quality_costs_more_bytes():
    image = texture(160, 160, np.random.default_rng(3), 1.0, colour=True)
    sizes = [
        len(encode_blocks(image, np.arange(50), codec=block_codec("jpeg", quality)))
        for quality in (30, 60, 85, 95)
    ]
    assert sizes == sorted(sizes)
    assert sizes[-1] < len(encode_blocks(image, np.arange(50), codec=block_codec("png")))
