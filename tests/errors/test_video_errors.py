"""Bad videos: one line that names the file or the argument, what was expected and what was found."""

from __future__ import annotations

import re

import numpy as np
import pytest
from PIL import Image

from tests.strategies.video import Numbered, write_clip, write_folder
from traces.errors import InputError
from traces.video.image_folder import ImageFolder
from traces.video.loading import load_video
from traces.video.scenes.scene import Scene
from traces.video.sequence import RepeatedVideo
from traces.video.video_file import VideoFile


def refused(message: str, *where: object):
    """Expect an InputError of one line that contains `message` and names each of `where`."""
    names = "".join(f"(?=.*{re.escape(str(part))})" for part in where)
    return pytest.raises(InputError, match=rf"\A{names}.*{re.escape(message)}[^\n]*\Z")


def test_a_path_that_does_not_exist(tmp_path):
    with refused("expected a video file or a folder of images, found nothing", tmp_path / "none"):
        load_video(tmp_path / "none")


def test_a_folder_that_does_not_exist(tmp_path):
    with refused("expected a folder of images, found nothing", tmp_path / "none"):
        ImageFolder(tmp_path / "none")


def test_an_empty_folder(tmp_path):
    with refused("expected images (.bmp, .jpeg, .jpg, .png", tmp_path):
        load_video(tmp_path)


def test_a_file_with_another_suffix(tmp_path):
    file = tmp_path / "trace.csv"
    file.write_text("1\n")
    with refused("got a file with the suffix '.csv'", file):
        load_video(file)


@pytest.mark.parametrize("size_px", [0, -16, 100, (640, 650)])
def test_a_size_that_is_no_multiple_of_16(tmp_path, size_px):
    with refused("size_px: expected a positive multiple of 16 px, got"):
        load_video(write_folder(tmp_path / "seq", ["0", "1"]), size_px)


@pytest.mark.parametrize("fps", [0, -1.0, float("nan"), float("inf")])
def test_a_rate_that_is_not_positive(tmp_path, fps):
    with refused("fps: expected a positive number of frames a second, got"):
        load_video(write_folder(tmp_path / "seq", ["0", "1"]), 64, fps=fps)


def test_an_unknown_fit(tmp_path):
    with refused("fit: expected one of letterbox, stretch, crop, got 'fill'"):
        load_video(write_folder(tmp_path / "seq", ["0", "1"]), 64, "fill")


def test_images_of_different_sizes(tmp_path):
    folder = write_folder(tmp_path / "seq", ["0", "1"])
    odd = folder / "JPEGImages" / "1.png"
    Image.new("RGB", (80, 48)).save(odd)
    with refused("expected 64×48 px as 0.png, got 80×48 px", odd):
        load_video(folder)


def test_a_mask_of_another_size(tmp_path):
    folder = write_folder(tmp_path / "seq", ["0", "1"])
    odd = folder / "Annotations" / "1.png"
    Image.new("L", (32, 24)).save(odd)
    with refused("expected 64×48 px as 0.png, got 32×24 px", odd):
        load_video(folder)


def test_a_mask_that_is_missing(tmp_path):
    folder = write_folder(tmp_path / "seq", ["0", "1", "2"])
    lost = folder / "Annotations" / "1.png"
    lost.unlink()
    with refused("expected a mask for every image, found none for 1 of 3, first 1.png", lost):
        load_video(folder)


@pytest.mark.parametrize("suffixes", [(".jpg", ".png"), (".png", ".tif")])
def test_the_same_name_twice_as_an_image_beside_its_mask(tmp_path, suffixes):
    for name in ("0", "1"):
        for suffix in suffixes:
            Image.new("RGB", (64, 48)).save(tmp_path / f"{name}{suffix}")
    found = f"expected one image of each name, found 0{suffixes[0]} and 0{suffixes[1]}; masks belong into"
    with refused(found, tmp_path):
        load_video(tmp_path)


def test_two_masks_of_an_image(tmp_path):
    folder = write_folder(tmp_path / "seq", ["0", "1"])
    Image.new("L", (64, 48)).save(folder / "Annotations" / "1.bmp")
    with refused("expected one mask of each name, found 1.bmp and 1.png", folder / "Annotations"):
        load_video(folder)


