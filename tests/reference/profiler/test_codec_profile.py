"""`python -m profiler codecs`: every codec that a system here sends with is timed; profiles get the times."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from profiler.__main__ import main
from profiler.codecs import codecs_beside
from profiler.latency import PROFILE_FOLDER, read_profile, save_profile
from profiler.measure.codec_samples import read_codec_samples
from traces.errors import InputError

CODECS = {"raw", "png", "jpeg", "jpeg_420", "h264", "h264_keyframe", "quantised", "delta", "residual"}
CODECS |= {"features"}  # of cut networks
BLOCKS = {"raw_blocks", "png_blocks", "jpeg_blocks", "jpeg_420_blocks", "residual_blocks"}
COMMAND = ("codecs", "name=mybox", "resolution=128", "clock=thread", "repeats=3")


def test_the_command_times_every_codec_and_fills_the_devices_measured_profiles(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "mybox"
    folder.mkdir()
    without = replace(read_profile(PROFILE_FOLDER / "epyc_zen5_1thread" / "default.yaml"), codecs=None)
    save_profile(without, folder / "default.yaml")
    shutil.copy(PROFILE_FOLDER / "rtx_3080" / "yolo11m-seg.yaml", folder)
    published = (folder / "yolo11m-seg.yaml").read_bytes()
    assert main([*COMMAND, f"out={tmp_path}"]) == 0
    assert "jpeg_blocks" in capsys.readouterr().out
    profile = read_profile(folder / "default.yaml")
    assert profile.codecs is not None
    assert set(profile.codecs.times) == CODECS | BLOCKS
    for times in profile.codecs.times.values():
        for time in (times.encode, times.decode):
            assert time is not None
            assert 0.0 < time.seconds(128 * 128, 2000) < 1.0
            assert time.error is not None
    assert replace(profile, codecs=None) == without
    assert (folder / "yolo11m-seg.yaml").read_bytes() == published  # published figures stay as they are
    samples, provenance = read_codec_samples(folder / "codecs.parquet")
    assert len(samples) == provenance["samples"]
    assert provenance["kind"] == "measured"
    assert str(tmp_path) not in str(provenance)
    assert codecs_beside(folder) == profile.codecs
    repeats = {(one.codec, one.way, one.message): 0 for one in samples}
    for one in samples:
        repeats[one.codec, one.way, one.message] += 1
    assert set(repeats.values()) == {3}


def test_a_device_without_measured_profiles_is_told_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*COMMAND, f"out={tmp_path}"]) == 2
    assert "expected measured profiles to put the times into, found none" in capsys.readouterr().err


def test_another_table_is_no_table_of_codec_times(tmp_path: Path) -> None:
    samples = PROFILE_FOLDER / "epyc_zen5_1thread" / "default" / "samples.parquet"
    shutil.copy(samples, tmp_path / "codecs.parquet")
    with pytest.raises(InputError, match="expected the columns codec, way, message"):
        codecs_beside(tmp_path)
