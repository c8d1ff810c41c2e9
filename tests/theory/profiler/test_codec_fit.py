"""Codec times: the fit finds the coefficients that made the samples, and none below zero."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from profiler.fit.codec_fit import CodecSample, fit_codec, fit_codecs
from traces.errors import InputError

PIXELS = np.array([1e4, 4e4, 1e5, 1e5, 2e5, 4e5, 4e5, 4e5])
BYTES = np.array([1e3, 9e3, 8e3, 2e4, 1e4, 2e4, 5e4, 9e4])

coefficients = st.tuples(st.floats(0, 1e-3), st.floats(0, 1e-8), st.floats(0, 1e-7)).filter(
    lambda c: c[0] > 1e-5 or c[1] > 1e-10
)


@given(truth=coefficients)
def test_known_coefficients_come_back(truth):
    base_s, per_pixel_s, per_byte_s = truth
    found = fit_codec(PIXELS, BYTES, base_s + per_pixel_s * PIXELS + per_byte_s * BYTES)
    assert found.error == pytest.approx(0.0, abs=1e-3)
    for pixels, size_bytes in ((5e4, 5e3), (3e5, 4e4)):
        expected_s = base_s + per_pixel_s * pixels + per_byte_s * size_bytes
        assert found.seconds(pixels, size_bytes) == pytest.approx(expected_s, rel=2e-3)


def test_scatter_is_stated_and_coefficients_stay_within_it():
    """Five per cent of log-normal scatter: no bias beyond three standard errors of the mean."""
    rng = np.random.default_rng(4)
    pixels, size_bytes = np.tile(PIXELS, 6), np.tile(BYTES, 6)
    truth = np.array([2e-4, 3e-9, 2e-8])
    design = np.column_stack([np.ones_like(pixels), pixels, size_bytes])
    found = []
    for _ in range(200):
        seconds = design @ truth * rng.lognormal(0.0, 0.05, len(pixels))
        time = fit_codec(pixels, size_bytes, seconds)
        found.append((time.base_s, time.per_pixel_s, time.per_byte_s, time.error))
    *coefficients_found, errors = np.array(found).T
    for values, expected in zip(coefficients_found, truth, strict=True):
        assert abs(np.mean(values) - expected) < 3 * np.std(values) / np.sqrt(len(values)) + 0.005 * expected
    assert np.median(errors) == pytest.approx(0.05 * 0.6745, rel=0.15)  # the median of |normal|


def test_a_codec_that_pixels_make_faster_is_bounded_at_zero():
    found = fit_codec(PIXELS, BYTES, 1e-3 + 1e-8 * BYTES - 1e-10 * PIXELS)
    assert found.per_pixel_s == 0.0
    assert min(found.base_s, found.per_byte_s) > 0.0


def test_repeats_are_medians_by_message():
    def samples(way, scale):
        return [
            CodecSample("jpeg", way, number, repeat, int(p), int(b), scale * (1e-4 + 1e-9 * p) * slow)
            for number, (p, b) in enumerate(zip(PIXELS, BYTES, strict=True))
            for repeat, slow in enumerate((1.0, 1.0, 40.0))
        ]

    found = fit_codecs([*samples("encode", 1.0), *samples("decode", 2.0)])["jpeg"]
    assert found.encode.seconds(1e5, 1e4) == pytest.approx(2e-4, rel=1e-3)
    assert found.decode.seconds(1e5, 1e4) == pytest.approx(4e-4, rel=1e-3)


def test_too_few_messages_are_refused():
    samples = [CodecSample("jpeg", "encode", n, 0, 100 * n + 100, 10, 1e-3) for n in range(3)]
    with pytest.raises(InputError, match=r"at least 4 messages to encode 'jpeg', found 3"):
        fit_codecs(samples)
