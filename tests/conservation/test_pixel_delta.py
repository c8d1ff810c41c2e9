"""Pixel deltas: both ends hold the same reference, and it never drifts from the frame."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernels.codecs.pixel_delta import PixelDeltaReceiver, PixelDeltaSender
from tests.strategies.images import images


@settings(max_examples=60, deadline=None)
@given(st.data(), st.sampled_from([0.0, 0.02, 0.1, 0.5, 1.0]), st.sampled_from([1, 3, 15]), st.booleans())
def test_both_ends_agree_and_stay_within_the_threshold(data, threshold, dilation_px, deflate):
    frames = data.draw(images(32, 48, True, count=4))
    sender = PixelDeltaSender(threshold, dilation_px, deflate=deflate)
    receiver = PixelDeltaReceiver()
    before = np.zeros_like(frames[0])
    for number, frame in enumerate(frames):
        delta = sender.encode(frame)
        arrived = receiver.apply(delta.data)

        assert arrived.tobytes() == sender.reference.tobytes()
        assert np.abs(arrived.astype(int) - frame).max() <= threshold * 255
        difference = np.abs(before.astype(int) - frame).max(axis=2)
        active = difference > threshold * 255
        if number == 0:
            active[:] = True
        elif dilation_px > 1:
            half = dilation_px // 2
            padded = np.pad(active, half)
            windows = np.lib.stride_tricks.sliding_window_view(padded, (dilation_px, dilation_px))
            active = windows.any(axis=(2, 3))
        assert delta.active_fraction == pytest.approx(active.mean())
        blocks = active.reshape(2, 16, 3, 16).any(axis=(1, 3))
        np.testing.assert_array_equal(delta.blocks, np.flatnonzero(blocks))
        np.testing.assert_array_equal(arrived[active], frame[active])
        np.testing.assert_array_equal(arrived[~active], before[~active])
        before = arrived.copy()


def test_small_changes_add_up_until_they_are_sent():
    sender = PixelDeltaSender(threshold=10 / 255)
    sent = []
    for brightness in range(100, 145, 4):
        delta = sender.encode(np.full((16, 16, 3), brightness, np.uint8))
        sent.append((brightness, delta.active_fraction))
    assert [brightness for brightness, active in sent if active] == [100, 112, 124, 136]


def test_a_still_frame_costs_little_more_than_its_header():
    frame = np.random.default_rng(0).integers(0, 256, (640, 640, 3), dtype=np.uint8)
    sender = PixelDeltaSender(0.0)
    assert len(sender.encode(frame).data) > frame.nbytes
    still = sender.encode(frame)
    assert len(still.data) < 100
    assert still.active_fraction == 0
    assert len(still.blocks) == 0


def test_active_pixels_cost_three_bytes_each():
    generator = np.random.default_rng(1)
    frame = generator.integers(0, 256, (64, 64, 3), dtype=np.uint8)
    sender = PixelDeltaSender(0.0)
    sender.encode(frame)
    changed = frame.copy()
    changed[10:30, 20:50] ^= 255
    delta = sender.encode(changed)
    assert delta.active_fraction == 20 * 30 / 64**2
    assert 3 * 20 * 30 < len(delta.data) < 3 * 20 * 30 + 16 + 64 * 64 // 8


def test_after_a_reset_a_new_receiver_can_join():
    generator = np.random.default_rng(2)
    frames = generator.integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)
    sender = PixelDeltaSender(0.1)
    sender.encode(frames[0])
    sender.reset()
    np.testing.assert_array_equal(PixelDeltaReceiver().apply(sender.encode(frames[1]).data), frames[1])
