"""The columns of a report's tables: which key of a summary, what it is called and how it is printed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from analysis.report.packing import rounded
from analysis.results import is_known
from sim.records.intervals import interval_keys


class Measure(NamedTuple):
    """A quantity of a summary.

    Args:
        key: of the summary.
        name: what it is called.
        digits, scale, unit: how it is printed.
        higher: whether more is better; None: neither.
        meaning: in a sentence, for who meets it the first time.
    """

    key: str
    name: str
    digits: int = 3
    scale: float = 1.0
    unit: str = ""
    higher: bool | None = True
    meaning: str = ""


MEASURES = (
    Measure("ea_mean", "EA", meaning="effective accuracy: accuracy · exp(−λ · latency), mean over results"),
    Measure("ea_per_captured", "EA/captured", meaning="the same, a frame without a result counted as 0"),
    Measure("accuracy_mean", "accuracy", meaning="mean over results, by the ruler that the run names"),
    Measure(
        "streaming_accuracy_mean",
        "streaming accuracy",
        meaning="what is shown at each captured frame against the truth of that frame",
    ),
    Measure("foreground_iou_mean", "foreground IoU", meaning="everything found, whatever its class"),
    Measure("region_similarity_mean", "J", meaning="IoU with the video's own masks"),
    Measure("ea_regret_mean", "EA regret", 4, higher=False, meaning="EA lost against an oracle's decisions"),
    Measure("latency_mean_s", "latency", 1, 1e3, "ms", False, "capture to result, all waiting included"),
    Measure("latency_p50_s", "p50", 1, 1e3, "ms", False, "half of the results are sooner"),
    Measure("latency_p95_s", "p95", 1, 1e3, "ms", False, "95 of 100 results are sooner"),
    Measure("latency_p99_s", "p99", 1, 1e3, "ms", False, "99 of 100 results are sooner"),
    Measure("uplink_bps_mean", "uplink", 2, 1e-6, "Mbit/s", False, "carried, opportunistic bytes included"),
    Measure("reuse_ratio_mean", "reuse", 1, 100, "%", None, "blocks whose features were moved"),
    Measure("offload_ratio", "offload", 1, 100, "%", None, "results that waited for the server"),
    Measure("edge_busy_ratio", "edge busy", 1, 100, "%", None, "of the time, background work included"),
    Measure("edge_energy_per_frame_j", "energy", 2, 1, "J/frame", False, "of the edge, a result"),
    Measure("ea_fairness", "EA fairness", meaning="Jain's index over cameras of EA/captured"),
)


def known_measures(rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The measures that any of these rows has."""
    rows = list(rows)
    return [measure._asdict() for measure in MEASURES if any(is_known(row.get(measure.key)) for row in rows)]


def measured(row: Mapping[str, Any]) -> dict[str, list[Any]]:
    """A row's measures: value, and the ends of its 95 % interval where there is one."""
    found = {}
    for measure in MEASURES:
        value = row.get(measure.key)
        if is_known(value):
            ends = [row.get(end) for end in interval_keys(measure.key)]
            both = all(is_known(end) for end in ends)
            found[measure.key] = [rounded(number) for number in ([value, *ends] if both else [value])]
    return found
