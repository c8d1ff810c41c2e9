"""The kit on a bare board: Python, torch and numpy alone, from one file to a profile on the desk."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest

from kernels.motion import compiled_search
from profiler.fit.codec_fit import CodecSample
from profiler.kit.reading import keep_samples, target
from profiler.kit.samples_file import SampleLog, read_log
from profiler.latency import read_profile
from profiler.measure.codec_samples import read_codec_samples
from profiler.measure.samples import read_samples
from profiler.measure.sampling import SamplingPlan, measure
from profiler.measure.store import SampleStore
from profiler.refit import fit_profile
from profiler.run import fit_and_write
from tests.strategies.board import SteadyDevice, old_python, run_kit
from traces.errors import InputError

SHORT = ["model=yolo11n-seg", "resolution=128", "device=cpu", "clock=thread", "repeats=3"]
WAYS = ("encode", "decode")
HEAD = {"device": "board", "model": "net", "resolution_px": [320, 320], "block_px": 16}


@pytest.fixture(scope="module")
def measured(kit: Path, bare: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A short run with torch and numpy alone, and what it printed."""
    out = tmp_path_factory.mktemp("board") / "board.jsonl"
    done = run_kit(kit, [*SHORT, "name=board", f"out={out}"], bare)
    assert (done.returncode, done.stderr) == (0, "")
    return out, done.stdout


def test_it_measures_with_torch_and_numpy_alone(measured: tuple[Path, str]) -> None:
    found = read_log(measured[0])
    assert found.meta["complete"]
    assert found.meta["weights"] == "random"
    assert set(found.meta["operations_by_backend"]) == {"cpu"}
    assert {row.op.split(":")[0] for row in found.rows} == {"dense", "sparse", "extract", "layer", "margin"}
    assert {row.mask for row in found.rows if row.op == "sparse"} == {"random", "clustered", "recorded"}
    assert "neither Pillow nor OpenCV" in found.meta["codecs_missing"]["jpeg"]
    assert {one.codec for one in found.codecs} == {"raw", "raw_blocks"}
    assert re.search(r"round 3 of 3: \d+ samples, \d+ s, about 0 s left", measured[1])
    assert "note: not measured: encode: neither Pillow nor OpenCV is installed" in measured[1]


def test_the_desk_makes_a_profile_of_it(measured: tuple[Path, str], tmp_path: Path) -> None:
    profile_path = target(measured[0], tmp_path, None, None)
    assert profile_path == tmp_path / "board" / "yolo11n-seg-128.yaml"
    samples, _ = keep_samples(measured[0], profile_path)
    fit_and_write(samples, profile_path)
    profile = read_profile(profile_path)
    assert profile.block_count == 64
    assert 0 < profile.quadratic.seconds(1) < profile.dense_s
    assert profile.provenance["curve_follows"] == "recorded active sets"
    assert 0.5 < profile.provenance["margin_ratios"]["16"]["recorded"] < 2
    assert profile.encode_s is None
    other = take(tmp_path / "other.jsonl", {**HEAD, "device": "board", "model": "yolo11n-seg-128"})
    with pytest.raises(InputError, match="holds samples of another run"):
        keep_samples(other.path, profile_path)


def take(path: Path, head: dict[str, object], repeats: int = 3) -> SampleLog:
    """A run on a device that is none."""
    log, device = SampleLog(path, head), SteadyDevice()
    measure(device, device, log, SamplingPlan(repeats=repeats), _differences())  # type: ignore[arg-type]
    log.flush(complete=True)
    log.close()
    return log


def test_codecs_cut_off_early_do_not_cost_the_profile(tmp_path: Path) -> None:
    log = take(tmp_path / "a.jsonl", HEAD)
    log = SampleLog(log.path, HEAD)
    for number in range(5):
        log.add_codec([CodecSample("raw", way, number, 0, 256, 100 + number, 1e-4) for way in WAYS])
    log.add_codec([CodecSample("jpeg", way, 0, 0, 256, 100, 1e-4) for way in WAYS])
    log.close()
    _, notes = keep_samples(log.path, tmp_path / "board" / "net.yaml")
    assert "codecs left out, as too few of their messages were timed: jpeg" in notes
    samples, _ = read_codec_samples(tmp_path / "board" / "codecs.parquet")
    assert {one.codec for one in samples} == {"raw"}


@pytest.mark.parametrize(
    ("head", "message"),
    [
        ({"resolution_px": "a"}, "resolution_px: expected height and width"),
        ({"resolution_px": [16, 16]}, "k: expected at most 1 blocks"),
        ({"device": "../x"}, "device: expected a name that can be a folder"),
        ({"layers": 3}, "layers: expected a name and output_bytes"),
        ({"power_w": {"idle_w": "x"}}, "power_w: expected idle_w and busy_w"),
    ],
)
def test_a_head_of_nonsense_leaves_nothing_behind(head: dict, message: str, tmp_path: Path) -> None:
    path = take(tmp_path / "a.jsonl", {**HEAD, **head}).path
    with pytest.raises(InputError, match=message):
        keep_samples(path, tmp_path / "board" / "net.yaml")
    assert not (tmp_path / "board").exists()


