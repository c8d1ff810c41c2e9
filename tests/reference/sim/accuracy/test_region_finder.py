"""Boxes of what a small network finds, in the frame's pixels; and which network a run makes it of."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from kernels.codecs.result_codec import encode_boxes, encode_classes, encode_points
from sim.accuracy.region_finder import FinderRequest, NetworkFinder, boxes_of, seen_size_px
from sim.assembly import assemble
from sim.configuration import read_config
from sim.world.frame import FrameGeometry
from tests.strategies.sim import pixels
from traces.errors import InputError


def test_boxes_of_a_class_map_are_those_of_its_connected_parts():
    classes = np.zeros((20, 30), np.uint8)
    classes[2:5, 3:9] = 1
    classes[2:5, 9:12] = 2  # another class beside it
    classes[10:12, 20:22] = 1
    found = boxes_of(encode_classes(classes))
    assert sorted(found.tolist()) == [[3, 2, 9, 5], [9, 2, 12, 5], [20, 10, 22, 12]]
    assert boxes_of(encode_classes(np.zeros((20, 30), np.uint8))).shape == (0, 4)


def test_boxes_of_detections_are_the_detections():
    boxes = np.array([[1.5, 2.0, 8.0, 9.0], [0.0, 0.0, 3.0, 4.0]])
    assert boxes_of(encode_boxes(boxes, np.array([3, 4]), 20, 30)).tolist() == boxes.tolist()


def test_keypoints_are_no_regions():
    with pytest.raises(ValueError, match="boxes or classes"):
        boxes_of(encode_points(np.zeros((2, 3)), 20, 30))


def test_what_is_found_at_another_size_is_in_the_frames_pixels():
    seen = []

    def result(image):
        seen.append(image.shape)
        return encode_boxes(np.array([[8.0, 4.0, 16.0, 12.0]]), np.array([0]), *image.shape[:2])

    finder = NetworkFinder(result, (32, 64), lambda: 0.01)
    assert finder.find(np.zeros((96, 128, 3), np.uint8)).tolist() == [[16.0, 12.0, 32.0, 36.0]]
    assert seen == [(32, 64, 3)]


@pytest.mark.parametrize(
    ("frame", "longer_px", "size"),
    [((640, 640), 320, (320, 320)), ((1024, 512), 640, (640, 320)), ((96, 640), 64, (32, 64))],
)
def test_the_longer_side_is_scaled_and_both_are_multiples(frame, longer_px, size):
    assert seen_size_px(FrameGeometry(*frame), longer_px, 32) == size


def finder_of(options=None, **changes):
    """What a run on the composed scene makes of the system's request."""
    content = pixels("roi", options=options or {}, frames=1, **changes)
    if content["video"]["kind"] == "scene":
        content["video"] = {"kind": "scene"}  # of the profile's size
    return assemble(read_config(content)).simulation.cameras[0].system.finder


def test_a_stand_in_is_smaller_than_the_runs_network_and_takes_the_cards_time():
    finder = finder_of(deterministic=True)
    assert finder.size_px == (320, 320)
    assert finder.seconds() == pytest.approx(0.03988)
    assert finder_of({"detector_s": 0.005}).seconds() == 0.005
    assert finder_of({"stand_in_px": 256}).size_px == (256, 256)


@pytest.mark.parametrize(
    ("options", "changes", "message"),
    [
        ({"detector_weights": "none.safetensors"}, {}, r"system\.detector_weights: .* found none at none"),
        ({"detector": "yolo12"}, {}, r"system\.detector: .*'yolo12'"),
        (
            {},
            {"edge": "epyc_zen5_1thread", "cloud": "epyc_zen5_1thread", "model": {"name": "default"}},
            r"system\.detector_s: expected a time, or a profile",
        ),
    ],
)
@pytest.mark.filterwarnings("ignore:profile")
def test_a_finder_that_cannot_be_made_is_refused(options, changes, message):
    with pytest.raises(InputError, match=message):
        finder_of(options, **changes)


@pytest.mark.filterwarnings("ignore:video.size_px")
def test_a_stand_in_is_refused_where_the_video_is_none_of_the_scenes(tmp_path):
    for number in range(2):
        Image.fromarray(np.zeros((64, 64, 3), np.uint8)).save(tmp_path / f"{number:02d}.png")
    with pytest.raises(
        InputError, match=r"system\.detector_weights: expected a safetensors file of 'yolo11n'"
    ):
        finder_of(video={"kind": "file", "path": str(tmp_path)})


def test_a_request_names_a_card():
    assert FinderRequest("yolo11n") == FinderRequest("yolo11n", None, None, 320)
