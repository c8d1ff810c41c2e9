"""Times of codecs as T = c0 + c_px·pixels + c_B·bytes, by non-negative least squares."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from profiler.fit.least_squares import FloatArray, nonnegative_least_squares
from profiler.latency.codec_times import CodecTime, CodecTimes
from traces.errors import InputError

MESSAGES = 4  # one more than there are coefficients


@dataclass(frozen=True, slots=True)
class CodecSample:
    """One timed call.

    Attributes:
        codec: the name that profiles know it by.
        way: "encode" or "decode".
        message: which of its codec's it was: all repeats of a message share it.
        repeat: of the same message.
        pixels, size_bytes: of the message.
        seconds: what it took.
    """

    codec: str
    way: str
    message: int
    repeat: int
    pixels: int
    size_bytes: int
    seconds: float


def fit_codecs(samples: Iterable[CodecSample]) -> dict[str, CodecTimes]:
    """Both directions of every codec, by name.

    Raises:
        InputError: a codec has fewer messages than determine its coefficients.
    """
    found: dict[tuple[str, str], dict[int, list[CodecSample]]] = defaultdict(lambda: defaultdict(list))
    for sample in samples:
        found[sample.codec, sample.way][sample.message].append(sample)
    fitted = {}
    for (codec, way), messages in found.items():
        if len(messages) < MESSAGES:
            raise InputError(
                f"codecs: expected at least {MESSAGES} messages to {way} {codec!r}, found {len(messages)}"
            )
        repeats = messages.values()
        pixels = np.array([own[0].pixels for own in repeats], float)
        size_bytes = np.array([np.mean([one.size_bytes for one in own]) for own in repeats])
        seconds = np.array([np.median([one.seconds for one in own]) for own in repeats])
        fitted[codec, way] = fit_codec(pixels, size_bytes, seconds)
    return {
        codec: CodecTimes(fitted[codec, "encode"], fitted[codec, "decode"])
        for codec in dict.fromkeys(codec for codec, _ in fitted)
    }


def fit_codec(pixels: FloatArray, size_bytes: FloatArray, seconds: FloatArray) -> CodecTime:
    """The coefficients of one direction, relative errors weighted alike.

    Args:
        pixels, size_bytes, seconds: (n,), one a message.

    Returns:
        The time; its error is the median relative error of each message under the fit to all others.
    """
    design = np.column_stack([np.ones_like(pixels), pixels, size_bytes])
    weights = 1.0 / seconds**2
    base, per_pixel, per_byte = nonnegative_least_squares(design, seconds, weights)
    errors = []
    for out in range(len(seconds)):
        kept = np.arange(len(seconds)) != out
        found = nonnegative_least_squares(design[kept], seconds[kept], weights[kept])
        errors.append(abs(design[out] @ found / seconds[out] - 1.0))
    return CodecTime(_short(base), _short(per_pixel), _short(per_byte), round(float(np.median(errors)), 4))


def _short(value: float) -> float:
    return float(f"{value:.4g}")