def test_a_broken_image_library_is_a_reason(kit: Path, bare: Path, tmp_path: Path) -> None:
    (tmp_path / "PIL").mkdir()
    (tmp_path / "PIL" / "__init__.py").write_text("raise ImportError('libjpeg.so.8 is missing')")
    out = tmp_path / "a.jsonl"
    arguments = ["model=default", "resolution=64", "device=cpu", "repeats=3", f"out={out}"]
    done = run_kit(kit, arguments, bare, PYTHONPATH=f"{tmp_path}{os.pathsep}{bare}")
    assert (done.returncode, done.stderr) == (0, "")
    missing = read_log(out).meta["codecs_missing"]
    assert missing["png"] == "pillow cannot be imported (ImportError: libjpeg.so.8 is missing)"


def _differences() -> np.ndarray:
    return np.random.default_rng(0).random((4, 20, 20)).astype(np.float32)


def test_the_fit_is_that_of_a_direct_measurement(tmp_path: Path) -> None:
    """The same device with the same noise, through the board's file and through the profiler's own."""
    log, store = take(tmp_path / "a.jsonl", HEAD, 6), SampleStore(tmp_path / "b.parquet", HEAD)
    device = SteadyDevice()
    measure(device, device, store, SamplingPlan(repeats=6), _differences())  # type: ignore[arg-type]
    store.flush(complete=True)
    place, notes = keep_samples(log.path, tmp_path / "board" / "net.yaml")
    assert notes == ()
    mine, direct = (fit_profile(read_samples(one)).profile for one in (place, store.path))
    assert mine.quadratic == direct.quadratic
    assert mine.residual_quantiles == direct.residual_quantiles
    assert (mine.dense_s, mine.extract_s, mine.breakeven_k) == (
        direct.dense_s,
        direct.extract_s,
        direct.breakeven_k,
    )


def test_a_killed_run_resumes(kit: Path, bare: Path, tmp_path: Path) -> None:
    out = tmp_path / "board.jsonl"
    environment = {"PATH": os.environ["PATH"], "HOME": os.environ["HOME"], "PYTHONPATH": str(bare)}
    if "FLUXSHARD_CACHE" in os.environ:
        environment["FLUXSHARD_CACHE"] = os.environ["FLUXSHARD_CACHE"]
    command = [sys.executable, "-S", "-B", str(kit), *SHORT, "codecs=false", f"out={out}"]
    process = subprocess.Popen(
        command, env=environment, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    until_s = time.monotonic() + 120
    while time.monotonic() < until_s and (not out.exists() or out.read_bytes().count(b'"sample"') < 20):
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    kept = read_log(out)
    assert len(kept.rows) >= 20
    assert not kept.meta["complete"]
    done = run_kit(kit, [*SHORT, "codecs=false", f"out={out}"], bare)
    assert done.returncode == 0
    assert f"resuming: {len(kept.rows)} samples found" in done.stdout
    again = read_log(out)
    assert again.meta["complete"]
    assert again.rows[: len(kept.rows)] == kept.rows


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["model=yolo11q"], "model must be a known model, such as yolo11"),
        (["model=yolo11n", "device=cuda:7"], "device: expected one of 0 CUDA devices"),
        (["model=yolo11n", "precision=fp16", "device=cpu"], "precision: expected fp32 on cpu"),
        (["model=yolo11n", "resolution=100"], "resolution: expected pixels as SIDE or HEIGHTxWIDTH"),
        (
            ["model=yolo11n", "weights=missing.safetensors"],
            "weights: expected a safetensors file, found no file 'missing.safetensors'",
        ),
        (
            ["model=yolo11n", "out=/proc/none/a.jsonl"],
            "/proc/none/a.jsonl: expected a file that can be written",
        ),
        (["model=yolo11n", "backend=cuda"], "backend='cuda' cannot run on cpu"),
        (["model=yolo11n", "power_mode=MODE_20W_6CORE"], "power_mode: expected MODE_20W_6CORE, found none"),
        (["model=yolo11n", "resolutoin=640"], "did you mean resolution=?"),
        (["gpu"], "device: expected a GPU that torch sees, found none"),
    ],
)
def test_bad_input_is_one_line(arguments: list[str], message: str, kit: Path, bare: Path) -> None:
    done = run_kit(kit, arguments, bare)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert message in done.stderr


def test_without_a_compiler_it_says_so_and_measures_what_there_is(
    kit: Path, bare: Path, tmp_path: Path
) -> None:
    done = run_kit(
        kit,
        [
            "model=default",
            "resolution=64",
            "device=cpu",
            "repeats=3",
            "codecs=false",
            f"out={tmp_path / 'a.jsonl'}",
        ],
        bare,
        CXX="no-such-compiler",
        FLUXSHARD_CACHE=str(tmp_path / "cache"),
    )
    assert done.returncode == 0
    found = read_log(tmp_path / "a.jsonl")
    assert found.meta["backend"] == "reference"
    assert {row.op for row in found.rows} >= {"dense", "sparse"}
    assert "extract" not in {row.op for row in found.rows}
    assert any("no C++ compiler found" in note for note in found.meta["notes"])


