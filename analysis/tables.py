"""Summaries as text tables."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from analysis.results import ea_per_captured, is_known
from analysis.settings import split_overrides, swept_settings
from sim.records.intervals import MIN_EXCEEDANCES, MIN_TIMES, QUANTILE_LEVELS, interval_keys

if TYPE_CHECKING:
    import pandas as pd


_NAMES_SYSTEM = re.compile(r"(system|experiment/[^/=]+)=")


class _Column(NamedTuple):
    heading: str
    key: str  # of the summary
    show: Callable[[Any], str]  # how to print its value
    is_name: bool = False  # flush left


_COLUMNS = (
    _Column("run", "run", str, is_name=True),
    _Column("system", "system", str, is_name=True),
    _Column("trace", "trace", str, is_name=True),
    _Column("video", "video", str, is_name=True),
    _Column("network", "network", str, is_name=True),
    _Column("codec", "coded", str, is_name=True),
    _Column("swept", "swept", str, is_name=True),
    _Column("replicates", "replicates", lambda value: f"{int(value)}"),
    _Column("frames", "frames_completed", lambda value: f"{int(value)}"),
    _Column("of", "frames_captured", lambda value: f"{int(value)}"),
    _Column("EA", "ea_mean", lambda value: f"{value:.3f}"),
    _Column("EA/captured", "ea_per_captured", lambda value: f"{value:.3f}"),
    _Column("EA regret", "ea_regret_mean", lambda value: f"{value:.4f}"),
    _Column("accuracy", "accuracy_mean", lambda value: f"{value:.3f}"),
    _Column("by", "accuracy_ruler", str),
    _Column("coverage", "coverage_accuracy_mean", lambda value: f"{value:.3f}"),
    _Column("measured EA", "measured_ea_mean", lambda value: f"{value:.3f}"),
    _Column("measured accuracy", "measured_accuracy_mean", lambda value: f"{value:.3f}"),
    _Column("foreground IoU", "foreground_iou_mean", lambda value: f"{value:.3f}"),
    _Column("streaming accuracy", "streaming_accuracy_mean", lambda value: f"{value:.3f}"),
    _Column("J", "region_similarity_mean", lambda value: f"{value:.3f}"),
    _Column("J of dense", "dense_region_similarity_mean", lambda value: f"{value:.3f}"),
    _Column("EA of J", "region_similarity_ea_mean", lambda value: f"{value:.3f}"),
    _Column("streaming J", "streaming_region_similarity_mean", lambda value: f"{value:.3f}"),
    _Column("latency ms", "latency_mean_s", lambda value: f"{1e3 * value:.1f}"),
    _Column("p99 ms", "latency_p99_s", lambda value: f"{1e3 * value:.1f}"),
    _Column("uplink Mbit/s", "uplink_bps_mean", lambda value: f"{1e-6 * value:.2f}"),
    _Column("reuse %", "reuse_ratio_mean", lambda value: f"{100 * value:.1f}"),
    _Column("offload %", "offload_ratio", lambda value: f"{100 * value:.1f}"),
    _Column("edge busy %", "edge_busy_ratio", lambda value: f"{100 * value:.1f}"),
    _Column("J/frame", "edge_energy_per_frame_j", lambda value: f"{value:.2f}"),
    _Column("EA fairness", "ea_fairness", lambda value: f"{value:.3f}"),
    _Column("uplink fairness", "uplink_fairness", lambda value: f"{value:.3f}"),
)

# Columns that are shown only where they are asked for: they say again what others say.
_WHERE_ASKED = ("coverage_accuracy_mean",)
# Columns that most tables do without.
_WHERE_KNOWN = (
    "run",
    "replicates",
    "network",
    "coded",
    "accuracy_ruler",
    "swept",
    "ea_regret_mean",
    "measured_ea_mean",
    "measured_accuracy_mean",
    "foreground_iou_mean",
    "streaming_accuracy_mean",
    "region_similarity_mean",
    "dense_region_similarity_mean",
    "region_similarity_ea_mean",
    "streaming_region_similarity_mean",
    "edge_energy_per_frame_j",
    "ea_fairness",
    "uplink_fairness",
)
# Ends of keys that say how much is given up.
_LOSSY = ("threshold", "quality", ".crf", ".similarity", "_bits", ".bits")
_COUNTS = ("frames_captured", "frames_completed", "frames_replaced", "frames_dropped")


class ShownColumn(NamedTuple):
    """A column of summaries, how tables call it, what it is multiplied by, and with how many digits."""

    column: str
    title: str
    scale: float
    digits: int


def summary_table(summaries: Sequence[Mapping[str, Any]], headings: Sequence[str] = ()) -> str:
    """Runs as rows; unknown values print as a dash, failed runs with their error.

    Runs that have `overrides` also say what else was swept, and those that nothing of this tells apart say
    their `folder`. Where `headings` are given, only those columns are shown. A value with an interval of 95 %
    shows half its width (`0.696 ±.012`), a quantile its ends; what the intervals are of stands below.
    """
    overrides = [split_overrides(summary.get("overrides")) for summary in summaries]
    derived = [
        {
            **_once(summary),
            "system": system_name(summary, job),
            "coded": coded(summary),
            "ea_per_captured": ea_per_captured(summary),
            "swept": setting or None,
        }
        for summary, job, setting in zip(
            summaries, overrides, swept_settings(overrides, summaries), strict=True
        )
    ]
    names = [tuple(str(row.get(key)) for key in ("system", "trace", "video", "swept")) for row in derived]
    if len(set(names)) < len(names):
        derived = [{**row, "run": row.get("folder")} for row in derived]
    columns = [
        column
        for column in _COLUMNS
        if (not headings or column.heading in headings)
        and (_worth_showing(column.key, derived) or (column.heading in headings and column.key != "coded"))
    ]
    rows = [[column.heading for column in columns]]
    rows += [[_cell(row, column.key, column.show) for column in columns] for row in derived]
    left = {place for place, column in enumerate(columns) if column.is_name}
    below = [*_interval_notes(derived, {column.key for column in columns}), *_notes(derived)]
    return "\n".join([*aligned(rows, left), *below])


def aligned(rows: Sequence[Sequence[str]], left: Collection[int]) -> list[str]:
    """The lines of a table of texts whose first row is its heading, with a rule below that.

    Args:
        rows: cells, as many in each row.
        left: which columns are flush left; the others are flush right.
    """
    widths = [max(map(len, cells)) for cells in zip(*rows, strict=True)]
    lines = [
        "  ".join(
            cell.ljust(width) if place in left else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    return [lines[0], "-" * len(lines[0]), *lines[1:]]


def _cell(row: Mapping[str, Any], key: str, show: Callable[[Any], str]) -> str:
    """A value with its interval; a dash where it is unknown."""
    if not is_known(row.get(key)):
        return "–"
    ends = [row.get(end) for end in interval_keys(key)]
    if not all(map(is_known, ends)):
        return show(row[key])
    low, high = (float(end) for end in ends if end is not None)
    if key in QUANTILE_LEVELS:
        return f"{show(row[key])} [{show(low)}, {show(high)}]"
    half = show((high - low) / 2.0)
    return f"{show(row[key])} ±{half.lstrip('0') if half.startswith('0.') else half}"


def _interval_notes(rows: Sequence[Mapping[str, Any]], shown: Collection[str]) -> list[str]:
    """What the intervals of a table are, and why some have none."""
    done = [row for row in rows if row.get("status") == "completed" and is_known(row.get("ea_mean"))]
    known = [row for row in done if any(is_known(row.get(interval_keys(key)[0])) for key in shown)]
    over = [row for row in known if is_known(row.get("replicates"))]
    notes = []
    if over:
        notes.append(
            "± and [ ]: half the width and ends of 95 % intervals, over replicates; quantiles of all frames"
        )
    if len(known) > len(over):
        notes.append("± and [ ]: half the width and ends of 95 % intervals, from within each run")
    short = [
        row for row in done if not is_known(row.get("latency_mean_low_s")) and "link_correlation_s" in row
    ]
    if short:
        wanted_s = max(MIN_TIMES * (row.get("link_correlation_s") or 0.0) for row in short)
        notes.append(
            f"no interval for {len(short)} of {len(done)} rows: a run shorter than {MIN_TIMES:g} correlation "
            f"times{f' ({wanted_s:.0f} s on this network)' if wanted_s else ''} tells nothing of its own "
            "spread; replicates=8 does"
        )
    quantiles = [key for key in QUANTILE_LEVELS if key in shown]
    few = [row for row in known if any(not is_known(row.get(interval_keys(key)[0])) for key in quantiles)]
    if few and quantiles:
        notes.append(
            f"no interval for a quantile of {len(few)} rows: fewer than {MIN_EXCEEDANCES:g} effective values "
            "beyond it"
        )
    return notes


def _once(summary: Mapping[str, Any]) -> dict[str, Any]:
    """A summary that says its accuracy once: what was measured is its accuracy, where it names its ruler."""
    if summary.get("accuracy_ruler") != "measured":
        return dict(summary)
    return {**summary, "measured_accuracy_mean": None, "measured_ea_mean": None}


def _notes(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Why runs have no results: each that failed, and how many have not finished."""
    notes = [
        f"failed: {row.get('overrides') or row.get('system')}: {row.get('error')}"
        for row in rows
        if row.get("status") not in ("completed", "unfinished")
    ]
    for why, count in Counter(row["error"] for row in rows if row.get("status") == "unfinished").items():
        notes.append(f"unfinished: {count} of {len(rows)} runs: {why}")
    return notes + _unseen(rows)


