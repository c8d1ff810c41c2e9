"""How well each estimator follows the uplink, and what that is worth: EA lost against an oracle estimator.

    python -m tests.benchmarks.bench_estimators [choose]

writes `tests/golden/tables/benchmarks/estimators.csv`, which `sim/README.md` shows. The links are a step from
56 to 0.4 Mbit/s and back, one that goes on and off every two seconds, and real traces of each family in
`../shared/data/traces`, as they are and scaled to 10 and to 56 Mbit/s (the contested regime and the papers'
medium level). The synthetic traces of three levels are in the table too: like the real ones of the family
`mahimahi`, they leave packets in bursts. Messages are small (`fluxshard_ea`, JPEG blocks), raw (the same,
blocks as they are) or large (`coach` with `codec=quantised`, whole frames).

Regret is in EA (the mean of the frames that were completed) and in EA by captured frame (dropped ones are 0).

The traces are split by a seeded shuffle, half of each family. `choose` prints the regret of candidate
parameters on the one half; the table is made of the other, which no parameter was chosen by.
"""

from __future__ import annotations

import csv
import math
import random
import statistics
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from sim.command.single_run import run_once

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT.parent / "shared" / "data" / "traces"
TABLE = ROOT / "tests" / "golden" / "tables" / "benchmarks" / "estimators.csv"
BEGIN, END = "<!-- estimators table -->", "<!-- end of estimators table -->"
SPLIT_SEED = 10
STEP_S = 5.0
FAST_MBPS, SLOW_MBPS = 56.0, 0.4
ESTIMATORS = ("ewma", "harmonic", "kalman", "oracle")
SYSTEMS: Mapping[str, Mapping[str, Any]] = {
    "small": {"system": {"name": "fluxshard_ea"}},
    "raw": {"system": {"name": "fluxshard_ea"}, "payload": {"codec": "raw"}},
    "large": {"system": {"name": "coach", "codec": "quantised"}},  # the one that asks: how many bits a value
}
SYNTHETIC_SEED = 31  # that of conf/trace
CLOSE = 1.5  # an estimate has followed a step when it stays within this factor
LOOK_S = 0.1  # what is true: the mean rate of so many seconds from the question on
CANDIDATES: tuple[Mapping[str, Any], ...] = (
    *({"name": "ewma", "half_life_s": half_life_s} for half_life_s in (0.1, 0.2, 0.4)),
    *({"name": "harmonic", "window": window} for window in (2, 5)),
    *({"name": "kalman", "process": process} for process in (0.5, 1.0, 2.0)),
)


class Case(NamedTuple):
    """A link, and how it is used.

    Args:
        link: what the table calls it.
        family: of a real trace; none of a made one.
        path: the trace; None: synthetic.
        mean_mbps: what it is scaled to; None: as it is.
        messages: "small", "raw" or "large".
        video: "scene", or "statistical" where the run needs no pixels.
        frames: captured.
    """

    link: str
    family: str
    path: Path | None
    mean_mbps: float | None
    messages: str
    video: str
    frames: int


def halves() -> tuple[list[Path], list[Path]]:
    """The real traces: those to choose parameters by, and those to report."""
    chooser = random.Random(SPLIT_SEED)
    choose: list[Path] = []
    report: list[Path] = []
    for folder in sorted(path for path in DATA.iterdir() if path.is_dir()):
        paths = sorted(folder.iterdir())
        chooser.shuffle(paths)
        middle = (len(paths) + 1) // 2
        choose += paths[:middle]
        report += paths[middle:]
    return choose, report


def made_links(folder: Path) -> dict[str, Path]:
    """Traces of rates that change at once."""
    steps = {
        "step down": [(0.0, FAST_MBPS), (STEP_S, SLOW_MBPS)],
        "step up": [(0.0, SLOW_MBPS), (STEP_S, FAST_MBPS)],
        "on and off": [(2.0 * place, (FAST_MBPS, SLOW_MBPS)[place % 2]) for place in range(5)],
    }
    links = {}
    for name, rates in steps.items():
        links[name] = folder / f"{name.replace(' ', '_')}.csv"
        rows = "".join(f"{time_s},{mbps}\n" for time_s, mbps in [*rates, (100.0, rates[-1][1])])
        links[name].write_text(f"time_s,rate_mbps\n{rows}", encoding="utf-8")
    return links


