"""A user's own block codec: blocks go in, the message names it, and the same codec takes them out again."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from kernels.codecs import block_codecs
from kernels.codecs.block_codecs import BlockCodec, JpegAtlas, PngAtlas, RawBlocks, block_codec
from kernels.codecs.block_payload import apply_blocks, decode_blocks, encode_blocks, overhead_bytes
from kernels.codecs.block_pixels import gather_blocks
from tests.strategies.images import block_choices, images, texture, vector_fields

CODE_AT, QUALITY_AT = 3, 4  # bytes of a message's header


class DeflatedBlocks:
    """Raw blocks, deflated: what a user would write, with nothing of ours in it."""

    @dataclass(frozen=True)
    class Options:
        level: int = 6

        def __post_init__(self):
            if not 0 <= self.level <= 9:
                raise ValueError(f"level: expected 0 to 9, found {self.level}")

    name, code, typical_block_bytes = "deflated", 255, 500.0

    def __init__(self, options):
        self.level = self.quality = options.level

    def encode(self, blocks):
        return zlib.compress(blocks.tobytes(), self.level)

    def decode(self, data, count, block_px, channels):
        shape = (count, block_px, block_px, 3)[: 4 if channels == 3 else 3]
        return np.frombuffer(zlib.decompress(data), np.uint8).reshape(shape)


@settings(max_examples=60, deadline=None)
@given(st.data(), st.sampled_from([8, 16, 32]), st.booleans(), st.integers(1, 9))
def test_a_users_codec_carries_blocks_unchanged(data, block_px, colour, level):
    codec: BlockCodec = DeflatedBlocks(DeflatedBlocks.Options(level))
    image, reference = data.draw(images(3 * block_px, 4 * block_px, colour, count=2))
    indices, vectors = data.draw(block_choices(12)), data.draw(vector_fields(3, 4, 50))

    wire = encode_blocks(image, indices, vectors, codec, block_px)
    message = decode_blocks(wire, codec)

    assert (wire[CODE_AT], wire[QUALITY_AT]) == (255, level)
    sent = gather_blocks(image, np.sort(indices), block_px)
    np.testing.assert_array_equal(message.pixels, sent)
    assert len(wire) - overhead_bytes(wire) == (len(codec.encode(sent)) if len(indices) else 0)
    proxy, server = (apply_blocks(reference, decode_blocks(wire, codec)) for _ in range(2))
    assert proxy.tobytes() == server.tobytes()


def test_a_message_of_another_codec_is_refused():
    image = texture(64, 64, np.random.default_rng(0), 2.0, colour=True)
    deflated = DeflatedBlocks(DeflatedBlocks.Options())
    with pytest.raises(ValueError, match="codec of its own, code 255: decode it with that codec"):
        decode_blocks(encode_blocks(image, [1], None, deflated))
    with pytest.raises(ValueError, match="must be of codec deflated, code 255 \\(got code 2\\)"):
        decode_blocks(encode_blocks(image, [1], None, block_codec("jpeg")), deflated)


def test_what_a_users_codec_returns_is_checked():
    class Shrinking(DeflatedBlocks):
        def decode(self, data, count, block_px, channels):
            return np.zeros((count, 8, 8, 3), np.uint8)

    class Listing(DeflatedBlocks):
        def decode(self, data, count, block_px, channels):
            return [[0]]

    image = texture(64, 64, np.random.default_rng(0), 2.0, colour=True)
    for codec, found in ((Shrinking, r"uint8 \(2, 8, 8, 3\)"), (Listing, "list")):
        mine = codec(codec.Options())
        with pytest.raises(ValueError, match=rf"codec deflated must decode to uint8 .*\(got {found}\)"):
            decode_blocks(encode_blocks(image, [1, 5], None, mine), mine)


def test_a_code_that_is_no_byte_is_refused():
    codec = DeflatedBlocks(DeflatedBlocks.Options())
    codec.code = 256
    with pytest.raises(ValueError, match="codec must have a code in 0 to 255 \\(got 256\\)"):
        encode_blocks(np.zeros((16, 16, 3), np.uint8), [0], None, codec)


def test_a_header_says_the_quality_whatever_codec_is_at_hand():
    image = texture(64, 64, np.random.default_rng(0), 2.0, colour=True)
    wire = encode_blocks(image, [1, 2], None, block_codec("jpeg", 40))
    np.testing.assert_array_equal(
        decode_blocks(wire, block_codec("jpeg", 90)).pixels, decode_blocks(wire).pixels
    )


def test_every_level_of_png_is_lossless_and_none_costs_more_than_no_compression():
    blocks = gather_blocks(texture(64, 64, np.random.default_rng(0), 2.0, colour=True), np.arange(16))
    sizes = []
    for level in (0, 1, 9):
        codec = PngAtlas(PngAtlas.Options(level))
        data = codec.encode(blocks)
        np.testing.assert_array_equal(codec.decode(data, 16, 16, 3), blocks)
        sizes.append(len(data))
    assert sizes == sorted(sizes, reverse=True)


@pytest.mark.parametrize(("codec", "options", "message"), [
    (PngAtlas, {"level": 10}, "level: expected 0 to 9, found 10"),
    (JpegAtlas, {"quality": 0}, "quality: expected 1 to 95, found 0"),
    (JpegAtlas, {"quality": 96}, "quality: expected 1 to 95, found 96"),
])  # fmt: skip
def test_options_say_what_was_expected(codec, options, message):
    with pytest.raises(ValueError, match=message):
        codec.Options(**options)


@pytest.mark.parametrize("codec", [RawBlocks, PngAtlas, JpegAtlas])
def test_each_built_in_codec_has_its_configuration(codec, repository):
    name = codec(codec.Options()).name
    config = yaml.safe_load((Path(repository) / "conf" / "payload" / "codec" / f"{name}.yaml").read_text())
    home, _, made = config.pop("_target_").rpartition(".")
    assert (home, made) == (block_codecs.__name__, codec.__name__)
    assert codec(codec.Options(**config)) == block_codec(name)
