"""Bad input to the pixel kernels: one line that names the argument, what it must be and what it was."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernels.codecs.block_codecs import block_codec
from kernels.codecs.block_payload import apply_blocks, decode_blocks, encode_blocks
from kernels.codecs.frame_codecs import make_frame_codec
from kernels.codecs.h264_vectors import H264Aligner
from kernels.codecs.pixel_delta import PixelDeltaReceiver, PixelDeltaSender
from kernels.motion.classification import active_blocks
from kernels.motion.field import MotionField, predict_vectors
from kernels.motion.global_motion import estimate_global_motion
from kernels.motion.search import search_motion
from kernels.motion.warp import warp_blocks_map, warp_image
from kernels.similarity import cosine_similarity, embed

IMAGE = np.random.default_rng(0).integers(0, 256, (32, 48, 3), dtype=np.uint8)
FLOAT = IMAGE.astype(np.float32)
ZERO = np.zeros((2, 3, 2), np.int16)
FAR = np.full((2, 3, 2), -(2**20))
MESSAGE = decode_blocks(encode_blocks(IMAGE, [0]))


@pytest.mark.parametrize(("call", "message"), [
    (lambda: search_motion(FLOAT, IMAGE), "frame must be a numpy array of uint8 (got float32)"),
    (lambda: search_motion([[1]], IMAGE), "frame must be a numpy array of uint8 (got list)"),
    (lambda: search_motion(IMAGE, FLOAT), "reference must be a numpy array of uint8"),
    (lambda: search_motion(IMAGE[..., :2], IMAGE), "frame must have the shape (H, W) or (H, W, 3)"),
    (lambda: search_motion(IMAGE, IMAGE[:16]), "reference must have the frame's shape (32, 48, 3) (got (16,"),
    (lambda: search_motion(IMAGE, IMAGE[..., 0]), "reference must have the frame's shape"),
    (lambda: search_motion(IMAGE[:7], IMAGE[:7]), "a height and a width of at least 8 px (got 7x48)"),
    (lambda: search_motion(IMAGE[:12], IMAGE[:12]), "must be at least block_px=16 (got 12x48)"),
    (lambda: search_motion(IMAGE[:0], IMAGE[:0]), "frame must have a height and a width"),
    (lambda: search_motion(IMAGE, IMAGE, block_px=12), "block_px must be a multiple of 8 px (got 12)"),
    (lambda: search_motion(IMAGE, IMAGE, block_px=0), "block_px must be a positive integer (got 0)"),
    (lambda: search_motion(IMAGE, IMAGE, block_px=16.0), "block_px must be a positive integer (got 16.0)"),
    (lambda: search_motion(IMAGE, IMAGE, radius_px=-1), "radius_px must be an integer >= 0 px (got -1)"),
    (lambda: search_motion(IMAGE, IMAGE, predicted=ZERO[:1]), "predicted must have the shape (2, 3, 2)"),
    (lambda: search_motion(IMAGE, IMAGE, predicted=ZERO + 0.5), "predicted must be a numpy array of"),
    (lambda: search_motion(IMAGE, IMAGE, predicted=FAR), "predicted must lie within ±32767"),
    (lambda: estimate_global_motion(IMAGE, IMAGE[:16]), "reference must have the frame's shape (32, 48, 3)"),
    (lambda: estimate_global_motion(IMAGE, IMAGE, 0.5), "reach_px must be an integer >= 0 px (got 0.5)"),
    (lambda: predict_vectors(ZERO, 0), "age_frames must be > 0 (got 0)"),
    (lambda: active_blocks(MotionField(ZERO, ZERO[..., 0]), 6.4), "threshold must be in [0, 1] (got 6.4)"),
    (lambda: warp_image(IMAGE, ZERO[:1]), "vectors must have the shape (2, 3, 2)"),
    (lambda: warp_image(FLOAT, ZERO), "image must be a uint8 array"),
    (lambda: warp_image(IMAGE, ZERO, out=IMAGE), "out must not share memory with image"),
    (lambda: warp_image(IMAGE, ZERO, out=IMAGE[:16].copy()), "out must be a contiguous uint8 array"),
    (lambda: warp_blocks_map(np.zeros(6), ZERO), "values must have the shape (rows, columns)"),
    (lambda: warp_blocks_map(np.zeros((2, 3)), ZERO, reduce="min"), "reduce must be 'max'"),
    (lambda: encode_blocks(IMAGE, [6]), "indices must be in 0 to 5 (got 6 to 6)"),
    (lambda: encode_blocks(IMAGE, [-1]), "indices must be in 0 to 5"),
    (lambda: encode_blocks(IMAGE, [1, 2, 1]), "indices must name each block once (got 1 repeated)"),
    (lambda: encode_blocks(IMAGE, [0.5]), "indices must be a flat array of integers"),
    (lambda: block_codec("webp"), "codec must be one of raw, png, jpeg, jpeg_420 (got 'webp')"),
    (lambda: block_codec("jpeg", 0), "quality: expected 1 to 95, found 0"),
    (lambda: encode_blocks(IMAGE, [0], ZERO[:, :2]), "vectors must have the shape (2, 3, 2)"),
    (lambda: encode_blocks(FLOAT, [0]), "image must be a numpy array of uint8"),
    (lambda: apply_blocks(IMAGE[:16], MESSAGE), "reference must have the message's shape (32, 48, 3)"),
    (lambda: apply_blocks(IMAGE[..., 0], MESSAGE), "reference must have the message's shape (32, 48, 3)"),
    (lambda: make_frame_codec("av1"), "frame codec must be one of raw, png, jpeg, h264, quantised"),
    (lambda: make_frame_codec("jpeg", quality=0), "quality must be in 1 to 95 (got 0)"),
    (lambda: make_frame_codec("quantised", bits=9), "bits must be in 1 to 8 (got 9)"),
    (lambda: make_frame_codec("h264", crf=60), "crf must be in 0 to 51 (got 60)"),
    (lambda: make_frame_codec("h264", preset="quick"), "preset must be one of ultrafast,"),
    (lambda: make_frame_codec("raw").encode(IMAGE[..., 0]), "image must have the shape (H, W, 3)"),
    (lambda: make_frame_codec("h264").encode(IMAGE[:31]), "image must have an even height and width"),
    (lambda: make_frame_codec("h264").decode(b"nothing"), "h264 packet does not decode"),
    (lambda: make_frame_codec("jpeg").decode(b"nothing"), "jpeg frame does not decode"),
    (lambda: make_frame_codec("raw").decode(b"\x10\0\x10\0"), "raw frame must have 768 bytes"),
    (lambda: make_frame_codec("quantised").decode(bytes(9)), "quantised frame must name 1 to 8 bits"),
    (lambda: PixelDeltaSender(25), "threshold must be in [0, 1] (got 25)"),
    (lambda: PixelDeltaSender(dilation_px=2), "dilation_px must be odd and >= 1 px (got 2)"),
    (lambda: PixelDeltaSender().encode(IMAGE[:20]), "must be multiples of block_px=16 (got 20x48)"),
    (lambda: H264Aligner().align(IMAGE[:24]), "must be multiples of block_px=16 (got 24x48)"),
    (lambda: H264Aligner().align(FLOAT), "image must be a numpy array of uint8"),
    (lambda: embed(IMAGE, 64), "image must be at least side=64 px each way"),
    (lambda: cosine_similarity(embed(IMAGE, 8), embed(IMAGE, 4)), "b must be an embedding of a's length"),
])  # fmt: skip
def test_the_message_names_the_argument(call, message):
    with pytest.raises((ValueError, TypeError)) as caught:
        call()
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("codec", ["raw", "png", "jpeg"])
def test_damaged_block_messages_are_refused(codec):
    wire = encode_blocks(IMAGE, [0, 3, 4], ZERO + 5, block_codec(codec))
    generator = np.random.default_rng(1)
    for position in [*range(24), *generator.integers(24, len(wire), 40)]:
        damaged = bytearray(wire)
        damaged[position] ^= 1 << int(generator.integers(8))
        with pytest.raises(ValueError, match="block message"):
            decode_blocks(bytes(damaged))
    for length in (0, 5, 23, 24, 30, len(wire) - 1):
        with pytest.raises(ValueError, match="block message"):
            decode_blocks(wire[:length])
    with pytest.raises(ValueError, match="checksum"):
        decode_blocks(wire + b"x")


def test_damaged_delta_messages_are_refused_and_change_nothing():
    sender, receiver = PixelDeltaSender(0.0), PixelDeltaReceiver()
    with pytest.raises(ValueError, match="delta message must begin with"):
        receiver.apply(encode_blocks(IMAGE, [0]))
    first = sender.encode(IMAGE).data
    second = sender.encode(IMAGE[::-1].copy()).data
    with pytest.raises(ValueError, match="delta message needs a reference"):
        receiver.apply(second)
    receiver.apply(first)
    for position in range(0, len(second), 97):
        damaged = bytearray(second)
        damaged[position] ^= 16
        with pytest.raises(ValueError, match="delta message"):
            receiver.apply(bytes(damaged))
    np.testing.assert_array_equal(receiver.reference, IMAGE)


def test_frames_of_a_stream_keep_their_size():
    for encode in (make_frame_codec("h264").encode, PixelDeltaSender().encode, H264Aligner().align):
        encode(IMAGE)
        with pytest.raises(ValueError, match="image must keep"):
            encode(IMAGE[:16])


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_no_bytes_make_a_decoder_fail_in_another_way(data):
    """Whatever arrives, it decodes or raises ValueError: nothing else, and nothing hangs."""
    name = data.draw(st.sampled_from(["raw", "png", "jpeg", "quantised", "h264", "blocks", "delta"]))
    decode, valid = {
        "blocks": (decode_blocks, encode_blocks(IMAGE, [0, 3], ZERO + 3)),
        "delta": (PixelDeltaReceiver().apply, PixelDeltaSender().encode(IMAGE).data),
    }.get(name) or (make_frame_codec(name).decode, make_frame_codec(name).encode(IMAGE))
    damaged = bytearray(valid[: data.draw(st.integers(0, len(valid)))])
    for position in data.draw(st.lists(st.integers(0, max(len(damaged) - 1, 0)), max_size=5)):
        if damaged:
            damaged[position] = data.draw(st.integers(0, 255))
    with contextlib.suppress(ValueError):
        decode(bytes(damaged))
