"""Clips from the wild: shown as they are meant to be seen, at the rate at which they were taken, every frame
found whichever is asked for."""

from __future__ import annotations

import itertools
import warnings
from fractions import Fraction

import numpy as np
import pytest

from tests.strategies.clips import decoded, moving, quarters, write_frames
from traces.errors import InputError
from traces.notices import InputWarning
from traces.video.frame_rate import frame_rate
from traces.video.loading import load_video
from traces.video.orientation import Orientation, read_matrix
from traces.video.sequence import PAD_GREY, resize_geometry
from traces.video.video_file import VideoFile

ONE = 1 << 16
TURNS = [(a, 0, 0, d) for a, d in itertools.product((1, -1), repeat=2)]
TURNS += [(0, b, c, 0) for b, c in itertools.product((1, -1), repeat=2)]


def shown(pixels, matrix):
    """The picture with each pixel (x, y) at (a·x + c·y, b·x + d·y), one by one."""
    a, b, c, d = matrix
    height, width = pixels.shape[:2]
    y, x = np.mgrid[:height, :width]
    across, down = a * x + c * y, b * x + d * y
    across, down = across - across.min(), down - down.min()
    seen = np.zeros((down.max() + 1, across.max() + 1, 3), np.uint8)
    seen[down, across] = pixels
    return seen


def alike(one, other):
    return one.shape == other.shape and np.abs(one.astype(int) - other).mean() < 8


# -- as they are meant to be seen ------------------------------------------------------------------


@pytest.mark.parametrize("turn", TURNS)
def test_a_clip_is_turned_and_mirrored_as_its_display_matrix_says(tmp_path, turn):
    a, b, c, d = (entry * ONE for entry in turn)
    path = write_frames(tmp_path / "clip.mp4", [quarters()] * 3, matrix=(a, b, 0, c, d, 0, 0, 0, 1 << 30))
    upright = shown(quarters(), turn)
    video = load_video(path, upright.shape[:2])
    assert alike(video.image(2), upright)


@pytest.mark.parametrize("turn", TURNS)
def test_every_orientation_is_the_one_that_its_matrix_maps_to(turn):
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    assert np.array_equal(read_matrix(turn, "clip").upright(pixels), shown(pixels, turn))


def test_a_matrix_may_scale_and_be_a_little_off_but_not_slant():
    assert read_matrix((2 * ONE, 0, 0, -3 * ONE), "clip") == Orientation(False, False, True)
    assert read_matrix((700, ONE, -ONE, -700), "clip") == Orientation(True, True, False)
    assert read_matrix((0, 0, 0, 0), "clip") == Orientation()
    with pytest.raises(
        InputError, match=r"\Aclip: expected a display matrix that .* turns by 45 degrees[^\n]*\Z"
    ):
        read_matrix((ONE, ONE, -ONE, ONE), "clip")


def test_a_clip_that_is_turned_aslant_is_refused_when_it_is_opened(tmp_path):
    matrix = (46341, 46341, 0, -46341, 46341, 0, 0, 0, 1 << 30)
    path = write_frames(tmp_path / "clip.mp4", [quarters()] * 3, matrix=matrix)
    with pytest.raises(InputError, match=r"clip.mp4: frame 0: .* turns by 45 degrees"):
        load_video(path)


def test_a_matroska_clip_is_turned_too(tmp_path):
    matrix = (0, ONE, 0, -ONE, 0, 0, 0, 0, 1 << 30)
    path = write_frames(tmp_path / "clip.mkv", [quarters()] * 3, matrix=matrix)
    assert alike(load_video(path, (96, 64)).image(0), np.rot90(quarters(), -1))


def test_pixels_twice_as_wide_as_high_make_a_picture_twice_as_wide(tmp_path):
    path = write_frames(tmp_path / "clip.mp4", [quarters(64, 64)] * 3, pixel_aspect=Fraction(2))
    assert alike(load_video(path, (64, 128)).image(1), quarters(64, 128))
    boxed = load_video(path, 128).image(1)
    assert alike(boxed[32:96], quarters(64, 128))
    assert (boxed[:32] == PAD_GREY).all()
    assert (boxed[96:] == PAD_GREY).all()
    cropped = load_video(path, 64, fit="crop").image(1)
    assert alike(cropped, quarters(64, 64))
    assert resize_geometry(64, 64, 64, "crop", 2.0).box == (16, 0, 48, 64)


def test_pixels_keep_their_shape_when_the_picture_is_turned(tmp_path):
    matrix = (0, ONE, 0, -ONE, 0, 0, 0, 0, 1 << 30)
    path = write_frames(
        tmp_path / "clip.mkv", [quarters(64, 64)] * 3, matrix=matrix, pixel_aspect=Fraction(2)
    )
    assert alike(load_video(path, (128, 64)).image(1), np.rot90(quarters(64, 128), -1))


# -- at the rate at which they were taken ----------------------------------------------------------