def cases(folder: Path) -> Iterator[Case]:
    """What the table reports."""
    for name, path in made_links(folder).items():
        for messages in ("small", "large"):
            yield Case(name, "", path, None, messages, "scene", 300)
    for mean_mbps in (10.0, 25.0, 56.0):
        for messages in ("small", "raw"):
            yield Case(f"synthetic, {mean_mbps:g} Mbit/s", "", None, mean_mbps, messages, "statistical", 1800)
    families: set[str] = set()
    for path in halves()[1]:
        family = path.parent.name
        for mean_mbps in (None, 10.0, 56.0):
            yield Case(path.name, family, path, mean_mbps, "small", "statistical", 1800)
            if family == "mahimahi":
                yield Case(path.name, family, path, mean_mbps, "raw", "statistical", 1800)
        if family not in families:
            families.add(family)
            yield Case(path.name, family, path, 10.0, "small", "scene", 240)
            yield Case(path.name, family, path, 56.0, "small", "scene", 240)
            yield Case(path.name, family, path, 56.0, "large", "scene", 90)


def run_case(case: Case, estimator: Mapping[str, Any]) -> dict[str, Any]:
    """EA, and how far the estimates were off: time to follow a step, and the mean factor."""
    trace: dict[str, Any] = {"name": "synthetic", "seed": SYNTHETIC_SEED}
    if case.path is not None:
        trace = {"name": "file", "path": str(case.path)}
    if case.mean_mbps is not None:
        trace["mean_mbps"] = case.mean_mbps
    video = {"kind": case.video, "name": case.video}
    if case.video == "statistical":
        video["statistics"] = "scene_walk"
    content = {
        **SYSTEMS[case.messages],
        "trace": trace,
        "video": video,
        "estimator": dict(estimator),
        "frames": case.frames,
        "in_flight": 1,  # as all parameters were chosen
        "accuracy": {"mode": "coverage"},
    }
    done = run_once(content)
    frames, replay = done.record.frames, done.assembly.simulation.uplink.replay
    asked = frames[np.isfinite(frames["bandwidth_estimate_bps"].to_numpy(dtype=float))]
    times_s = asked["started_s"].to_numpy(dtype=float)
    believed = asked["bandwidth_estimate_bps"].to_numpy(dtype=float)
    true = np.array([8.0 * replay.capacity_bytes(at_s, at_s + LOOK_S) / LOOK_S for at_s in times_s])
    known = true > 0.0
    off = np.abs(np.log(believed[known] / true[known]))
    ea = done.record.summary["ea_mean"]
    return {
        "ea": 0.0 if ea is None else ea,
        "ea_per_captured": done.record.summary["ea_per_captured"] or 0.0,
        "error": math.exp(float(off.mean())) if len(off) else math.nan,
        "follow_s": _follow_s(case, times_s, believed),
    }


def _follow_s(case: Case, times_s: Any, believed: Any) -> float:
    """From a step until all later estimates are close; questions are only asked at frames."""
    after_mbps = {"step down": SLOW_MBPS, "step up": FAST_MBPS}.get(case.link)
    if after_mbps is None:
        return math.nan
    far = np.abs(np.log(believed / (after_mbps * 1e6))) > math.log(CLOSE)
    late = np.flatnonzero(far & (times_s > STEP_S))
    following = times_s[(times_s > STEP_S) & (np.arange(len(times_s)) > (late[-1] if len(late) else -1))]
    return float(following[0]) - STEP_S if len(following) else math.inf


