"""Folders of images: layouts, order, ids."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.strategies.video import texture, write_folder
from traces.video.image_folder import natural_key
from traces.video.loading import load_video


def test_frames_come_in_natural_order(tmp_path):
    names = ["frame1", "frame2", "frame9", "frame10", "frame100"]
    folder = write_folder(tmp_path / "seq", names)
    video = load_video(folder, (48, 64))
    for index in range(len(names)):
        assert np.array_equal(video.image(index), texture(index))
    assert sorted(["b2", "a10", "b10", "a9"], key=natural_key) == ["a9", "a10", "b2", "b10"]


def test_a_davis_folder_has_object_1_where_its_mask_is_255(tmp_path):
    video = load_video(write_folder(tmp_path / "seq", ["0", "1"]), (48, 64))
    mask = video.mask(1)
    assert (mask[:, :32] == 1).all()
    assert not mask[:, 32:].any()
    assert (video.frame_count, video.fps, video.name, video.synthetic) == (2, 30.0, "seq", False)


def test_palette_masks_keep_their_indices(tmp_path):
    folder = write_folder(tmp_path / "seq", ["0"])
    ids = np.zeros((48, 64), dtype=np.uint8)
    ids[10:20], ids[30:40] = 1, 2
    picture = Image.fromarray(ids, mode=None).convert("P")
    picture.putdata(ids.ravel().tolist())
    picture.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0] + [0] * 759)
    picture.save(folder / "Annotations" / "0.png")
    assert np.array_equal(load_video(folder, (48, 64)).mask(0), ids)


def test_class_labels_pad_with_the_void_class(tmp_path):
    folder = write_folder(tmp_path / "seq", ["0"], images="images", masks="labels")
    labels = np.full((48, 64), 4, dtype=np.uint8)
    Image.fromarray(labels).save(folder / "labels" / "0.png")
    mask = load_video(folder, 64).mask(0)
    assert (mask[8:56] == 4).all()
    assert (mask[:8] == 11).all()
    assert (mask[56:] == 11).all()


@pytest.mark.parametrize("images", ["JPEGImages", "images", "."])
def test_without_masks_there_is_no_ground_truth(tmp_path, images):
    video = load_video(write_folder(tmp_path / "seq", ["0", "1"], images=images, masks=None), 64, fps=12)
    assert video.mask(0) is None
    assert video.vectors(1, 0) is None
    assert video.fps == 12


def test_sixteen_bits_a_channel_are_scaled_and_thirty_two_refused(tmp_path):
    grey = np.tile(np.arange(64, dtype=np.uint8) * 4, (64, 1))
    for name, pixels in (
        ("eight", grey),
        ("sixteen", grey.astype(np.uint16) * 257),
        ("real", (grey / 255).astype(np.float32)),
    ):
        (tmp_path / name).mkdir()
        Image.fromarray(pixels).save(tmp_path / name / "0.tif")
    eight, sixteen = (load_video(tmp_path / name, size_px=64).image(0) for name in ("eight", "sixteen"))
    np.testing.assert_array_equal(sixteen, eight)
    with pytest.raises(ValueError, match="expected 8 or 16 bits a channel, got 32"):
        load_video(tmp_path / "real", size_px=64).image(0)


def test_a_picture_stands_as_its_camera_was_held(tmp_path: Path) -> None:
    """EXIF orientation 6: stored lying on its side, seen upright."""
    upright = np.zeros((64, 32, 3), np.uint8)
    upright[:32] = 200
    lying = Image.fromarray(np.ascontiguousarray(np.rot90(upright)))
    exif = Image.Exif()
    exif[274] = 6
    lying.save(tmp_path / "0.webp", lossless=True, exif=exif)
    folder = load_video(tmp_path, size_px=(64, 32), fit="stretch")
    assert np.array_equal(folder.image(0), upright)
