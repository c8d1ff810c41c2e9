"""The tables behind figures of a small sweep that the tests keep.

python -m tests.golden.tables.test_figure_tables makes them anew.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from analysis.figures.plot.plot import plot
from analysis.figures.plot.request import parse
from analysis.figures.plot.text_table import write_table
from tests.strategies.figures import REQUESTS, SWEEP, X

GOLDEN = Path(__file__).resolve().parent / "figures"
TEXTS = {
    "wide.tex": (X, "y=ea_mean,latency_mean_s,latency_p95_s"),
    "pivoted.md": (X, "y=latency_mean_s"),
}


@pytest.mark.parametrize("name", REQUESTS)
def test_the_table_of_a_figure(tmp_path: Path, name: str) -> None:
    plot(parse([str(SWEEP), *REQUESTS[name], f"out={tmp_path / 'figure.svg'}"], "plot"))
    found, golden = pd.read_csv(tmp_path / "figure.csv"), pd.read_csv(GOLDEN / f"{name}.csv")
    pd.testing.assert_frame_equal(found, golden, rtol=1e-9)


@pytest.mark.parametrize("name", TEXTS)
def test_a_table_for_a_paper(tmp_path: Path, name: str) -> None:
    text, written = write_table(parse([str(SWEEP), *TEXTS[name], f"out={tmp_path / name}"], "table"))
    assert written == [tmp_path / name, (tmp_path / name).with_suffix(".csv")]
    assert (tmp_path / name).read_text(encoding="utf-8") == text + "\n"
    assert text + "\n" == (GOLDEN / name).read_text(encoding="utf-8")


if __name__ == "__main__":
    import tempfile

    GOLDEN.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        for key, request in REQUESTS.items():
            target = Path(folder) / f"{key}.svg"
            plot(parse([str(SWEEP), *request, f"out={target}"], "plot"))
            (GOLDEN / f"{key}.csv").write_bytes(target.with_suffix(".csv").read_bytes())
        for key, request in TEXTS.items():
            write_table(parse([str(SWEEP), *request, f"out={Path(folder) / key}"], "table"))
            (GOLDEN / key).write_bytes((Path(folder) / key).read_bytes())