def _unseen(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """What a sweep over thresholds cannot show where accuracy is by coverage."""
    covered = [row for row in rows if row.get("accuracy_ruler") == "coverage"]
    values: dict[str, set[str]] = {}
    for row in covered:
        for part in split_overrides(row.get("overrides")):
            key, _, value = part.lstrip("+").partition("=")
            if key.endswith(_LOSSY):
                values.setdefault(key, set()).add(value)
    swept = sorted(key for key, found in values.items() if len(found) > 1)
    if not swept:
        return []
    return [
        f"note: {', '.join(swept)} swept by coverage, which counts blocks that differ by "
        "accuracy.coverage_threshold or more: it cannot see what smaller differences, and features that are "
        "moved, do to results; accuracy=measured does"
    ]


def _worth_showing(key: str, rows: Sequence[Mapping[str, Any]]) -> bool:
    if key in _WHERE_ASKED:
        return False
    return key not in _WHERE_KNOWN or any(is_known(row.get(key)) for row in rows)


def coded(summary: Mapping[str, Any]) -> str | None:
    """What a run's pixels were coded with, and in which quality: "jpeg 85"; None where none were sent."""
    codec, quality = summary.get("codec"), summary.get("quality")
    if not is_known(codec):
        return None
    return f"{codec} {quality:g}" if is_known(quality) else str(codec)


def system_name(summary: Mapping[str, Any], overrides: Sequence[str]) -> Any:
    """What a run's system is called: as the command line chose it, else by its name.

    An experiment's own variants of systems, ``experiment/<experiment>=<variant>``, have the names that it
    gives them; deeper groups, as a paper's tasks, name no system.
    """
    chosen = [part.partition("=")[2] for part in overrides if _NAMES_SYSTEM.match(part)]
    return chosen[-1] if chosen else summary.get("system")


def mean_over_videos(jobs: pd.DataFrame) -> pd.DataFrame:
    """One row a system, in the order they come: its frames added up, the mean of all else, a video one vote.

    Videos are no sample of anything: there is no interval over them.

    Args:
        jobs: with `overrides`, `system` and `video`, as :func:`analysis.results.merge_results` makes them.
    """
    names = [system_name(job, split_overrides(job["overrides"])) for job in jobs.to_dict("records")]
    ends = {end for key in jobs for end in interval_keys(key)}
    jobs = jobs.drop(columns=[key for key in jobs if key in ends])
    pooled = jobs.assign(system=names).groupby("system", sort=False)
    means = pooled.mean(numeric_only=True)
    for count in _COUNTS:
        means[count] = pooled[count].sum()
    videos = pooled["video"].nunique().map("mean of {}".format)
    status = pooled["status"].agg(lambda column: "completed" if (column == "completed").all() else "failed")
    network = pooled["network"].first() if "network" in jobs else None
    ruler = None
    if "accuracy_ruler" in jobs:
        ruler = pooled["accuracy_ruler"].agg(
            lambda column: column.iloc[0] if column.nunique() == 1 else "mixed"
        )
    codec = pooled["codec"].first() if "codec" in jobs else None
    known = {"video": videos, "status": status, "network": network, "accuracy_ruler": ruler, "codec": codec}
    return means.assign(**known).reset_index()
