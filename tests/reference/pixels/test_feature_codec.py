"""Feature maps through the codec: off by half a step at most, whatever they hold, and refused if cut off."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from kernels.codecs.feature_codec import FeatureCodec, bit_planes, from_bit_planes, named, quantise

SHAPES = st.tuples(st.integers(1, 3), st.integers(1, 7), st.integers(1, 9))
VALUES = st.floats(-1e4, 1e4, width=32)


@given(st.lists(SHAPES.flatmap(lambda shape: hnp.arrays(np.float32, shape, elements=VALUES)), max_size=3),
       st.integers(1, 8))  # fmt: skip
def test_what_arrives_is_off_by_half_a_step_at_most(maps: list[np.ndarray], bits: int) -> None:
    codec = FeatureCodec(bits)
    arrived = codec.decode(codec.encode(maps))
    assert len(arrived) == len(maps)
    for sent, found in zip(maps, arrived, strict=True):
        assert found.shape == sent.shape
        assert found.dtype == np.float32
        step = (float(sent.max()) - float(sent.min())) / (2**bits - 1)
        rounding = 4e-6 * float(np.abs(sent).max())
        assert float(np.abs(found.astype(float) - sent).max()) <= step / 2 + rounding


@given(hnp.arrays(np.uint8, st.integers(1, 40)), st.integers(1, 8))
def test_bit_planes_hold_the_lowest_bits(levels: np.ndarray, bits: int) -> None:
    kept = levels & (2**bits - 1)
    planes = bit_planes(levels, bits)
    assert len(planes) == bits * -(-levels.size // 8)
    assert np.array_equal(from_bit_planes(planes, levels.size, bits), kept)


def test_levels_by_hand() -> None:
    low, step, levels = quantise(np.array([[[-1.0, 0.0, 0.4, 2.0]]], np.float32), 2)
    assert (low, step) == (-1.0, 1.0)
    assert levels.tolist() == [[[0, 1, 1, 3]]]


def test_equal_values_survive_and_weigh_next_to_nothing() -> None:
    still = np.full((8, 40, 40), 0.3, np.float32)
    data = FeatureCodec(8).encode([still])
    assert np.array_equal(FeatureCodec(8).decode(data)[0], still)
    assert len(data) < 100


def test_fewer_bits_are_fewer_bytes_and_noise_does_not_compress() -> None:
    noise = np.random.default_rng(0).random((4, 32, 32), np.float32)
    sizes = [len(FeatureCodec(bits).encode([noise])) for bits in range(1, 9)]
    assert sizes == sorted(sizes)
    assert sizes[-1] >= noise.size


@pytest.mark.parametrize("bits", [0, 9])
def test_other_numbers_of_bits_are_refused(bits: int) -> None:
    with pytest.raises(ValueError, match=rf"bits must be from 1 to 8 \(got {bits}\)"):
        FeatureCodec(bits)


def test_what_cannot_be_quantised_is_refused() -> None:
    with pytest.raises(ValueError, match=r"features must be \(channels, height, width\) .* \(got \(3, 4\)\)"):
        FeatureCodec().encode([np.zeros((3, 4), np.float32)])
    for value in (np.nan, np.inf):
        with pytest.raises(ValueError, match="features must be finite"):
            FeatureCodec().encode([np.array([[[0.0, value]]], np.float32)])


def test_a_message_that_was_cut_off_is_refused() -> None:
    data = FeatureCodec(8).encode([np.ones((1, 2, 2), np.float32), np.zeros((1, 2, 2), np.float32)])
    for length in range(len(data)):
        with pytest.raises(ValueError, match=r"features must be (2 maps \(got [01] whole ones\)|a message)"):
            FeatureCodec(8).decode(data[:length])
    with pytest.raises(ValueError, match="a message of 4 bits"):
        FeatureCodec(4).decode(data)


def test_both_sides_agree_on_the_order_of_maps() -> None:
    one, two = np.zeros((1, 1, 1), np.float32), np.ones((1, 1, 1), np.float32)
    assert named({"b": two, "a": one})[0] == named({"a": one, "b": two})[0] == ("a", "b")
    assert named({"b": two, "a": one})[1] == [one, two]
