"""Bad input to the profiler: one line that names the place, what was expected and what was found."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from profiler.__main__ import main
from profiler.fit.grouped_samples import group_by_k
from profiler.fit.quadratic import fit_quadratic
from profiler.latency import save_profile
from profiler.latency.files import whole_file
from profiler.measure.devices import check_device
from profiler.measure.samples import Sample, read_samples, write_samples
from profiler.measure.store import SampleStore
from profiler.refit import fit_profile
from tests.strategies.profiler import SyntheticDevice, as_samples
from traces.errors import InputError

GRID = np.array([1, 40, 160, 400, 800, 1600], float)
META = {"device": "d", "model": "m", "resolution_px": [640, 640], "block_px": 16, "precision": "fp32"}


def rows() -> list[Sample]:
    return SyntheticDevice().rows(np.random.default_rng(0), GRID, 6)


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("seconds", -0.01, r"row 3: seconds: expected a time above 0 \(seconds\), found -0.01"),
        ("seconds", float("nan"), "row 3: seconds: expected a time above 0"),
        ("seconds", 0.0, "row 3: seconds: expected a time above 0"),
        ("seconds", float("inf"), "row 3: seconds: expected a time above 0"),
        ("k", None, "row 3: k: expected a block count ≥ 0 for sparse, encode and margin"),
        ("k", -4, "row 3: k: expected a block count ≥ 0"),
        ("op", "sprase", "row 3: op: expected one of"),
        ("mask", "blobs", "row 3: mask: expected one of"),
    ],
)
def test_an_unsound_sample_is_named_by_its_row(
    tmp_path: Path, column: str, value: object, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = rows()
    broken[3] = broken[3]._replace(**{column: value})
    path = tmp_path / "samples.parquet"
    write_samples(path, broken, META)
    with pytest.raises(InputError, match=message) as caught:
        read_samples(path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)
    assert main(["refit", str(path), f"out={tmp_path / 'p.yaml'}"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert not (tmp_path / "p.yaml").exists()


def test_a_missing_column_and_a_file_of_another_kind_are_named(tmp_path: Path) -> None:
    path = tmp_path / "samples.parquet"
    pd.DataFrame({"op": ["dense"], "k": [None], "mask": [None], "seconds": [0.1]}).to_parquet(path)
    with pytest.raises(InputError, match="found no 'repeat'"):
        read_samples(path)
    path.write_text("op,k,mask,repeat,seconds\n")
    with pytest.raises(InputError, match="expected samples in Parquet"):
        read_samples(path)
    with pytest.raises(InputError, match="expected samples in Parquet"):
        read_samples(tmp_path / "absent.parquet")


def test_a_block_count_without_end_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "samples.parquet"
    pd.DataFrame(
        {"op": ["sparse"] * 2, "k": [1.0, np.inf], "mask": None, "repeat": 0, "seconds": 0.1}
    ).to_parquet(path)
    with pytest.raises(
        InputError, match="row 1: k: expected a block count ≥ 0 for sparse, encode and margin, found inf"
    ):
        read_samples(path)


@pytest.mark.parametrize("grid", [(1, 400, 1600), (0, 1, 1600), (1, 2, 3, 1600)])
def test_a_steep_curve_has_no_outliers(grid: tuple[int, ...]) -> None:
    k = np.array(grid, float)
    seconds = 1e-6 + 1e-6 * k**2
    assert not group_by_k(k, seconds).outliers


def test_constant_k_and_two_points_are_refused() -> None:
    time_s = np.array([0.1, 0.11, 0.12, 0.1, 0.13])
    with pytest.raises(InputError, match=r"at least 3 distinct k, found 1 \(k = 400\)"):
        fit_quadratic(np.full(5, 400.0), time_s, draws=0)
    with pytest.raises(InputError, match=r"at least 3 distinct k, found 2 \(k = 10 and 20\)"):
        fit_quadratic(np.array([10.0, 20.0, 10.0, 20.0, 10.0]), time_s, draws=0)
    with pytest.raises(InputError, match="3 samples always fit a quadratic"):
        fit_quadratic(np.array([1.0, 2.0, 3.0]), time_s[:3], draws=0)


def test_one_outlier_of_a_hundred_times_is_said_and_does_not_move_the_curve() -> None:
    generator = np.random.default_rng(1)
    k = np.repeat(GRID, 15)
    seconds = SyntheticDevice().measure(k, generator)
    clean = fit_quadratic(k, seconds, draws=0)
    seconds[40] *= 100
    found = fit_quadratic(k, seconds, draws=0)
    np.testing.assert_allclose(found.coefficients, clean.coefficients, rtol=0.05)
    assert any(re.search(r"1 of 90 samples .* left out \(k = 160", finding) for finding in found.findings)


@pytest.mark.parametrize("op", ["dense", "extract"])
def test_an_accident_in_the_other_operations_is_said_and_is_no_tail(op: str) -> None:
    taken = rows()
    at = next(i for i, row in enumerate(taken) if row.op == op)
    taken[at] = taken[at]._replace(seconds=100 * taken[at].seconds)
    found = fit_profile(as_samples(taken, **META))
    assert any(f"1 of {sum(row.op == op for row in taken)} {op} samples" in note for note in found.findings)
    quantiles = found.profile.residual_quantiles
    assert quantiles is not None
    assert max(getattr(quantiles, op)) < 10


@pytest.mark.parametrize("at", [0, 1, 7, 18, 19])
def test_an_outlier_that_is_alone_at_its_k_is_judged_by_its_neighbours(at: int) -> None:
    k = np.linspace(1, 1600, 20).round()
    seconds = SyntheticDevice().curve_s(k)
    seconds[at] *= 100
    found = fit_quadratic(k, seconds, draws=0)
    assert len(found.groups.outliers) == 1
    np.testing.assert_allclose(found.coefficients, (3.6e-8, 2.13e-4, 8.29e-3), rtol=1e-6)


def test_a_narrow_range_of_k_is_said() -> None:
    generator = np.random.default_rng(2)
    k = np.repeat([800.0, 805.0, 810.0, 815.0], 20)
    found = fit_quadratic(k, SyntheticDevice().measure(k, generator), draws=0)
    assert any("does not tell a, b and c apart" in finding for finding in found.findings)


def test_a_resolution_that_was_not_measured_is_refused(tmp_path: Path) -> None:
    samples = as_samples(rows(), **META)
    with pytest.raises(
        InputError, match=r"resolution_px: measured at \(640, 640\), asked for \(1024, 1024\)"
    ):
        fit_profile(samples, {"resolution_px": (1024, 1024)})
    path = tmp_path / "samples.parquet"
    write_samples(path, rows(), META)
    assert main(["refit", str(path), "resolution=1024"]) == 2


def test_more_blocks_than_the_frame_has_are_refused() -> None:
    with pytest.raises(InputError, match=r"at most 400 blocks \(320x320 px in blocks of 16\), found 1600"):
        fit_profile(as_samples(rows()), {"resolution_px": (320, 320)})


def test_unknown_devices_are_refused() -> None:
    for device in ("gpu", "cuda:x", "tpu"):
        with pytest.raises(InputError, match="device: expected cpu or cuda:<index>"):
            check_device(device)
    with pytest.raises(InputError, match=r"device: expected one of \d+ CUDA devices"):
        check_device("cuda:99")


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["modle=yolo11n"], "did you mean model=?"),
        (["device=cpu"], "model: expected model=<name>, found none"),
        (["model=yolo11n", "resolution=641"], "resolution: expected pixels as SIDE or HEIGHTxWIDTH"),
        (["model=yolo11n", "precision=int8"], "precision: expected one of"),
        (["model=yolo11n", "repeats=two"], "repeats: expected a whole number of at least 3"),
        (["model=yolo11n", "repeats=5", "repeats=6"], "repeats: expected once"),
        (["model=yolo11n", "budget_s=0"], "budget_s: expected a number above 0 (seconds)"),
        (["model=yolo11n", "device=cuda:99"], "device: expected one of"),
        (["measure"], "expected key=value, codecs, kit, refit, compare, plan or table"),
        (["compare", "one.parquet"], "compare: expected two profiles"),
        (["compare", "one.parquet", "two.parquet"], "samples: expected a Parquet file"),
        (["refit"], "refit: expected one samples file"),
        (["plan"], "plan: expected edge=DEVICE/MODEL cloud=DEVICE/MODEL"),
        (["plan", "edge=jetson", "cloud=rtx_3080/sdpose"], "expected DEVICE/MODEL or a YAML file"),
        (
            ["plan", "edge=jetson_xavier_nx/yolo11m-seg", "cloud=epyc_zen5_1thread/yolo11n-seg"],
            "plan: expected profiles of one model, found 'yolo11m-seg' and 'yolo11n-seg'",
        ),
    ],
)
def test_a_command_it_cannot_follow_ends_in_one_line_and_code_2(
    command: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(command) == 2
    shown = capsys.readouterr().err
    assert message in shown
    assert shown.count("\n") == 1


@pytest.mark.parametrize("command", ["measure", "refit", "compare", "plan", "table"])
def test_help_is_given_wherever_it_is_asked_for(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["model=default"] if command == "measure" else [command]
    assert main([*words, "--help"]) == 0
    assert "python -m profiler refit SAMPLES" in capsys.readouterr().out


def test_samples_are_no_profile_to_plan_with(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "samples.parquet"
    write_samples(path, rows(), META)
    assert main(["plan", f"edge={path}", "cloud=rtx_3080/yolo11m-seg"]) == 2
    assert "refit makes a profile of samples" in capsys.readouterr().err


def test_a_place_that_cannot_be_written_is_said_before_anything_is_measured(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"samples\.parquet: expected a path that can be written") as caught:
        SampleStore(tmp_path / "file" / "device" / "net" / "samples.parquet", META)
    assert "\n" not in str(caught.value)


def test_a_write_that_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    folder = tmp_path / "net.yaml"
    folder.mkdir()
    profile = fit_profile(as_samples(rows(), **META), draws=0).profile
    with pytest.raises(InputError, match="expected a path that can be written"):
        save_profile(profile, folder)

    def interrupted() -> None:
        with whole_file(tmp_path / "other") as part:
            part.touch()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert [path.name for path in tmp_path.iterdir()] == ["net.yaml"]


@pytest.mark.parametrize(("out", "written"), [("plan", "plan.png"), ("plan.png", "plan.png")])
def test_the_picture_of_a_plan_is_named_as_it_is_written(
    out: str, written: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pair = ["edge=jetson_xavier_nx/yolo11m-seg", "cloud=rtx_3080/yolo11m-seg"]
    assert main(["plan", *pair, f"out={tmp_path / out}"]) == 0
    assert capsys.readouterr().out.endswith(f"{tmp_path / written}\n")
    assert [path.name for path in tmp_path.iterdir()] == [written]
    assert main(["plan", *pair, f"out={tmp_path / written / 'below.png'}"]) == 2
    assert "expected a path that can be written" in capsys.readouterr().err


def test_a_profile_that_cannot_be_written_ends_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_samples(tmp_path / "samples.parquet", rows(), META)
    (tmp_path / "file").touch()
    assert main(["refit", str(tmp_path / "samples.parquet"), f"out={tmp_path / 'file' / 'net.yaml'}"]) == 2
    assert "expected a path that can be written" in capsys.readouterr().err


def test_the_picture_of_samples_that_lie_elsewhere_goes_beside_the_profile(tmp_path: Path) -> None:
    write_samples(tmp_path / "theirs" / "samples.parquet", rows(), META)
    out = tmp_path / "ours" / "net.yaml"
    assert main(["refit", str(tmp_path / "theirs" / "samples.parquet"), f"out={out}"]) == 0
    assert sorted(path.name for path in out.parent.iterdir()) == ["net.png", "net.yaml"]
    assert [path.name for path in (tmp_path / "theirs").iterdir()] == ["samples.parquet"]


def test_published_figures_are_never_overwritten(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], repository: Path
) -> None:
    """Measuring on a board of the papers' kind would otherwise land on the papers' own file."""
    published = (repository / "conf/profile/rtx_3080/yolo11m-seg.yaml").read_bytes()
    out = tmp_path / "yolo11m-seg.yaml"
    out.write_bytes(published)
    write_samples(tmp_path / "samples.parquet", rows(), META)
    assert main(["refit", str(tmp_path / "samples.parquet"), f"out={out}"]) == 2
    assert "holds published figures" in capsys.readouterr().err
    assert out.read_bytes() == published
