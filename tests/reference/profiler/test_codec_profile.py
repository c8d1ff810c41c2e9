"""`python -m profiler codecs`: every codec that a system here sends with is timed; profiles get the times."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from profiler.__main__ import main
from profiler.codecs import codecs_beside
from profiler.latency import (
    PROFILE_FOLDER,
    CodecTable,
    CodecTime,
    CodecTimes,
    available_profiles,
    load_profile,
    read_codecs_file,
    read_profile,
    save_codecs_file,
    save_profile,
)
from profiler.measure.codec_samples import read_codec_samples
from traces.errors import InputError

CODECS = {"raw", "png", "jpeg", "jpeg_420", "h264", "h264_keyframe", "quantised", "delta", "residual"}
CODECS |= {"features"}  # of cut networks
BLOCKS = {"raw_blocks", "png_blocks", "jpeg_blocks", "jpeg_420_blocks", "residual_blocks"}
TIME = CodecTime(1e-3, 1e-9, 1e-9)
OWN = CodecTable({"kind": "measured", "source": "own"}, {"jpeg": CodecTimes(TIME, TIME)})
BESIDE = CodecTable({"kind": "measured", "source": "beside"}, {"png": CodecTimes(TIME, None)})
COMMAND = ("codecs", "name=mybox", "resolution=128", "clock=thread", "repeats=3")


def test_the_command_times_every_codec_for_all_models_of_a_device(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "mybox"
    folder.mkdir()
    without = replace(read_profile(PROFILE_FOLDER / "epyc_zen5_1thread" / "default.yaml"), codecs=None)
    save_profile(without, folder / "default.yaml")
    save_profile(replace(without, model="older", codecs=OWN), folder / "older.yaml")
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
    assert "\ncodecs" not in (folder / "default.yaml").read_text() + (folder / "older.yaml").read_text()
    assert read_profile(folder / "older.yaml").codecs == profile.codecs  # not what it had of its own
    repeats = {(one.codec, one.way, one.message): 0 for one in samples}
    for one in samples:
        repeats[one.codec, one.way, one.message] += 1
    assert set(repeats.values()) == {3}


def test_times_that_were_assumed_of_a_board_are_not_overwritten(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assumed = shutil.copytree(PROFILE_FOLDER / "rtx_3080", tmp_path / "mybox") / "codecs.yaml"
    before = assumed.read_bytes()
    assert main([*COMMAND, f"out={tmp_path}"]) == 2
    assert "codecs.yaml: holds assumed times: give name=<another device name>" in capsys.readouterr().err
    assert assumed.read_bytes() == before
    assert not (tmp_path / "mybox" / "codecs.parquet").exists()


def test_own_times_come_before_those_beside_a_profile_and_those_before_others(tmp_path: Path) -> None:
    published = PROFILE_FOLDER / "rtx_3080" / "yolo11m-seg.yaml"
    theirs = read_profile(published).codecs
    own, other = tmp_path / "own", tmp_path / "other"
    for folder in (own, other):
        (folder / "rtx_3080").mkdir(parents=True)
    mine = own / "rtx_3080" / published.name
    shutil.copy(published, mine)
    assert read_profile(mine).codecs is None
    assert load_profile("rtx_3080", "yolo11m-seg", [own, other, PROFILE_FOLDER]).codecs == theirs
    save_codecs_file(OWN, other / "rtx_3080")
    assert load_profile("rtx_3080", "yolo11m-seg", [own, other, PROFILE_FOLDER]).codecs == OWN
    save_codecs_file(BESIDE, own / "rtx_3080")
    assert load_profile("rtx_3080", "yolo11m-seg", [own, other, PROFILE_FOLDER]).codecs == BESIDE
    assert available_profiles([own]) == {"rtx_3080": ("yolo11m-seg",)}
    save_profile(replace(read_profile(mine), codecs=OWN), mine)
    assert load_profile("rtx_3080", "yolo11m-seg", [own, other, PROFILE_FOLDER]).codecs == OWN


def test_a_file_of_codec_times_is_checked_like_a_profile(tmp_path: Path) -> None:
    path = save_codecs_file(OWN, tmp_path)
    path.write_text(path.read_text().replace("measured", "guessed"))
    with pytest.raises(InputError, match=r"codecs.yaml: provenance.kind: expected one of .* found 'guessed'"):
        read_codecs_file(tmp_path)
    path.write_text("- jpeg\n")
    with pytest.raises(InputError, match=r"codecs.yaml: expected"):
        read_codecs_file(tmp_path)


def test_another_table_is_no_table_of_codec_times(tmp_path: Path) -> None:
    samples = PROFILE_FOLDER / "epyc_zen5_1thread" / "default" / "samples.parquet"
    shutil.copy(samples, tmp_path / "codecs.parquet")
    with pytest.raises(InputError, match="expected the columns codec, way, message"):
        codecs_beside(tmp_path)