def test_masks_with_soft_edges(tmp_path):
    folder = write_folder(tmp_path / "seq", ["0"])
    soft = np.tile(np.linspace(0, 255, 64).astype(np.uint8), (48, 2))[:, :64]
    Image.fromarray(np.vstack([soft[:24], np.roll(soft[:24] // 2, 1)])).save(folder / "Annotations" / "0.png")
    video = load_video(folder, 64)
    with refused("grey levels between 0 and 255: soft edges", folder / "Annotations"):
        video.mask(0)


@pytest.mark.parametrize("below", [".", "JPEGImages", "JPEGImages/480p"])
def test_a_data_set_of_several_sequences(tmp_path, below):
    for name in ("cat", "dog"):
        for side in ("JPEGImages", "Annotations"):
            write_folder(tmp_path / side / "480p" / name, ["0"], images=".", masks=None)
    with refused("expected the images of one sequence, found 2 folders; name one of them: cat, dog", "480p"):
        load_video(tmp_path / below)
    with refused("expected images, found the masks of", tmp_path / "Annotations" / "480p" / "dog"):
        load_video(tmp_path / "Annotations" / "480p" / "dog")


def test_a_mask_in_colour(tmp_path):
    folder = write_folder(tmp_path / "seq", ["0", "1"])
    painted = folder / "Annotations" / "1.png"
    Image.new("RGB", (64, 48), (255, 0, 0)).save(painted)
    video = load_video(folder, 64)
    with refused("expected ids in one channel or a palette, got a colour image", painted):
        video.mask(1)


def test_an_image_cut_short(tmp_path):
    folder = write_folder(tmp_path / "seq", ["0", "1"])
    broken = folder / "JPEGImages" / "1.png"
    broken.write_bytes(broken.read_bytes()[:2000])
    video = load_video(folder, 64)
    with refused("expected a whole image, the file is damaged", broken):
        video.image(1)


def test_a_file_that_is_no_image(tmp_path):
    folder = write_folder(tmp_path / "seq", ["0", "1"])
    broken = folder / "JPEGImages" / "1.png"
    broken.write_bytes(b"hello")
    with refused("expected an image, the file cannot be read as one", broken):
        load_video(folder)


@pytest.mark.parametrize("content", [b"", b"hello" * 1000])
def test_a_clip_that_is_no_video(tmp_path, content):
    file = tmp_path / "clip.mp4"
    file.write_bytes(content)
    with refused("expected a video, the file cannot be read as one", file):
        load_video(file)


def test_a_clip_without_pictures(tmp_path):
    import av

    file = tmp_path / "sound.mkv"
    with av.open(str(file), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 800), dtype=np.int16), format="s16", layout="mono")
        sound.rate = 8000
        for packet in (*stream.encode(sound), *stream.encode(None)):
            container.mux(packet)
    with refused("expected a video stream, found none", file):
        load_video(file)


def test_a_clip_cut_short_names_the_first_frame_that_is_missing(tmp_path):
    file = write_clip(tmp_path / "clip.mp4", index_first=True)
    content = file.read_bytes()
    file.write_bytes(content[: len(content) * 2 // 3])
    with refused("expected 30 frames as the header says, found", file, "frame 1"):
        VideoFile(file, 96)


def test_a_cut_clip_whose_header_counts_seconds(tmp_path):
    file = write_clip(tmp_path / "clip.mkv", frames=60)
    content = file.read_bytes()
    file.write_bytes(content[: len(content) * 2 // 3])
    with refused("expected 3.000 s of video as the header says, found 2.000 s; the clip is truncated", file):
        VideoFile(file, 96)


def test_a_clip_with_damaged_data_names_the_frame(tmp_path):
    file = write_clip(tmp_path / "clip.mp4", frames=40)
    content = bytearray(file.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 3000] = b"\x5a" * 3000
    file.write_bytes(content)
    clip = VideoFile(file, 96)
    with refused("the clip is damaged", file, "frame"):
        for index in range(clip.frame_count):
            clip.image(index)


def test_more_frames_than_there_are():
    with refused("frames: video 'numbered' has 4 frames, got 5 with repeat=stop"):
        RepeatedVideo(Numbered(4), 5, "stop")


def test_an_unknown_repetition_and_no_frames():
    with refused("repeat: expected one of pingpong, loop, stop, got 'bounce'"):
        RepeatedVideo(Numbered(4), 4, "bounce")
    with refused("frames: expected a positive number of frames, got 0"):
        RepeatedVideo(Numbered(4), 0)


def test_a_scene_out_of_range():
    with refused("scene: expected one of calm, walk, drive, got 'run'"):
        Scene("run")
    with refused("frames: expected a positive number of frames, got 0"):
        Scene(frame_count=0)
    with refused("noise_sigma: expected 0 to 30 grey levels, got -1"):
        Scene(noise_sigma=-1)
    with refused("seed: expected an integer from 0, got -3"):
        Scene(seed=-3)
    with refused("size_px: expected a positive multiple of 16 px, got 650"):
        Scene(size_px=650)
