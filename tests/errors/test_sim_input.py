"""Bad input ends with exit code 2, one line that names key or file, and nothing that looks like a result."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from sim import __main__ as command_line
from sim.assembly import assemble
from sim.configuration import read_config
from tests.strategies.sim import statistical
from traces.errors import InputError

FAST = ("video=statistical", "frames=4")


def run_command(repository: Path, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The real command in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "sim", *arguments, *FAST, f"hydra.run.dir={folder}"],
        cwd=repository,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
    )


Refusal = Callable[..., str]


@pytest.fixture
def refusal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Refusal:
    """Run the command in this process; check how it ends; return its one line."""

    def refuse(*arguments: str) -> str:
        folder = tmp_path / "run"
        argv = ["sim", *FAST, *arguments, f"hydra.run.dir={folder}"]
        monkeypatch.setattr(sys, "argv", argv)
        monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
        with pytest.raises(SystemExit) as ended:
            command_line.main()
        assert ended.value.code == 2
        lines = capsys.readouterr().err.splitlines()
        assert len(lines) == 1, lines
        assert lines[0].startswith("error: ")
        assert not (folder / "summary.json").exists()
        assert not (folder / "frames.parquet").exists()
        return lines[0]

    return refuse


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["system=fluxshard_eo"], ["system", "fluxshard_ea", "did you mean", "full_offload"]),
        (["trace=meduim"], ["trace", "did you mean medium"]),
        (["scheduler=best"], ["scheduler", "ea, latency, oracle"]),
        (["frmes=3"], ["frmes", "did you mean frames"]),
        (["+link.colour=red"], ["link.colour", "expected one of the keys"]),
        (["+system.paitence_s=1"], ["system.paitence_s", "did you mean 'patience_s'"]),
        (["frames=many"], ["frames", "whole number", "'many'"]),
        (["frames=1.5"], ["frames", "whole number", "1.5"]),
        (["frames=0"], ["frames", "at least 1", "0"]),
        (["cameras=0"], ["cameras", "at least 1", "0"]),
        (["in_flight=0"], ["in_flight", "at least 1 frame", "0"]),
        (["fps=0"], ["fps", "> 0 frames/s", "0"]),
        (["fps=-30"], ["fps", "> 0 frames/s", "-30"]),
        (["fps=.inf"], ["fps", "inf"]),
        (["seed=-1"], ["seed", ">= 0"]),
        (["deterministic=perhaps"], ["deterministic", "true or false"]),
        (["trace=file"], ["trace.path", "found none"]),
        (["trace=file", "trace.path=nowhere.txt"], ["nowhere.txt"]),
        (["trace.path=any.csv"], ["trace.path", "trace=file beside it", "trace=medium", "to 56 Mbit/s"]),
        (["trace=low", "trace.path=any.csv"], ["trace.path", "trace=file", "trace=low", "to 25 Mbit/s"]),
        (["trace.format=csv"], ["trace.format", "trace=file", "no file"]),
        (["trace.rate_unit=kbps"], ["trace.rate_unit", "trace=file", "no file"]),
        (["trace.mean_mbps=0"], ["trace.mean_mbps", "> 0 Mbit/s"]),
        (["trace.mean_mbps=fast"], ["trace.mean_mbps", "number", "'fast'"]),
        (["video=file", "video.path=nowhere.mp4"], ["nowhere.mp4"]),
        (["video=scene", "video.path=any.mp4"], ["video.path", "video=file beside it", "video=scene"]),
        (["video=statistical", "video.path=any.mp4"], ["video.path", "video=file", "video=statistical"]),
        (["video=scene", "video.statistics=davis"], ["video.statistics", "video=statistical", "video=scene"]),
        (["video.statistics=scene_run"], ["video.statistics", "scene_walk", "'scene_run'"]),
        (["model=yolo99"], ["yolo99", "yolo11m-seg"]),
        (["edge=gameboy"], ["gameboy", "jetson_xavier_nx"]),
        (["model=yolo11m-1024"], ["video.statistics", "4096", "1600"]),
        (["payload.block_px=8", "video=scene"], ["payload.block_px", "16", "8"]),
        (["payload.codec=gif", "video=scene"], ["payload.codec", "jpeg, jpeg_420, png, raw", "gif"]),
        (["matching.threshold=2", "video=scene"], ["matching.threshold", "[0, 1]", "2"]),
        (["matching.aligner=seek", "video=scene"], ["matching.aligner", "search", "seek"]),
        (["link.loss=1"], ["link.loss", "[0, 1)", "1"]),
        (["link.delay_s=-0.1"], ["link.delay_s", ">= 0 s", "-0.1"]),
        (["downlink.delay_s=-0.1"], ["downlink.delay_s", ">= 0 s", "-0.1"]),
        (["downlink.mean_mbps=0"], ["downlink.mean_mbps", "> 0 Mbit/s"]),
        (["link.sharing=fair", "link.loss=0.1"], ["link.loss", "fifo"]),
        (["link.outages_s=[[2,1]]"], ["link.outages_s", "ascending", "[2.0, 1.0]"]),
        (["link.outages_s=[[1,3],[2,4]]"], ["link.outages_s", "ascending", "[2.0, 4.0]"]),
        (["link.outages_s=[[1,.inf]]"], ["link.outages_s", "inf"]),
        (["link.outages_s=[[1,2,3]]"], ["link.outages_s[0]", "2 numbers"]),
        (["link.outages_s=5"], ["link.outages_s", "a list", "5"]),
        (["link.retransmission_delay_s=.inf"], ["link.retransmission_delay_s", "inf"]),
        (["server.crashes_s=[[2,1]]"], ["server.crashes_s", "ascending", "[2.0, 1.0]"]),
        (["server.crashes_s=[[1,2],[0,1]]"], ["server.crashes_s", "ascending"]),
        (["arrival=queue", "arrival.limit=0"], ["arrival.limit", "at least 1"]),
        (["refresh.operators=0"], ["refresh.operators", "at least 1"]),
        (["estimator=ewma", "estimator.half_life_s=0"], ["estimator.half_life_s", "> 0 s", "0.0"]),
        (["link.probe_s=0"], ["link.probe_s", "> 0 s", "0"]),
        (["estimator=oracle", "estimator.horizon_s=.inf"], ["estimator.horizon_s", "inf"]),
        (["estimator=oracle", "estimator.horizon_s=0"], ["estimator.horizon_s", "> 0 s"]),
        (["scheduler.lambda_per_s=-1"], ["scheduler.lambda_per_s", ">= 0 per second", "-1"]),
        (["accuracy.dense=1.5"], ["accuracy.dense", "(0, 1]"]),
        (["accuracy.mode=guess"], ["accuracy.mode", "coverage"]),
        (["system.patience_s=0"], ["system.patience_s", "> 0 s"]),
        (["system=deltacnn"], ["video.kind", "statistical"]),
        (
            ["system=full_offload", "payload.quality=70"],
            ["payload.quality", "recorded with 85", "70"],
        ),
        *(
            (
                ["video=scene", f"{key}.codec={codec}", f"{key}.quality=20"],
                [f"{key}.quality", repr(codec), "20"],
            )
            for key, codec in (("payload", "png"), ("payload", "raw"), ("system", "raw"), ("system", "png"))
        ),
        (
            ["video=scene", "system=edge_only", "payload.codec=raw", "payload.quality=20"],
            ["payload.quality", "null", "20"],
        ),
        (["video=scene", "payload.codec=png", "system.quality=20"], ["system.quality", "null", "20"]),
        (["system=full_offload", "system.quality=70"], ["system.quality", "recorded with 85", "found 70"]),
        (
            ["system=full_offload", "payload.codec=jpeg_420"],
            ["payload.codec", "raw, png, jpeg", "'jpeg_420'"],
        ),
        (["system=fluxshard_ea", "system.codec=jpeg_420"], ["system.codec", "raw, png, jpeg", "'jpeg_420'"]),
        (["system=full_offload_h264", "system.crf=30"], ["system.crf", "23 and 250", "30 and 250"]),
        (["codec_time=free"], ["codec_time", "profile, none", "'free'"]),
        (["frames=${nothing}"], ["nothing"]),
        (["frames=["], ["'['", "quotes"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) and "=" in value[0] else "",
)
def test_one_line_says_what_was_expected(refusal: Refusal, arguments: list[str], expected: list[str]) -> None:
    line = refusal(*arguments)
    for part in expected:
        assert part in line


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("empty.up", "", ["empty.up"]),
        ("back.up", "5\n9\n7\n", ["back.up, line 3", "7"]),
        ("zero.csv", "time_s,rate_mbps\n0,0\n1,0\n", ["zero.csv", "0"]),
        ("back.csv", "time_s,rate_mbps\n0,5\n2,6\n1,7\n", ["back.csv, line 4"]),
        ("minus.csv", "time_s,rate_mbps\n0,5\n1,-6\n", ["minus.csv, line 3", "-6"]),
        ("nan.csv", "time_s,rate_mbps\n0,5\n1,nan\n", ["nan.csv, line 3"]),
    ],
)
def test_a_bad_trace_is_named_with_its_line(
    refusal: Refusal, tmp_path: Path, name: str, text: str, expected: list[str]
) -> None:
    path = tmp_path / name
    path.write_text(text)
    line = refusal("trace=file", f"trace.path={path}")
    for part in expected:
        assert part in line


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("time_unit", "day", "one of ns, us, ms, s, min, h, found 'day'"),
        ("rate_unit", "kB/s", "found 'kB/s'"),
    ],
)
def test_a_unit_that_there_is_not_is_named_with_its_key(
    refusal: Refusal, tmp_path: Path, key: str, value: str, expected: str
) -> None:
    path = tmp_path / "bare.csv"
    path.write_text("time,bandwidth\n0,5\n1,6\n")
    line = refusal("trace=file", f"trace.path={path}", f"trace.{key}={value}")
    assert f"trace.{key}: expected " in line
    assert expected in line


def test_a_truncated_clip_is_named(refusal: Refusal, tmp_path: Path, data_dir: Path) -> None:
    whole = next((data_dir / "videos").rglob("*.mp4")).read_bytes()
    path = tmp_path / "cut.mp4"
    path.write_bytes(whole[: len(whole) // 2])
    assert "cut.mp4" in refusal("video=file", f"video.path={path}", "video.size_px=64", "frames=null")


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("quadratic", {"a_s": -1e-9, "b_s": 1e-5, "c_s": 1e-4}, "a_s"),
        ("model", "resnet", "model"),
        ("dense_s", None, "dense_s"),
    ],
)
def test_a_bad_profile_is_named_with_its_key(
    refusal: Refusal, repository: Path, tmp_path: Path, key: str, value: Any, expected: str
) -> None:
    source = repository / "conf" / "profile" / "rtx_3080" / "yolo11m-seg.yaml"
    content = yaml.safe_load(source.read_text())
    content.update(device="mine", **{key: value})
    path = tmp_path / "profile" / "mine" / "yolo11m-seg.yaml"
    path.parent.mkdir(parents=True)
    path.write_text(yaml.safe_dump(content))
    line = refusal("cloud=mine", f"--config-dir={tmp_path}")
    assert "yolo11m-seg.yaml" in line
    assert expected in line


@pytest.mark.parametrize(
    ("section", "key"), [("link", "dealy_s"), ("trace", "mean_mpbs"), ("matching", "thresold")]
)
def test_a_library_user_gets_the_same_words(section: str, key: str) -> None:
    with pytest.raises(InputError, match=rf"^{section}\.{key}: expected one of the keys .* did you mean"):
        assemble(read_config(statistical(**{section: {key: 1.0}})))


# -- the real command ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["system=full_ofload"], "did you mean full_offload"),
        (["trace=file"], "trace.path"),
        (["frmes=3"], "did you mean frames"),
        (["fps=0"], "fps: expected a frame rate > 0 frames/s, found 0"),
    ],
)
def test_the_command_ends_with_code_2_and_one_line(
    repository: Path, tmp_path: Path, arguments: list[str], expected: str
) -> None:
    done = run_command(repository, tmp_path / "run", *arguments)
    assert done.returncode == 2
    assert expected in done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""
    assert not (tmp_path / "run" / "summary.json").exists()


def test_a_multirun_finishes_its_other_jobs(repository: Path, tmp_path: Path) -> None:
    done = run_command(
        repository, tmp_path, "-m", "system=edge_only", "fps=30,0,15", f"hydra.sweep.dir={tmp_path}"
    )
    assert done.returncode == 2
    assert "fps: expected a frame rate > 0" in done.stderr
    assert "1 of 3 jobs failed" in done.stderr
    for name, read in (("results.parquet", pd.read_parquet), ("results.csv", pd.read_csv)):
        table = read(tmp_path / name)
        assert table["status"].tolist() == ["completed", "failed", "completed"]
        assert "fps: expected" in table["error"][1]
        assert table["error"].isna().tolist() == [True, False, True]
    for job, status in (("0", "completed"), ("1", "failed"), ("2", "completed")):
        assert json.loads((tmp_path / job / "summary.json").read_text())["status"] == status
        assert (tmp_path / job / "frames.parquet").exists() == (status == "completed")


def test_a_reader_that_has_seen_enough_is_no_error(repository: Path) -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)
    with os.fdopen(write_end, "w") as closed:
        done = subprocess.run(
            [sys.executable, "-m", "sim", "--help"],
            cwd=repository,
            stdout=closed,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert (done.returncode, done.stderr) == (0, "")
