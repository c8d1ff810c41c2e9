"""Measure what every configuration sends on a clip, and what results are worth with it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import product

import numpy as np
from numpy.typing import NDArray

from sim.systems.awstream.degradation import Conditions, Degradation, DegradationProfile, Measured
from sim.systems.awstream.stream import DegradedStream

Image = NDArray[np.uint8]

# Widths 1920, 1600, 1280, 960, 640 and 320 px of a clip that is 1920 px wide, as shares; here without 1600.
SCALES = (1.0, 2 / 3, 1 / 2, 1 / 3, 1 / 6)
SKIPPED = (0, 2, 5, 9, 14, 29)  # 30, 10, 5, 3, 2 and 1 frames/s of 30
QPS = (10, 20, 30, 40, 50)  # 0 is lossless, another profile of the standard


def configurations(
    scales: Sequence[float] = SCALES, skipped: Sequence[int] = SKIPPED, qps: Sequence[int] = QPS
) -> tuple[Degradation, ...]:
    """All triples."""
    return tuple(Degradation(*each) for each in product(scales, skipped, qps))


def measure(
    images: Sequence[Image],
    conditions: Conditions,
    result_of: Callable[[Image], bytes],
    agreement: Callable[[bytes, bytes], float],
    given: Sequence[Degradation],
    keyframe_interval: int = 250,
) -> Iterator[Measured]:
    """Each configuration in its turn: encoded, decoded, brought back to size, inferred, compared.

    A frame that is left out is shown the result of the one before it that was sent.

    Args:
        images: of the clip, (H, W, 3) each.
        conditions: for its frame rate.
        result_of: dense inference.
        agreement: of a result with the truth.
    """
    truths = [result_of(image) for image in images]
    seconds = len(images) / conditions.fps
    for each in given:
        stream = DegradedStream(keyframe_interval, each)
        sent_bytes, agreed, shown = 0, 0.0, b""
        for index, image in enumerate(images):
            if index % (each.skipped + 1) == 0:
                packet = stream.encode_image(image)
                sent_bytes += packet.size_bytes
                shown = result_of(packet.decoded())
            agreed += agreement(shown, truths[index])
        yield Measured(each, 8.0 * sent_bytes / seconds, agreed / len(images))


def profile_of(conditions: Conditions, measured: Sequence[Measured]) -> DegradationProfile:
    """What was measured, rounded as a file holds it, so that a profile is the same written and read."""
    return DegradationProfile(
        conditions,
        tuple(
            Measured(
                Degradation(float(f"{one.degradation.scale:.6g}"), *one.degradation[1:]),
                round(one.rate_bps, 1),
                round(one.accuracy, 5),
            )
            for one in measured
        ),
    )
