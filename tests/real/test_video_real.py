"""Real sequences: the frames are those that PyAV and Pillow decode."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from traces.video.loading import load_video
from traces.video.video_file import VideoFile

pytestmark = pytest.mark.data
CLIPS = {
    "udacity_solidWhiteRight.mp4": (221, 25.0, 540, 960),
    "intel_car-detection.mp4": (377, 12.5, 432, 768),
}
SEQUENCES = {"blackswan": 50, "bmx-trees": 60, "car-shadow": 40, "dance-twirl": 60}


@pytest.mark.parametrize("name", sorted(CLIPS))
def test_clip_frames_equal_a_sequential_decode(data_dir, name):
    import av

    count, fps, height, width = CLIPS[name]
    size_px = (height // 16 * 16, width // 16 * 16)
    clip = VideoFile(data_dir / "videos" / name, size_px, "crop", cache_bytes=4 * 2**20)
    assert (clip.frame_count, clip.fps) == (count, fps)
    wanted = {0, 1, 29, 30, 31, 59, 60, 61, 119, 120, 121, 200, count - 1}
    truth = {}
    with av.open(str(data_dir / "videos" / name)) as container:
        for index, frame in enumerate(container.decode(video=0)):
            if index in wanted:
                truth[index] = frame.to_ndarray(format="rgb24")
        assert index + 1 == count
    top = (height - size_px[0]) // 2
    for index in [61, 60, 0, 200, 59, count - 1, 30, 31, 29, 1, 120, 119, 121]:
        assert np.array_equal(clip.image(index), truth[index][top : top + size_px[0]]), index


@pytest.mark.parametrize("name", sorted(SEQUENCES))
def test_davis_sequences_have_their_frames_and_masks(data_dir, name):
    folder = data_dir / "videos" / "davis" / name
    video = load_video(folder)
    assert (video.frame_count, video.height_px, video.width_px) == (SEQUENCES[name], 640, 640)
    for index in (0, video.frame_count - 1):
        image, mask = video.image(index), video.mask(index)
        truth = np.asarray(Image.open(folder / "Annotations" / f"{index:05d}.png").convert("L")) > 0
        assert set(np.unique(mask)) <= {0, 1}
        # Letterboxed 854×480 → 640×360: an area shrinks by the square of the scale, but for its border.
        assert mask.sum() == pytest.approx(truth.sum() * (640 * 360) / truth.size, rel=0.03)
        assert (image[:140] == 114).all()
        assert (image[500:] == 114).all()


def test_camvid_labels_are_classes_with_void_around(data_dir):
    video = load_video(data_dir / "videos" / "camvid_0016E5", fps=15)
    assert (video.frame_count, video.fps) == (40, 15)
    mask = video.mask(7)
    assert set(np.unique(mask)) <= set(range(12))
    assert (mask[:80] == 11).all()
    assert np.unique(mask[80:560]).size > 5
