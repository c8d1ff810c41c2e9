"""`python -m kernels`: what it says, and how it ends."""

from __future__ import annotations

from pathlib import Path

import pytest

from kernels.__main__ import main
from kernels.bench import layers


def test_info_lists_every_backend_and_says_why_not(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info"]) == 0
    said = capsys.readouterr().out
    for word in ("backend reference  on cpu: available", "C++ compiler:", "nvcc:", "convolve"):
        assert word in said


def test_plan_is_a_table_with_a_row_for_each_layer(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "--model", "default", "--size-px", "64"]) == 0
    plain = capsys.readouterr().out.splitlines()
    assert plain[0].split()[:2] == ["layer", "operation"]
    assert plain[-1] == "not calibrated: no layer has a break-even of its own"
    assert main(["plan", "--model", "default", "--size-px", "64", "--calibrate", "--repeats", "1"]) == 0
    measured = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in measured[:-1]] == [line.split()[0] for line in plain[:-1]]
    assert measured[-1].startswith("the whole frame runs densely from ")


def test_check_passes_here(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check"]) == 0
    assert "WRONG" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["truncation", "no/such/video.mp4", "--output", "x.json", "--model", "default"],
            "no/such/video.mp4",
        ),
        (["truncation", "x", "--output", "x.json"], "--weights must name the safetensors of yolo11n-seg"),
        (
            ["truncation", "x", "--output", "x.json", "--size-px", "100"],
            "--size-px must be a positive multiple of 32",
        ),
        (["bench", "--device", "cuda"], "--device cuda: torch sees no CUDA device"),
        (
            ["bench", "--model", "yolo11n-seg:640", "--model", "yolo11n-sag:640"],
            "--model must be a known model, such as yolo11n-seg, ",
        ),
        (["plan", "--model", "yolo11n-sag"], "--model must be a known model, such as yolo11n-seg, "),
        (["plan", "--model", "default", "--block-px", "0"], "block_px must be a whole number of pixels"),
        (["bench", "--model", "yolo11n-seg:641"], "--model must be NAME:SIZE with a multiple of 32 pixels"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    said = capsys.readouterr().err
    assert message in said
    assert len(said.strip().splitlines()) == 1


def test_a_wrong_result_gets_no_ratio(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The benchmark prints no speed-up that its own inputs do not back."""
    layer = layers.ConvolutionCase(4, 4, 3, 1, 1, 16, 4)
    assert all(
        row.ratio is not None for row in layers.measure_layer(layer, layers.BenchmarkSetting(repeats=1))
    )
    monkeypatch.setattr(layers, "LAYERS", (layer,))
    monkeypatch.setattr(layers, "TOLERANCE", -1.0)
    with pytest.raises(RuntimeError, match=r"wrong results, no ratio: 4→4"):
        layers.run(tmp_path / "rows.csv", layers.BenchmarkSetting(repeats=1), networks=())
    assert ",," in (tmp_path / "rows.csv").read_text()


@pytest.mark.parametrize("pattern", ["random", "clustered"])
def test_active_sets_have_the_share_they_say(pattern: str) -> None:
    for fraction in layers.FRACTIONS:
        assert int(layers.active_set(20, 20, fraction, pattern, 1).sum()) == round(fraction * 400)
