"""A measured device beside a paper's: ratios as computed by hand, and explanations that follow from them."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from profiler.__main__ import main
from profiler.latency import Profile, Quadratic, load_profile, save_profile
from profiler.published import explanations, gaps, shared_models

PAPER = load_profile("jetson_xavier_nx", "yolo11m-seg")
MODE = {"power_mode": "MODE_15W_6CORE", "gpu_clock": {"least_hz": 114_000_000, "most_hz": 1_100_000_000}}


def board(factor: float = 1.0, now_hz: int = 1_100_000_000, **changes: object) -> Profile:
    """The paper's device, `factor` times slower, as if it had been measured."""
    a, b, c = (factor * one for one in (PAPER.quadratic.a_s, PAPER.quadratic.b_s, PAPER.quadratic.c_s))
    clock = {**MODE["gpu_clock"], "now_hz": now_hz}  # type: ignore[dict-item]
    provenance = {
        "kind": "measured",
        "source": "fluxshard-kit.pyz model=yolo11m-seg",
        "date": "2026-01-01",
        "board": {**MODE, "gpu_clock": clock},
    }
    return dataclasses.replace(
        PAPER,
        device="board",
        dense_s=factor * PAPER.dense_s,
        quadratic=Quadratic(a, b, c, a / 10, b / 10, c / 10),
        precision="fp32",
        provenance=provenance,
        **changes,  # type: ignore[arg-type]
    )


def test_ratios_are_measured_over_published() -> None:
    found = {one.what: one for one in gaps(PAPER, board(2.0))}
    assert found["dense (s)"].ratio == pytest.approx(2.0)
    assert found["b (s/block)"].ratio == pytest.approx(2.0)
    assert found["b (s/block)"].error == pytest.approx(2 * 2.13e-4 / 10)
    assert found["T(10%) (s)"].published == pytest.approx(3.6e-8 * 160**2 + 2.13e-4 * 160 + 8.29e-3)
    assert found["T(10%) (s)"].ratio == pytest.approx(2.0)
    assert found["extraction (s)"].ratio == pytest.approx(1.0)


def test_one_factor_can_be_a_clock() -> None:
    said = explanations(PAPER, board(2.0, now_hz=500_000_000), gaps(PAPER, board(2.0)))
    assert said[0] == "one factor covers dense inference and every k: 2.00 (within 0%)"
    assert "power mode: MODE_15W_6CORE here, none published" in said
    (clock,) = (one for one in said if one.startswith("clock"))
    assert clock.startswith("clock: at 1000 MHz (now 500) dense inference would take the published time")
    assert "no clock explains it" not in clock
    assert clock.endswith("the clock was not fixed")


def test_the_clock_is_that_of_the_run_and_not_of_the_idle_board() -> None:
    idle = board(2.0, now_hz=114_000_000)
    ran = {**idle.provenance, "sensors": {"gpu_hz": [114_000_000.0, 500_000_000.0]}}
    said = explanations(PAPER, dataclasses.replace(idle, provenance=ran), gaps(PAPER, idle))
    assert any(one.startswith("clock: at 1000 MHz (now 500)") for one in said)


def test_a_network_published_at_other_resolutions_is_compared_by_shares() -> None:
    small = board(0.25, model="yolo11m-seg-320", resolution_px=(320, 320))
    ((paper, measured),) = shared_models([PAPER], [small])
    assert (paper.model, measured.model) == ("yolo11m-seg", "yolo11m-seg-320")
    said = explanations(paper, measured, gaps(paper, measured))
    assert any(one.endswith("compared at the same share of blocks") for one in said)
    assert shared_models([PAPER], [board(), small]) == [(PAPER, board()), (PAPER, small)]


def test_a_clock_that_the_board_does_not_have_explains_nothing() -> None:
    (clock,) = (one for one in explanations(PAPER, board(2.0), gaps(PAPER, board(2.0))) if "clock: at" in one)
    assert "at 2200 MHz" in clock
    assert "this board goes up to 1100 MHz in this mode: no clock explains it" in clock


def test_factors_that_depend_on_k_are_no_clock() -> None:
    measured = dataclasses.replace(board(), quadratic=Quadratic(0.0, 2 * 2.13e-4, 8.29e-3))
    said = explanations(PAPER, measured, gaps(PAPER, measured))
    assert said[0].startswith("no single factor: 0.97 to ") or said[0].startswith(
        "no single factor: 1.00 to "
    )


def test_the_resolution_that_would_explain_dense_inference() -> None:
    (said,) = (one for one in explanations(PAPER, board(4.0), gaps(PAPER, board(4.0))) if "resolution" in one)
    assert "on about 320x320 px" in said


def test_the_command_compares_a_device_or_a_profile(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "board" / "yolo11m-seg.yaml"
    save_profile(board(1.5), path)
    assert main(["compare", "published/jetson_xavier_nx", str(path)]) == 0
    shown = capsys.readouterr().out
    assert "board/yolo11m-seg (measured) against jetson_xavier_nx/yolo11m-seg (published: FluxShard" in shown
    assert "one factor covers dense inference and every k: 1.50" in shown
    assert main(["compare", "published/jetson_xavier_nx", "epyc_zen5_1thread"]) == 0
    assert "epyc_zen5_1thread/yolo11m-seg (measured)" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["published/nobody", "epyc_zen5_1thread"],
            "expected a device with published profiles, found 'nobody'",
        ),
        (["published/epyc_zen5_1thread", "epyc_zen5_1thread"], "expected a device with published profiles"),
        (["published/jetson_xavier_nx", "rtx_3080"], "expected a device with measured profiles"),
        (
            ["published/jetson_xavier_nx", "rtx_3080/yolo11m-seg"],
            "expected a measured profile, found a published",
        ),
        (["published/jetson_xavier_nx", "epyc_zen5_1thread/default"], "expected a model of ['sdpose', "),
    ],
)
def test_bad_input_is_one_line(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["compare", *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_blocks_of_another_size_are_refused() -> None:
    with pytest.raises(ValueError, match="expected blocks of 16 px, found 32 px"):
        shared_models([PAPER], [board(block_px=32)])
