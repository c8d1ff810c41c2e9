"""Whole-frame codecs, encoder vectors and frame similarity on scenes whose answer is known."""

from __future__ import annotations

from itertools import pairwise

import av
import numpy as np
import pytest

from kernels.codecs.frame_codecs import H264Codec, QuantisedCodec, make_frame_codec
from kernels.codecs.h264_quantised import QuantisedH264
from kernels.codecs.h264_vectors import H264Aligner
from kernels.motion.image_pyramid import build_pyramid
from kernels.motion.search import block_difference
from kernels.similarity import cosine_similarity, embed, most_similar
from tests.strategies.images import texture


@pytest.fixture(scope="module")
def pan():
    """Six frames of a pan: frame i at p shows what frame i−1 showed at p + (3, −2)."""
    scene = texture(192, 224, np.random.default_rng(0), 3.0, colour=True)
    return [scene[20 - 2 * i : 148 - 2 * i, 20 + 3 * i : 180 + 3 * i].copy() for i in range(6)]


@pytest.mark.parametrize("name", ["raw", "png"])
def test_lossless_codecs_return_the_image(name, pan):
    codec = make_frame_codec(name)
    data = codec.encode(pan[0])
    np.testing.assert_array_equal(codec.decode(data), pan[0])
    if name == "raw":
        assert len(data) == pan[0].nbytes + 4


@pytest.mark.parametrize(("name", "worst_to_best"), [
    ("jpeg", [{"quality": 20}, {"quality": 60}, {"quality": 85}, {"quality": 95, "full_colour": True}]),
    ("quantised", [{"bits": 2}, {"bits": 4}, {"bits": 6}, {"bits": 8}]),
    ("h264", [{"crf": 40}, {"crf": 30}, {"crf": 20}, {"crf": 10}]),
])  # fmt: skip
def test_more_bytes_bring_a_better_image(name, worst_to_best, pan):
    sizes, errors = [], []
    for options in worst_to_best:
        data = make_frame_codec(name, **options).encode(pan[0])
        arrived = make_frame_codec(name).decode(data)
        assert arrived.shape == pan[0].shape
        assert arrived.dtype == np.uint8
        sizes.append(len(data))
        errors.append(np.abs(arrived.astype(int) - pan[0]).mean())
    assert sizes == sorted(sizes)
    assert errors == sorted(errors, reverse=True)


@pytest.mark.parametrize("bits", range(1, 9))
def test_quantisation_errs_by_half_a_step_at_most(bits):
    image = np.arange(256, dtype=np.uint8).reshape(16, 16, 1).repeat(3, axis=2)
    codec = QuantisedCodec(bits)
    arrived = codec.decode(codec.encode(image))
    assert len(np.unique(arrived)) == 2**bits
    assert np.abs(arrived.astype(int) - image).max() <= 255 / (2 * (2**bits - 1)) + 0.5


def test_h264_gives_one_packet_a_frame_at_once(pan):
    edge, server = H264Codec(crf=18), H264Codec()
    for number, frame in enumerate(pan):
        arrived = server.decode(edge.encode(frame))
        assert np.abs(arrived.astype(int) - frame).mean() < 8, number


def test_h264_keyframes_start_the_stream_anew(pan):
    edge = H264Codec()
    sizes = []
    for number, frame in enumerate(pan):
        if number == 4:
            edge.force_keyframe()
        data = edge.encode(frame)
        sizes.append(len(data))
        if number == 4:
            late = H264Codec().decode(data)  # a decoder that has seen nothing before
            assert np.abs(late.astype(int) - frame).mean() < 15
    assert min(sizes[0], sizes[4]) > 2 * max(sizes[1:4])


def test_h264_streams_repeat_byte_for_byte(pan):
    streams = []
    for _ in range(2):
        codec = H264Codec()
        streams.append([codec.encode(frame) for frame in pan])
    assert streams[0] == streams[1]


def test_the_encoder_finds_the_pan(pan):
    aligner = H264Aligner()
    first = aligner.align(pan[0])
    assert (first.difference == 1).all()
    assert not first.vectors.any()
    for before, frame in pairwise(pan):
        field = aligner.align(frame)
        found = field.difference < 1
        assert found.mean() > 0.7
        assert ((field.vectors == (3, -2)).all(axis=2))[1:-1, 1:-1].mean() > 0.8
        true = block_difference(frame, before, field.vectors)
        np.testing.assert_array_equal(field.difference[found], true[found])
        assert not field.vectors[~found].any()
    assert 0 < len(aligner.packet) < frame.nbytes


def test_similar_frames_have_similar_embeddings(pan):
    near, far = embed(pan[1]), embed(pan[5])
    first = embed(pan[0])
    assert cosine_similarity(first, first) == pytest.approx(1, abs=1e-6)
    assert cosine_similarity(first, near) > cosine_similarity(first, far)
    assert cosine_similarity(first, embed(255 - pan[0])) == pytest.approx(-1, abs=1e-5)
    assert cosine_similarity(first, embed(pan[0] // 2)) > 0.99  # exposure does not count
    assert cosine_similarity(first, embed(build_pyramid(pan[0]).quarter, 16).repeat(4)) < 1
    assert most_similar(near, [far, first, near]) == (2, pytest.approx(1, abs=1e-6))
    assert most_similar(near, []) is None


def test_an_image_of_one_grey_level_is_like_nothing():
    flat = embed(np.full((64, 64, 3), 10, np.uint8))
    assert not flat.any()
    assert cosine_similarity(flat, flat) == 0


def test_an_embedding_is_the_area_mean_of_each_cell():
    image = np.random.default_rng(3).integers(0, 256, (50, 70), dtype=np.uint8)
    cells = np.array([
        image[i * 50 // 4 : (i + 1) * 50 // 4, j * 70 // 4 : (j + 1) * 70 // 4].mean()
        for i in range(4) for j in range(4)
    ])  # fmt: skip
    cells -= cells.mean()
    np.testing.assert_allclose(embed(image, 4), cells / np.linalg.norm(cells), atol=1e-6)


def quantisers(packet, decoder):
    """The quantiser of every macroblock of a packet, as a decoder reads it."""
    (frame,) = decoder.decode(av.Packet(packet))
    (data,) = [side for side in frame.side_data if hasattr(side, "qp_map")]
    return data.qp_map()


def test_each_frame_of_a_stream_has_the_quantiser_that_was_asked_for():
    """Read from the stream itself; noise sees to it that no macroblock is skipped."""
    rng = np.random.default_rng(8)
    codec = QuantisedH264()
    decoder = av.CodecContext.create("h264", "r")
    decoder.options = {"export_side_data": "venc_params", "flags": "+low_delay", "threads": "1"}
    sizes = []
    for qp in (26, 1, 10, 40, 23, 51):
        packet = codec.encode_at(rng.integers(0, 256, (64, 96, 3)).astype(np.uint8), qp)
        assert set(np.asarray(quantisers(packet, decoder)).ravel().tolist()) == {qp}
        sizes.append(len(packet))
    assert sizes[1] > sizes[2] > sizes[4] > sizes[3] > sizes[5]


@pytest.mark.parametrize("qp", [0, 52, 23.5, True])
def test_another_quantiser_is_refused(qp):
    with pytest.raises(ValueError, match="qp must be a whole number in 1 to 51"):
        QuantisedH264().encode_at(np.zeros((32, 32, 3), np.uint8), qp)