def test_a_full_disk_is_one_line_and_keeps_what_it_has(kit: Path, bare: Path, tmp_path: Path) -> None:
    """Past a size limit, writing fails as it does on a full disk."""
    program = (
        "import resource, runpy, signal, sys\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))\n"
        "sys.argv = sys.argv[1:]\n"
        "sys.path.insert(0, sys.argv[0])\n"
        "runpy.run_path(sys.argv[0], run_name='__main__')\n"
    )
    out = tmp_path / "board.jsonl"
    assert (
        run_kit(kit, ["check"], bare).returncode == 0
    )  # so that nothing is unpacked or built under the limit
    environment = {"PATH": os.environ["PATH"], "HOME": os.environ["HOME"], "PYTHONPATH": str(bare)}
    if "FLUXSHARD_CACHE" in os.environ:
        environment["FLUXSHARD_CACHE"] = os.environ["FLUXSHARD_CACHE"]
    done = subprocess.run(
        [sys.executable, "-S", "-B", "-c", program, str(kit), *SHORT, "codecs=false", f"out={out}"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    assert "samples file: expected a disk with room" in done.stderr
    assert done.stderr.count("\n") == 1
    kept = read_log(out)
    assert len(kept.rows) > 20
    assert kept.damaged <= 1


def test_help_needs_no_torch(kit: Path, tmp_path: Path) -> None:
    for python in filter(None, (sys.executable, old_python())):
        done = run_kit(kit, ["--help"], tmp_path, python)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.startswith("The measuring kit")
        assert "\n    device=cuda:0     or cpu" in done.stdout
        assert run_kit(kit, ["--help"], tmp_path, python, PYTHONOPTIMIZE="2").stdout == done.stdout
        done = run_kit(kit, ["check"], tmp_path, python)
        assert (done.returncode, done.stderr.count("\n")) == (2, 1)
        assert "torch: expected to be installed" in done.stderr


def test_a_damaged_kit_is_refused_and_a_damaged_copy_made_anew(kit: Path, bare: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    assert run_kit(kit, ["--help"], bare, FLUXSHARD_CACHE=str(cache)).returncode == 0
    (folder,) = cache.glob("kit-*")
    (folder / "profiler" / "options.py").write_text("raise SystemExit(9)\n")
    assert run_kit(kit, ["--help"], bare, FLUXSHARD_CACHE=str(cache)).returncode == 0
    assert "SystemExit(9)" not in (folder / "profiler" / "options.py").read_text()
    damaged = tmp_path / "damaged.pyz"
    with zipfile.ZipFile(kit) as whole, zipfile.ZipFile(damaged, "w") as other:
        for name in whole.namelist():
            content = whole.read(name)
            other.writestr(name, content + b"\n" if name == "profiler/options.py" else content)
    done = run_kit(damaged, ["--help"], bare, FLUXSHARD_CACHE=str(tmp_path / "other"))
    assert done.returncode == 1
    assert "expected the files of its manifest, found others" in done.stderr


def test_a_kit_measures_with_a_compiler_here() -> None:
    """What the run above needs, said once where it is missing."""
    assert compiled_search.unavailable() is None, compiled_search.unavailable()


BOARD = os.environ.get("FLUXSHARD_BOARD")


@pytest.mark.skipif(BOARD is None, reason="make test-board runs it with Python 3.8 and torch 1.13")
def test_python_3_8_with_the_oldest_torch_measures_the_same_operations(
    kit: Path, measured: tuple[Path, str], tmp_path: Path
) -> None:
    assert BOARD is not None
    out = tmp_path / "old.jsonl"
    done = run_kit(kit, [*SHORT, "name=board", f"out={out}"], None, BOARD)
    assert (done.returncode, done.stderr) == (0, "")
    old, new = read_log(out), read_log(measured[0])
    assert old.meta["versions"]["python"].startswith("3.8.")
    assert old.meta["versions"]["torch"].startswith("1.13.")
    assert {(row.op, row.mask) for row in old.rows} == {(row.op, row.mask) for row in new.rows}
    profile_path = tmp_path / "board" / "yolo11n-seg-128.yaml"
    samples, _ = keep_samples(out, profile_path)
    fit_and_write(samples, profile_path)
    assert read_profile(profile_path).provenance["curve_follows"] == "recorded active sets"


@pytest.mark.skipif(BOARD is None, reason="make test-board runs it with Python 3.8 and torch 1.13")
@pytest.mark.parametrize(
    "model", ["yolo11n", "default", "default-tokens", "default-keypoints", "pose", "vit"]
)
def test_every_network_runs_there(model: str, kit: Path, tmp_path: Path) -> None:
    assert BOARD is not None
    size = "256x192" if model == "pose" else "128"  # its positions are learnt for one size
    arguments = [f"model={model}", f"resolution={size}", "device=cpu", "repeats=3", "codecs=false"]
    done = run_kit(kit, [*arguments, f"out={tmp_path / 'a.jsonl'}"], None, BOARD)
    assert (done.returncode, done.stderr) == (0, "")
