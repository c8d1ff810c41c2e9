"""How often the fit's 95 % intervals hold, over synthetic devices whose curve is known; about two minutes.

    python -m tests.benchmarks.bench_coverage [DOCUMENT]

Writes tests/golden/tables/benchmarks/coverage.csv, and the same as a table into DOCUMENT between its markers.
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import numpy as np

from profiler.fit.quadratic import fit_quadratic
from profiler.fit.uncertainty import analytic_errors
from tests.strategies.profiler import XAVIER, SyntheticDevice

RUNS = 1000
GRID = np.linspace(1, 1600, 14).round()
NOISES = {
    "heteroscedastic": "growing with k",
    "bimodal": "1 in 5 runs 20 % slower",
    "rare_slow": "1 in 20 runs twice as slow",
    "interrupted": "1 in 20 runs stopped for 10 ms",
}
TARGET = Path(__file__).parents[1] / "golden" / "tables" / "benchmarks" / "coverage.csv"
BEGIN, END = (
    "<!-- coverage: python -m tests.benchmarks.bench_coverage THIS FILE -->",
    "<!-- end of coverage -->",
)


def coverage(noise: str, repeats: int) -> list[dict[str, object]]:
    """Per cent of runs in which each of a, b and c lies in its interval, by rule."""
    generator = np.random.default_rng(30)
    device = SyntheticDevice(noise=noise)
    k = np.repeat(GRID, repeats)
    held: dict[str, list[np.ndarray]] = {"HC3 alone": [], "as reported": [], "bootstrap": []}
    for _ in range(RUNS):
        fit = fit_quadratic(k, device.measure(k, generator), draws=200, generator=generator)
        alone = analytic_errors(fit.groups, fit.noise_s, None, 0.95)[1]
        assert fit.bootstrap_interval is not None
        for rule, interval in zip(held, (alone, fit.interval, fit.bootstrap_interval), strict=True):
            held[rule].append((interval[:, 0] <= XAVIER) & (interval[:, 1] >= XAVIER))
    return [
        {"noise": NOISES[noise], "repeats": repeats, "rule": rule}
        | dict(
            zip(("a", "b", "c"), (round(float(100 * rate), 1) for rate in np.mean(hits, axis=0)), strict=True)
        )
        for rule, hits in held.items()
    ]


def markdown(rows: list[dict[str, str]]) -> str:
    """One line a noise and number of repeats, each rule's a / b / c in whole per cent."""
    lines = ["| noise | repeats | HC3 alone | as reported | bootstrap |", "|---|---|---|---|---|"]
    for first in range(0, len(rows), 3):
        shown = (" / ".join(f"{float(row[name]):.0f}" for name in "abc") for row in rows[first : first + 3])
        lines.append(f"| {rows[first]['noise']} | {rows[first]['repeats']} | {' | '.join(shown)} |")
    return "\n".join(lines)


def committed() -> list[dict[str, str]]:
    with TARGET.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def main(document: str | None = None) -> None:
    rows = [row for noise in NOISES for repeats in (15, 45) for row in coverage(noise, repeats)]
    with TARGET.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    table = markdown(committed())
    print(table)
    if document is not None:
        text = Path(document).read_text(encoding="utf-8")
        before, rest = text.split(BEGIN)
        Path(document).write_text(f"{before}{BEGIN}\n{table}\n{END}{rest.split(END)[1]}", encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:2])
