"""The same results give the same figures, byte by byte, and a figure follows from its table alone."""

from __future__ import annotations

import itertools
from pathlib import Path

import pandas as pd
import pytest

from analysis.figures.plot.looks import looks
from analysis.figures.plot.plot import plot, write_figure
from analysis.figures.plot.request import parse
from analysis.figures.plot.runs import read_runs
from tests.strategies.figures import REQUESTS, SWEEP

MAGIC = {"pdf": b"%PDF", "svg": b"<?xml", "png": b"\x89PNG"}


@pytest.mark.parametrize(
    ("name", "suffix"), [*itertools.product(REQUESTS, ["svg"]), ("lines", "pdf"), ("bars", "png")]
)
def test_the_same_bytes_twice(tmp_path: Path, name: str, suffix: str) -> None:
    files = []
    for turn in ("one", "two"):
        target = tmp_path / turn / f"figure.{suffix}"
        target.parent.mkdir()
        written, _ = plot(parse([str(SWEEP), *REQUESTS[name], f"out={target}"], "plot"))
        assert written == [target, target.with_suffix(".csv")]
        assert sorted(target.parent.iterdir()) == sorted(written)
        files.append([path.read_bytes() for path in written])
    assert files[0] == files[1]
    assert files[0][0].startswith(MAGIC[suffix])


@pytest.mark.parametrize("name", ["lines", "cdf", "composition"])
def test_a_figure_can_be_drawn_anew_from_its_table(tmp_path: Path, name: str) -> None:
    target = tmp_path / "figure.svg"
    request = parse([str(SWEEP), *REQUESTS[name], f"out={target}"], "plot")
    plot(request)
    table = pd.read_csv(tmp_path / "figure.csv")
    write_figure(request, table, looks(read_runs(request), request.by, table), tmp_path / "anew.svg")
    assert (tmp_path / "anew.svg").read_bytes() == target.read_bytes()


def test_a_pdf_has_its_fonts_as_truetype_and_no_date(tmp_path: Path) -> None:
    target = tmp_path / "figure.pdf"
    plot(parse([str(SWEEP), *REQUESTS["lines"], f"out={target}"], "plot"))
    content = target.read_bytes()
    assert b"/FontFile2" in content
    assert b"/Type3" not in content
    assert b"CreationDate" not in content


def test_an_svg_needs_no_font_and_has_no_date(tmp_path: Path) -> None:
    target = tmp_path / "figure.svg"
    plot(parse([str(SWEEP), *REQUESTS["lines"], f"out={target}"], "plot"))
    content = target.read_text()
    assert "<text" not in content
    assert "dc:date" not in content
