"""``refit``: a samples file becomes a profile that the simulator's loader reads, the same each time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from profiler.__main__ import main
from profiler.latency import load_profile, read_profile
from profiler.measure.samples import COLUMNS, read_samples, rows_of, write_samples
from profiler.report.profile_table import BEGIN, END
from tests.strategies.profiler import XAVIER, SyntheticDevice

GRID = np.array([1, 40, 80, 160, 280, 400, 600, 800, 1200, 1600], float)
KEYS = {
    "device",
    "model",
    "resolution_px",
    "block_px",
    "precision",
    "provenance",
    "dense_s",
    "extract_s",
    "quadratic",
    "r2",
    "heldout_error",
    "k_min",
    "k_max",
    "breakeven_k",
    "residual_quantiles",
    "alternative",
}


@pytest.fixture
def samples_path(tmp_path: Path) -> Path:
    """A file as a stranger would make it: pandas, five columns, no meta."""
    rows = SyntheticDevice().rows(np.random.default_rng(3), GRID, 15)
    path = tmp_path / "samples.parquet"
    pd.DataFrame(rows, columns=list(COLUMNS)).to_parquet(path)
    return path


def test_a_plain_file_of_five_columns_becomes_a_profile(
    samples_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "profile.yaml"
    assert main(["refit", str(samples_path), f"out={out}"]) == 0
    assert "the samples name no model: 'profile' from where the profile lies" in capsys.readouterr().out
    content = yaml.safe_load(out.read_text())
    assert set(content) >= KEYS
    profile = read_profile(out)
    curve = profile.quadratic
    found = (curve.a_s, curve.b_s, curve.c_s)
    errors = (curve.a_stderr_s, curve.b_stderr_s, curve.c_stderr_s)
    for value, error, truth in zip(found, errors, XAVIER, strict=True):
        assert error is not None
        assert abs(value - truth) < 4 * error
    assert profile.resolution_px == (640, 640)
    assert (profile.k_min, profile.k_max) == (1, 1600)
    assert profile.heldout_error is not None
    assert profile.heldout_error < 0.03
    assert profile.dense_s == pytest.approx(0.2, rel=0.02)
    assert profile.extract_s == pytest.approx(0.004, rel=0.02)
    assert profile.encode_s is not None
    assert profile.encode_s.per_block_s == pytest.approx(2e-6, rel=0.05)
    assert profile.alternative is not None
    assert curve.seconds(profile.breakeven_k) == pytest.approx(profile.dense_s, rel=0.01)
    assert (tmp_path / "profile.png").stat().st_size > 10_000


def test_the_same_samples_give_the_same_bytes(samples_path: Path, tmp_path: Path) -> None:
    outs = [tmp_path / folder / "board" / "net.yaml" for folder in ("one", "two")]
    for out in outs:
        assert main(["refit", str(samples_path), f"out={out}"]) == 0
    assert outs[0].read_bytes() == outs[1].read_bytes()


def test_names_and_resolution_can_be_given(samples_path: Path, tmp_path: Path) -> None:
    out = tmp_path / "p.yaml"
    command = ["refit", str(samples_path), f"out={out}", "device=board", "model=net", "resolution=512x960"]
    assert main(command) == 0
    profile = read_profile(out)
    assert (profile.device, profile.model, profile.resolution_px) == ("board", "net", (512, 960))


def test_a_profile_is_named_after_the_place_it_is_written_to(samples_path: Path, tmp_path: Path) -> None:
    """So that what drops into a folder of profiles is found there."""
    out = tmp_path / "profiles" / "my_board" / "my_net.yaml"
    assert main(["refit", str(samples_path), f"out={out}"]) == 0
    profile = load_profile("my_board", "my_net", [tmp_path / "profiles"])
    assert (profile.device, profile.model) == ("my_board", "my_net")


def test_dense_faster_than_any_sparse_has_no_breakeven_beyond_the_frame(tmp_path: Path) -> None:
    """A device on which sparse inference always wins has no break-even: null, not infinity."""
    rows = SyntheticDevice().rows(np.random.default_rng(3), GRID, 8, dense_s=5.0)
    path = tmp_path / "samples.parquet"
    write_samples(path, rows, {})
    assert main(["refit", str(path), f"out={tmp_path / 'p.yaml'}"]) == 0
    assert read_profile(tmp_path / "p.yaml").breakeven_k is None


def test_samples_survive_a_round_trip_with_their_meta(tmp_path: Path) -> None:
    rows = SyntheticDevice().rows(np.random.default_rng(5), GRID, 3)
    meta = {"device": "d", "versions": {"torch": "2.1"}}
    write_samples(tmp_path / "s.parquet", rows, meta)
    found = read_samples(tmp_path / "s.parquet")
    assert rows_of(found) == rows
    assert found.meta == meta
    assert tuple(pd.read_parquet(tmp_path / "s.parquet").columns) == COLUMNS
    assert pd.read_parquet(tmp_path / "s.parquet").query("op == 'dense'").k.isna().all()


def test_the_table_goes_between_the_marks_of_a_document(
    samples_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "profiles"
    assert main(["refit", str(samples_path), f"out={folder / 'board' / 'net.yaml'}"]) == 0
    document = tmp_path / "notes.md"
    document.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    capsys.readouterr()
    assert main(["table", str(folder), f"out={document}"]) == 0
    table = capsys.readouterr().out
    assert "| board | net |" in table
    assert document.read_text() == f"before\n{BEGIN}\n{table}{END}\nafter\n"
    document.write_text("no marks")
    assert main(["table", str(folder), f"out={document}"]) == 2
    assert document.read_text() == "no marks"