UNEVEN = [*range(0, 24, 2), *range(24, 96, 6)]  # of 1/60 s: 12 frames at 30 fps, then 12 at 10


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.ts", "a.flv", "a.mov"])
def test_a_rate_that_varies_is_its_mean_and_said_so(tmp_path, name):
    path = write_frames(tmp_path / name, moving(24), rate=60, ticks=UNEVEN)
    message = rf"\A\S+{name}: the frame rate varies, intervals are 33[.\d]* to 100 ms: the 24 frames [^\n]*\Z"
    with pytest.warns(InputWarning, match=message) as said:
        video = load_video(path, 96)
    assert len(said) == 1
    assert video.fps == pytest.approx(23 / 1.5, rel=1e-3)
    assert video.frame_count == 24


def test_it_is_said_once(tmp_path):
    path = write_frames(tmp_path / "a.mp4", moving(24), rate=60, ticks=UNEVEN)
    with pytest.warns(InputWarning):
        load_video(path, 96)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load_video(path, 64)


def test_a_rate_that_is_given_is_not_commented_upon(tmp_path):
    path = write_frames(tmp_path / "a.mp4", moving(24), rate=60, ticks=UNEVEN)
    assert load_video(path, 96, fps=12).fps == 12


def test_frames_that_an_avi_skips_are_not_missing(tmp_path):
    """Its header counts them, without a packet."""
    path = write_frames(tmp_path / "a.avi", moving(24), "mpeg4", {"g": "8"}, rate=60, ticks=UNEVEN)
    with pytest.warns(InputWarning, match="the frame rate varies"):
        video = load_video(path, 96)
    assert video.frame_count == 24
    assert video.fps == pytest.approx(23 / 1.5, rel=1e-3)
    assert len({video.image(i).tobytes() for i in range(24)}) == 24


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.avi", "a.ts", "a.flv"])
@pytest.mark.parametrize("rate", [20, 30])
def test_an_even_rate_is_exact_however_its_times_are_rounded(tmp_path, name, rate):
    """Matroska and FLV round to milliseconds."""
    assert load_video(write_frames(tmp_path / name, moving(24), rate=rate), 96).fps == rate


def test_what_the_container_guesses_is_not_believed_against_the_times(tmp_path):
    path = write_frames(tmp_path / "a.mkv", moving(24), rate=60, ticks=range(0, 96, 4))
    assert load_video(path, 96).fps == pytest.approx(15, rel=2e-3)


def test_a_rate_from_the_times():
    ntsc = Fraction(30000, 1001)
    rounded = [round(1000 * i / ntsc) for i in range(300)]
    steps = [b - a for a, b in itertools.pairwise(rounded)]
    assert frame_rate(steps, Fraction(1, 1000), (ntsc,)).fps == float(ntsc)
    assert frame_rate(steps, Fraction(1, 1000), (Fraction(30),)).fps == pytest.approx(float(ntsc), rel=1e-4)
    assert frame_rate(steps, Fraction(1, 1000), (None,)).varies_s is None
    # A frame that was lost; a rate that falls from 30 to 25 fps by and by.
    assert frame_rate([3, 3, 6, 3, 3], Fraction(1, 90), ()).varies_s == (3 / 90, 6 / 90)
    assert frame_rate([100] * 150 + [120] * 150, Fraction(1, 3000), ()).varies_s == (1 / 30, 1 / 25)
    assert frame_rate([], Fraction(1, 90), ()) is None


# -- every frame, whichever is asked for -----------------------------------------------------------

STREAMS = {
    "h264.ts": ("libx264", None),
    "open.ts": ("libx264", {"g": "8", "bf": "2", "x264-params": "open-gop=1"}),
    "hevc.ts": ("libx265", {"x265-params": "keyint=8:bframes=2:log-level=none"}),
    "mpeg2.ts": ("mpeg2video", {"g": "8", "bf": "2"}),
    "mpeg4.ts": ("mpeg4", {"g": "8", "bf": "2"}),
    "h264.m2ts": ("libx264", None),
    "mpeg2.mpg": ("mpeg2video", {"g": "8", "bf": "2"}),
    "mpeg2.vob": ("mpeg2video", {"g": "8", "bf": "2"}),
    "h264.mpg": ("libx264", None),
    "mpeg4.avi": ("mpeg4", {"g": "8", "bf": "2"}),
    "mpeg2.avi": ("mpeg2video", {"g": "8", "bf": "2"}),
    "refresh.mp4": ("libx264", {"g": "16", "bf": "0", "x264-params": "intra-refresh=1"}),
    "refresh.ts": ("libx264", {"g": "16", "bf": "0", "x264-params": "intra-refresh=1"}),
    "wmv2.wmv": ("wmv2", {"g": "8"}),
    "vp9.webm": ("libvpx-vp9", {"auto-alt-ref": "1", "lag-in-frames": "16", "g": "12"}),
}


