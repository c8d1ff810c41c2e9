"""Folders of images: layouts, order, ids."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.strategies.video import texture, write_folder
from traces.notices import InputWarning
from traces.video.folder_layout import in_order, natural_key
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


# -- order -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "names",
    [
        ["100.0", "100.25", "100.5"],
        ["99.75", "100", "100.25", "100.5", "101"],
        ["1305031102.175304", "1305031102.211214", "1305031103.000001"],
        ["shot2.8", "shot2.9", "shot2.10", "shot2.11"],
        ["v1.2.9", "v1.2.10", "v1.10.1"],
        ["take1.5_9", "take1.5_10"],
        ["frame1", "frame1-2", "frame1b", "frame2"],
    ],
)
def test_numbers_with_a_point_are_sorted_as_they_were_meant(names):
    assert in_order(sorted(names), "folder") == names
    assert in_order(sorted(names, reverse=True), "folder") == names


def test_a_digit_that_is_no_number_sorts_as_a_letter():
    assert in_order(["a²", "a1"], "folder") == ["a1", "a²"]


def test_decimals_within_a_name_are_said_to_be_taken_for_such(tmp_path):
    folder = write_folder(tmp_path / "seq", ["at_1.5s", "at_1.25s"], images=".", masks=None)
    with pytest.warns(InputWarning, match=r"numbers in names such as 'at_1.\d+s' are sorted as decimals"):
        video = load_video(folder, (48, 64))
    assert np.array_equal(video.image(0), texture(1))


# -- what 255 stands for ---------------------------------------------------------------------------


def write_masks(folder: Path, *masks: np.ndarray, palette: bool = False) -> None:
    for number, ids in enumerate(masks):
        picture = Image.fromarray(ids)
        if palette:
            picture.putpalette(np.arange(768, dtype=np.uint8).tolist())
        picture.save(folder / f"{number}.png")


def ids_of(*values: int) -> np.ndarray:
    """A mask with a band of each value."""
    return np.repeat(np.array(values, np.uint8), 48 // len(values))[:, None].repeat(64, 1)


@pytest.mark.parametrize("palette", [False, True])
def test_255_is_void_in_every_frame_of_a_sequence_with_other_ids(tmp_path, palette):
    folder = write_folder(tmp_path / "seq", ["0", "1"])
    write_masks(folder / "Annotations", ids_of(0, 255), ids_of(0, 3, 255), palette=palette)
    video = load_video(folder, 64)
    assert np.array_equal(video.mask(0)[8:56], ids_of(0, 255))
    assert np.array_equal(video.mask(1)[8:56], ids_of(0, 3, 255))
    assert (video.mask(0)[:8] == 0).all()
    assert (video.void, video.has_background) == (255, True)


def test_255_is_an_object_where_it_is_the_only_id_of_a_sequence(tmp_path):
    folder = write_folder(tmp_path / "seq", ["0", "1", "2"])
    write_masks(folder / "Annotations", ids_of(0, 255), ids_of(0, 0))
    Image.fromarray(ids_of(0, 255)).convert("1").save(folder / "Annotations" / "2.png")
    video = load_video(folder, (48, 64))
    for index, mask in enumerate((ids_of(0, 1), ids_of(0, 0), ids_of(0, 1))):
        assert np.array_equal(video.mask(index), mask)
    assert (video.void, video.has_background) == (0, True)


@pytest.mark.parametrize(("labels", "void"), [((0, 10, 11), 11), ((0, 11, 18), 255), ((0, 5, 255), 255)])
def test_class_labels_have_the_void_that_their_ids_tell(tmp_path, labels, void):
    """11 is void in CamVid and a class in Cityscapes."""
    folder = write_folder(tmp_path / "seq", ["0", "1"], images="images", masks="labels")
    write_masks(folder / "labels", ids_of(*labels), ids_of(0, 4))
    video = load_video(folder, 64)
    assert (video.void, video.has_background) == (void, False)
    assert np.array_equal(video.mask(0)[8:56], ids_of(*labels))
    assert (video.mask(1)[:8] == void).all()


# -- data sets -------------------------------------------------------------------------------------


def davis(root: Path, *names: str, resolution: str = "480p", masked: int = 2) -> Path:
    """The layout in which DAVIS comes, with two frames a sequence; the root."""
    for name in names:
        sequence = write_folder(root / name, ["00000", "00001"])
        for side, kept in (("JPEGImages", 2), ("Annotations", masked)):
            (root / side / resolution).mkdir(parents=True, exist_ok=True)
            for file in sorted((sequence / side).iterdir())[kept:]:
                file.unlink()
            (sequence / side).rename(root / side / resolution / name)
        sequence.rmdir()
    return root


@pytest.mark.parametrize("below", ["JPEGImages/480p/dog", "JPEGImages/480p", "JPEGImages", "."])
def test_the_layout_of_davis_has_its_masks(tmp_path, below):
    video = load_video(davis(tmp_path / "DAVIS", "dog") / below, (48, 64))
    assert np.array_equal(video.image(1), texture(1))
    assert np.array_equal(video.mask(1), np.eye(2, dtype=np.uint8)[[0]].repeat(48, 0).repeat(32, 1))
    assert video.name == "dog"


def test_the_layout_of_davis_from_within(tmp_path, monkeypatch):
    monkeypatch.chdir(davis(tmp_path / "DAVIS", "dog", "cat") / "JPEGImages" / "480p")
    video = load_video("dog", (48, 64))
    assert video.mask(0) is not None
    assert video.name == "dog"


def test_masks_of_a_few_frames_are_left_aside_and_said_so(tmp_path):
    root = davis(tmp_path / "DAVIS", "dog", masked=1)
    with pytest.warns(
        InputWarning, match=r"Annotations/480p/dog: has no mask for 1 of 2 images, first 00001.png"
    ):
        video = load_video(root / "JPEGImages" / "480p" / "dog", (48, 64))
    assert video.mask(0) is None


def test_grey_pictures_among_coloured_ones_are_said_to_look_like_masks(tmp_path):
    folder = write_folder(tmp_path / "seq", ["0", "1"], images=".", masks=None)
    Image.new("L", (64, 48)).save(folder / "0_mask.png")
    with pytest.warns(InputWarning, match=r"1 of 3 images are grey or have a palette, first 0_mask.png"):
        load_video(folder, (48, 64))


@pytest.mark.parametrize(
    ("names", "size", "masks", "fps"),
    [
        (["00000", "00001", "00002"], (854, 480), "Annotations", 24.0),
        (["00000", "00005", "00010"], (854, 480), "Annotations", 30.0),  # YouTube-VOS: every fifth frame
        (["00000", "00001", "00002"], (1280, 720), "Annotations", 30.0),
        (["00000", "00001", "00002"], (854, 480), None, 30.0),
    ],
)
def test_a_davis_sequence_was_filmed_at_24_frames_a_second(tmp_path, names, size, masks, fps):
    for folder in ("JPEGImages", *([masks] if masks else [])):
        (tmp_path / folder).mkdir()
        for name in names:
            Image.new("L", size).save(tmp_path / folder / f"{name}.png")
    assert load_video(tmp_path).fps == fps
    assert load_video(tmp_path, fps=12.5).fps == 12.5
