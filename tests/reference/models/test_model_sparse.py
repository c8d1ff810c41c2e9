"""`evaluate-sparse`: any folder of images is a sequence; what does not fit is refused in one line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from kernels.models.__main__ import main
from kernels.models.evaluation.evaluate_sparse import find_sequences, letterboxed


def images(folder: Path, count: int, suffix: str = ".jpg") -> Path:
    folder.mkdir(parents=True)
    for index in range(count):
        Image.fromarray(np.full((40, 60, 3), 10 * index, np.uint8)).save(folder / f"{index:05d}{suffix}")
    return folder


def test_sequences_are_found_whatever_their_name(tmp_path: Path) -> None:
    images(tmp_path / "walk" / "JPEGImages", 2)
    images(tmp_path / "drive" / "images", 3, ".png")
    images(tmp_path / "a", 1)
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.txt").write_text("none")
    assert [path.name for path in find_sequences(tmp_path)] == ["a", "drive", "walk"]
    assert find_sequences(tmp_path / "walk") == [tmp_path / "walk"]
    assert find_sequences(tmp_path / "a") == [tmp_path / "a"]
    assert [frame.shape for frame in letterboxed(tmp_path / "drive", 64, None)] == [(64, 64, 3)] * 3
    assert len(list(letterboxed(tmp_path / "drive", 64, 2))) == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--policies", "fixed,most"], "--policies must be of exact, truncate, fixed, adaptive (got 'most')"),
        (["--frames", "1"], "--frames must be ≥ 2 (got 1)"),
        (["--margin-px", "-8"], "--margin-px must be ≥ 0 (got -8)"),
        (["--input-px", "100"], "--input-px must be a positive multiple of 32 px (got 100)"),
        (["--model", "yolo11n"], "--model must be one with masks, such as yolo11n-seg (got 'yolo11n')"),
        ([], "expected images"),
    ],
)
def test_what_does_not_fit_is_one_line(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate-sparse", str(tmp_path), "weights.safetensors", *arguments]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert message in error
