"""Results on the wire: what was encoded is what is decoded, and it is small."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from kernels.codecs.result_codec import (
    decode_result,
    encode_boxes,
    encode_classes,
    encode_keypoints,
    encode_labels,
    encode_points,
)

HEADER_BYTES = 16
maps = arrays.arrays(np.uint8, st.tuples(st.integers(0, 40), st.integers(1, 40)), elements=st.integers(0, 4))
floats = st.floats(-1e4, 1e4, width=32)


@given(classes=maps)
def test_class_maps_come_back(classes):
    data = encode_classes(classes)
    found = decode_result(data)
    assert (found.kind, found.height_px, found.width_px) == ("classes", *classes.shape)
    np.testing.assert_array_equal(found.classes, classes)
    assert encode_classes(classes.copy()) == data


@pytest.mark.parametrize("length", [1, 127, 128, 16383, 16384, 300_000])
def test_runs_of_every_length_come_back(length):
    classes = np.ones((1000, 301), np.uint8)
    classes.reshape(-1)[:length] = 7
    np.testing.assert_array_equal(decode_result(encode_classes(classes)).classes, classes)


@given(
    boxes=arrays.arrays(np.float32, st.tuples(st.integers(0, 30), st.just(4)), elements=floats),
    seed=st.integers(0, 9),
)
def test_boxes_come_back_in_eighteen_bytes_each(boxes, seed):
    classes = np.random.default_rng(seed).integers(0, 80, len(boxes))
    data = encode_boxes(boxes, classes, 480, 640)
    found = decode_result(data)
    assert (found.kind, found.height_px, found.width_px) == ("boxes", 480, 640)
    np.testing.assert_array_equal(found.boxes, boxes)
    np.testing.assert_array_equal(found.classes, classes)
    assert found.boxes.dtype == np.float32
    assert len(data) <= HEADER_BYTES + 18 * len(boxes)


@given(points=arrays.arrays(np.float32, st.tuples(st.integers(0, 30), st.just(3)), elements=floats))
def test_keypoints_come_back_in_twelve_bytes_each(points):
    data = encode_points(points, 256, 192)
    np.testing.assert_array_equal(decode_result(data).points, points)
    assert len(data) <= HEADER_BYTES + 12 * len(points)


@given(
    points=arrays.arrays(np.float32, st.tuples(st.integers(0, 30), st.just(3)), elements=floats),
    seed=st.integers(0, 9),
)
def test_keypoints_with_kinds_come_back_in_fourteen_bytes_each(points, seed):
    kinds = np.random.default_rng(seed).integers(0, 65536, len(points))
    data = encode_keypoints(points, kinds, 256, 192)
    found = decode_result(data)
    assert (found.kind, found.height_px, found.width_px) == ("keypoints", 256, 192)
    np.testing.assert_array_equal(found.points, points)
    np.testing.assert_array_equal(found.classes, kinds)
    assert len(data) <= HEADER_BYTES + 14 * len(points)


@given(scores=arrays.arrays(np.float32, st.integers(0, 9), elements=floats), seed=st.integers(0, 9))
def test_labels_come_back_in_six_bytes_each(scores, seed):
    classes = np.random.default_rng(seed).integers(0, 1000, len(scores))
    data = encode_labels(classes, scores, 640, 640)
    found = decode_result(data)
    assert (found.kind, found.height_px, found.width_px) == ("labels", 640, 640)
    np.testing.assert_array_equal(found.scores, scores)
    np.testing.assert_array_equal(found.classes, classes)
    assert len(data) <= HEADER_BYTES + 6 * len(scores)


def test_a_mask_of_few_objects_takes_few_bytes():
    """Three discs of 640² px: two runs a row and object, so some 1,500 runs, of under three bytes each."""
    y, x = np.mgrid[:640, :640]
    classes = np.zeros((640, 640), np.uint8)
    for number, (cy, cx, radius) in enumerate([(150, 150, 90), (400, 300, 120), (500, 550, 60)]):
        classes[(y - cy) ** 2 + (x - cx) ** 2 < radius**2] = number + 1
    runs = 1 + int(np.count_nonzero(np.diff(classes.reshape(-1))))
    data = encode_classes(classes)
    assert 0.2 * runs < len(data) < 3 * runs
    np.testing.assert_array_equal(decode_result(data).classes, classes)


@given(position=st.integers(0, 199), bit=st.integers(0, 7))
def test_a_damaged_message_is_refused(position, bit):
    data = bytearray(encode_classes((np.arange(900, dtype=np.uint8) % 11).reshape(30, 30)))
    data[position % len(data)] ^= 1 << bit
    with pytest.raises(ValueError, match="result message"):
        decode_result(bytes(data))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: encode_classes(np.zeros((2, 2), int)), r"classes must be uint8 of \(H, W\) \(got int64"),
        (lambda: encode_boxes(np.zeros((2, 4)), [1], 8, 8), r"boxes must be \(1, 4\)"),
        (lambda: encode_boxes(np.zeros((1, 4)), [70000], 8, 8), "classes must be in 0 to 65535"),
        (lambda: encode_points(np.zeros((2, 2)), 8, 8), r"points must be \(n, 3\) \(got \(2, 2\)\)"),
        (lambda: decode_result(b"FR"), "at least 16 bytes"),
    ],
)
def test_what_cannot_be_encoded_says_why(call, message):
    with pytest.raises(ValueError, match=message):
        call()
