"""The page's table of intervals is that of the file that its command wrote, and says that they hold."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from sim.records.intervals import MIN_TIMES
from tests.benchmarks.bench_intervals import CSV, FPS, table
from traces.bandwidth.synthetic import CORRELATION_S

BEGIN, END = "<!-- interval coverage -->", "<!-- end of interval coverage -->"


def shown() -> str:
    return f"```text\n{table(pd.read_csv(CSV))}\n```"


def test_the_page_shows_the_measured_coverage(repository: Path) -> None:
    text = (repository / "analysis" / "README.md").read_text(encoding="utf-8")
    assert text.split(BEGIN)[1].split(END)[0].strip() == shown()


def test_what_is_given_holds() -> None:
    """93 to 97 % of a thousand; the binomial bounds of each within 91 to 98 %. What is too short has none."""
    rows = pd.read_csv(CSV)
    assert (rows["trials"] >= 1000).all()
    given = rows[rows["given"] > 0]
    assert {"latency mean", "EA mean", "latency p50", "latency p95"} == set(given["quantity"])
    assert given["covered"].between(0.93, 0.97).all()
    assert ((given["low"] > 0.91) & (given["high"] < 0.98)).all()
    alone = rows[(rows["runs"] == 1) & rows["quantity"].str.endswith("mean")]
    assert (alone["given"] > 0).tolist() == (alone["frames"] / FPS >= MIN_TIMES * CORRELATION_S).tolist()


if __name__ == "__main__":
    page = Path(__file__).resolve().parents[3] / "analysis" / "README.md"
    before, rest = page.read_text(encoding="utf-8").split(BEGIN)
    page.write_text(f"{before}{BEGIN}\n{shown()}\n{END}{rest.split(END)[1]}", encoding="utf-8")