def rows(found: Iterable[Case], estimators: Iterable[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """One row a case and estimator; regret is the oracle's EA less its own."""
    estimators = list(estimators)
    for case in found:
        oracle = run_case(case, {"name": "oracle"})
        for estimator in estimators:
            mine = oracle if estimator["name"] == "oracle" else run_case(case, estimator)
            yield {
                "link": case.link,
                "family": case.family,
                "mean_mbps": "" if case.mean_mbps is None else f"{case.mean_mbps:g}",
                "messages": case.messages,
                "video": case.video,
                "frames": case.frames,
                "estimator": " ".join(str(value) for value in estimator.values()),
                "follow_s": _digits(mine["follow_s"], 3),
                "error": _digits(mine["error"], 3),
                "ea": f"{mine['ea']:.4f}",
                "ea_oracle": f"{oracle['ea']:.4f}",
                "ea_per_captured": f"{mine['ea_per_captured']:.4f}",
                "regret": f"{oracle['ea'] - mine['ea']:.4f}",
                "regret_per_captured": f"{oracle['ea_per_captured'] - mine['ea_per_captured']:.4f}",
            }


def _digits(value: float, digits: int) -> str:
    return "" if math.isnan(value) else f"{value:.{digits}f}"


def recorded() -> list[dict[str, str]]:
    """The committed rows."""
    with TABLE.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def page_table() -> str:
    """The page's table: each made link, and the real traces of each family together."""
    found = recorded()
    lines = [
        "| link | messages | estimator | follows after s | factor off | EA | oracle's EA | regret | worst "
        "| by captured | worst |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    groups: dict[tuple[str, str, str], list[dict[str, str]]] = {}
    for row in found:
        link = f"{row['family']}, {row['mean_mbps'] or 'own'} Mbit/s" if row["family"] else row["link"]
        if row["family"] and row["estimator"] != "kalman":
            continue  # these, by trace, are in the CSV
        if row["family"] and row["video"] == "scene" and row["messages"] == "small":
            link += ", scene"
        groups.setdefault((link, row["messages"], row["estimator"]), []).append(row)
    for (link, messages, estimator), group in groups.items():
        follows = group[0]["follow_s"] or "–"
        factor = statistics.median(float(row["error"]) for row in group if row["error"])
        ea, oracle, regret = (
            statistics.mean(float(row[key]) for row in group) for key in ("ea", "ea_oracle", "regret")
        )
        worst, captured_worst = (
            f"{max(float(row[key]) for row in group):.4f} of {len(group)}" if len(group) > 1 else "–"
            for key in ("regret", "regret_per_captured")
        )
        captured = statistics.mean(float(row["regret_per_captured"]) for row in group)
        lines.append(
            f"| {link} | {messages} | `{estimator}` | {follows} | {factor:.2f} | {ea:.3f} | {oracle:.3f} "
            f"| {regret:.4f} | {worst} | {captured:.4f} | {captured_worst} |"
        )
    return "\n".join(lines)


def main() -> None:
    if sys.argv[1:] == ["choose"]:
        found = [
            Case(path.name, path.parent.name, path, mean_mbps, "small", "statistical", 900)
            for path in halves()[0]
            for mean_mbps in (None, 10.0, 56.0)
        ]
        regrets: dict[str, list[float]] = {}
        for row in rows(found, CANDIDATES):
            regrets.setdefault(row["estimator"], []).append(float(row["regret"]))
        for name, values in regrets.items():
            print(f"{name:12} mean {statistics.mean(values):.4f} worst {max(values):.4f} of {len(values)}")
        return
    with tempfile.TemporaryDirectory() as folder, TABLE.open("w", encoding="utf-8", newline="") as file:
        writer: csv.DictWriter[str] | None = None
        for row in rows(cases(Path(folder)), [{"name": name} for name in ESTIMATORS]):
            if writer is None:
                writer = csv.DictWriter(file, list(row), lineterminator="\n")
                writer.writeheader()
            writer.writerow(row)
            file.flush()
    page = ROOT / "sim" / "README.md"
    text = page.read_text(encoding="utf-8")
    before, rest = text.split(BEGIN)
    page.write_text(f"{before}{BEGIN}\n{page_table()}\n{END}{rest.split(END)[1]}", encoding="utf-8")


if __name__ == "__main__":
    main()