@pytest.mark.parametrize("name", sorted(STREAMS))
def test_a_jump_finds_the_frame_that_an_even_reading_gives(tmp_path, name):
    codec, options = STREAMS[name]
    path = write_frames(tmp_path / name, moving(40), codec, options, rate=25)
    truth = decoded(path)
    video = VideoFile(path, (64, 96), cache_bytes=1)
    assert video.frame_count == len(truth) == 40
    for index in (38, 39, 5, 0, 21, 20, 1, 16, 17, 30, 8, 7, 24):
        assert np.array_equal(video.image(index), truth[index]), index


@pytest.mark.parametrize("name", ["a.mpg", "a.vob"])
def test_a_seek_that_gives_a_frame_the_time_of_another_is_seen_through(tmp_path, name):
    """A program stream does so where a frame's packet begins before the place that is sought."""
    path = write_frames(
        tmp_path / name, moving(48), "mpeg2video", {"g": "12", "bf": "2", "b": "4000000"}, rate=25
    )
    truth = decoded(path)
    for index in range(48):
        assert np.array_equal(VideoFile(path, (64, 96), cache_bytes=1).image(index), truth[index]), index


@pytest.mark.parametrize("name", ["a.mkv", "a.mp4", "a.mov", "a.ts", "a.webm"])
def test_a_clip_whose_clock_does_not_start_at_0_is_whole(tmp_path, name):
    codec = "libvpx" if name == "a.webm" else "libx264"
    path = write_frames(tmp_path / name, moving(24), codec, ticks=range(5000, 5072, 3))
    video = load_video(path, (64, 96))
    assert (video.frame_count, video.fps) == (24, 20)


def test_frames_that_an_avi_skips_beside_b_frames_are_not_missing(tmp_path):
    path = write_frames(tmp_path / "a.avi", moving(24), ticks=UNEVEN)
    assert load_video(path, (64, 96), fps=15).frame_count == 24


def test_a_recording_that_begins_between_two_key_frames_begins_with_the_next(tmp_path):
    whole = write_frames(tmp_path / "whole.ts", moving(30)).read_bytes()
    path = tmp_path / "cut.ts"
    path.write_bytes(whole[: 3 * 188] + whole[len(whole) // 188 // 8 * 188 :])
    truth = decoded(path)
    with pytest.warns(InputWarning, match=r"begins with \d frames that cannot be decoded"):
        video = VideoFile(path, (64, 96), cache_bytes=1)
    assert video.frame_count == len(truth) == 22
    for index in (21, 0, 9, 8, 16):
        assert np.array_equal(video.image(index), truth[index]), index


def test_frames_that_an_edit_list_leaves_out_are_not_missing(tmp_path):
    """As in a clip whose start was cut off without encoding it anew: the key frame is there, not shown."""
    muxer = {"use_editlist": "1", "avoid_negative_ts": "disabled"}
    path = write_frames(tmp_path / "cut.mp4", moving(30), ticks=range(-15, 75, 3), muxer=muxer)
    truth = decoded(path)
    video = VideoFile(path, (64, 96), cache_bytes=1)
    assert video.frame_count == len(truth) == 25
    for index in (20, 3, 0, 9, 24):
        assert np.array_equal(video.image(index), truth[index]), index


def test_a_second_start_of_the_clock_ends_nothing(tmp_path):
    """Two recordings in one file, one behind the other, as `cat` makes them."""
    once = write_frames(tmp_path / "once.ts", moving(30)).read_bytes()
    path = tmp_path / "twice.ts"
    path.write_bytes(once + once)
    video = VideoFile(path, (64, 96), cache_bytes=1)
    assert (video.frame_count, video.fps) == (60, 20)
    assert np.array_equal(video.image(45), video.image(15))


# -- the right stream ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv"])
def test_a_thumbnail_before_the_video_is_not_the_video(tmp_path, name):
    path = write_frames(tmp_path / name, moving(20), before=[[quarters(32, 32)]])
    video = VideoFile(path, (64, 96), cache_bytes=1)
    truth = decoded(path, stream=1)
    assert video.frame_count == len(truth) == 20
    for index in (17, 3):
        assert np.array_equal(video.image(index), truth[index])


def test_of_two_videos_the_first_is_used_and_said_so(tmp_path):
    path = write_frames(tmp_path / "a.mkv", moving(20), before=[moving(12, 32, 48)])
    with pytest.warns(InputWarning, match=r"has 2 videos; the first is used, 48×32 px, 12 frames"):
        video = load_video(path, (32, 48))
    assert video.frame_count == 12


@pytest.mark.parametrize(
    ("name", "codec", "pix_fmt"), [("a.gif", "gif", "rgb8"), ("a.apng", "apng", "rgb24")]
)
def test_an_animated_picture_is_a_clip(tmp_path, name, codec, pix_fmt):
    path = write_frames(tmp_path / name, moving(12), codec, pix_fmt=pix_fmt, rate=10)
    truth = decoded(path)
    video = load_video(path, (64, 96))
    assert (video.frame_count, video.fps) == (12, 10)
    for index in (11, 4, 0):
        assert np.array_equal(video.image(index), truth[index])
