"""The frontier of systems: accuracy against latency and against bytes, over each system's own settings.

A point is one setting of one system: the mean over its runs (videos, replicates, networks). Its 95 percent
interval is over replicates, each the mean over its videos, since the videos are the same in all. Where there
is one replicate of several videos it is between the videos, and says how far others of their kind may lie; of
a single run it is the one from within it.

The frontier is what no other point beats in accuracy at that latency, or at those bytes, or less.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from analysis.replicates import Estimate
from analysis.results import file_digest, is_known, rows_in
from analysis.settings import REALISATION, no_matter, settings, split_overrides, swept_keys
from analysis.tables import aligned, system_name
from sim.records.intervals import interval_keys
from traces.errors import InputError

AVERAGED = (*REALISATION, "trace.path", "video.path")  # what tells the runs of one point apart
STREAMING = "streaming_accuracy_mean"
ANSWERED = 0.9  # a point whose system answers fewer of the captured frames is drawn hollow


@dataclass(frozen=True, slots=True)
class Point:
    """One setting of one system.

    Args:
        system: as the command line chose it.
        setting: what else tells it from the system's other points: "payload.quality=50"; may be empty.
        folder: of its first run.
        runs: how many were averaged.
        replicates: on how many realisations of the network.
        answered: share of the captured frames that gave a result.
        accuracy: mean accuracy of results, by the ruler of the runs.
        streaming: mean accuracy of what is shown at every captured frame; None where it was not measured.
        latency_s: mean time from capture to result.
        frame_bytes: bytes on the uplink, opportunistic ones included, a captured frame.
    """

    system: str
    setting: str
    folder: Path
    runs: int
    replicates: int
    answered: float
    accuracy: Estimate
    streaming: Estimate | None
    latency_s: Estimate
    frame_bytes: Estimate


def points(folders: Sequence[Path]) -> list[Point]:
    """The points of all completed runs in some folders; raises as :func:`points_of`.

    A run counts once, however often its folder is named, and so does one whose frames are those of another
    of the same setting: a seed that changes nothing makes no further observation.
    """
    distinct: dict[Any, Mapping[str, Any]] = {}
    for row in rows_in(folders):
        given = settings(split_overrides(row["overrides"]))
        setting = tuple((key, value) for key, value in given.items() if key not in REALISATION)
        frames = Path(row["folder"]) / "frames.parquet"
        distinct.setdefault((setting, file_digest(frames) if frames.is_file() else frames), row)
    return points_of(list(distinct.values()))


def points_of(rows: Sequence[Mapping[str, Any]]) -> list[Point]:
    """The points of all completed runs, in the order they come.

    Args:
        rows: one a run, as :func:`analysis.results.run_rows` makes them.

    Raises:
        InputError: there is no completed run with a result, or their accuracies are of different rulers.
    """
    done = [row for row in rows if row["status"] == "completed" and row.get("accuracy_mean") is not None]
    if not done:
        raise InputError("frontier: expected completed runs with results, found none")
    jobs = [settings(split_overrides(row["overrides"])) for row in done]
    rulers = sorted({str(row.get("accuracy_ruler")) for row in done})
    if len(rulers) > 1:
        raise InputError(
            f"frontier: expected accuracies by one ruler, to be compared, found {' and '.join(rulers)}"
        )
    names = [str(system_name(row, split_overrides(row["overrides"]))) for row in done]
    keys = [
        key
        for key in swept_keys(jobs)
        if key not in ("system", *AVERAGED) and not key.startswith("experiment") and not no_matter(key)
    ]
    grouped: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for row, job, name in zip(done, jobs, names, strict=True):
        setting = ", ".join(f"{key}={job[key]}" for key in keys if key in job)
        realisation = tuple(job.get(key) for key in REALISATION)
        grouped.setdefault((name, setting), []).append({**row, "realisation": realisation})
    return [_point(name, setting, runs) for (name, setting), runs in grouped.items()]


def _point(name: str, setting: str, runs: Sequence[Mapping[str, Any]]) -> Point:
    captured = sum(int(run["frames_captured"]) for run in runs)
    return Point(
        name,
        setting,
        Path(runs[0].get("folder", "")),
        len(runs),
        len({run["realisation"] for run in runs}),
        sum(int(run["frames_completed"]) for run in runs) / captured,
        Estimate.over(runs, "accuracy_mean"),
        Estimate.over(runs, STREAMING) if all(is_known(run.get(STREAMING)) for run in runs) else None,
        Estimate.over(runs, "latency_mean_s"),
        Estimate.over([{**run, **_frame_bytes(run)} for run in runs], "frame_bytes"),
    )


def _frame_bytes(run: Mapping[str, Any]) -> dict[str, float | None]:
    """Bytes a captured frame of the whole run, with the interval that its rate has."""
    found = float((run["uplink_bytes"] + run["uplink_opportunistic_bytes"]) / run["frames_captured"])
    values: dict[str, float | None] = {"frame_bytes": found}
    rate_bps = run.get("uplink_bps_mean")
    for key, of_rate in zip(interval_keys("frame_bytes"), interval_keys("uplink_bps_mean"), strict=True):
        end = run.get(of_rate)
        values[key] = found * end / rate_bps if rate_bps and end is not None else None
    return values


def frontier(costs: Sequence[float], values: Sequence[float]) -> list[int]:
    """Which points no other beats: in the order of rising cost, each of higher value than all before.

    Args:
        costs, values: (points,) each.
    """
    best: list[int] = []
    for place in sorted(range(len(costs)), key=lambda place: (costs[place], -values[place])):
        if not best or values[place] > values[best[-1]]:
            best.append(place)
    return best


def frontier_table(found: Sequence[Point]) -> str:
    """The points as text, one a row, with the frontier that each is on: of latency, of bytes, or none.

    What sends nothing is on no frontier of bytes: it would be the only one.
    """
    accuracy = [point.accuracy.mean for point in found]
    by_latency = set(frontier([point.latency_s.mean for point in found], accuracy))
    sending = [place for place, point in enumerate(found) if point.frame_bytes.mean > 0.0]
    best = frontier(
        [found[place].frame_bytes.mean for place in sending], [accuracy[place] for place in sending]
    )
    by_bytes = {sending[place] for place in best}
    heading = (
        *("system", "setting", "runs", "answered %", "accuracy", "streaming accuracy", "latency ms"),
        *("kB a frame", "frontier"),
    )
    rows = [heading] + [
        (
            point.system,
            point.setting or "–",
            str(point.runs),
            f"{100 * point.answered:.0f}",
            point.accuracy.text(1.0, 3),
            "–" if point.streaming is None else point.streaming.text(1.0, 3),
            point.latency_s.text(1e3, 1),
            point.frame_bytes.text(1e-3, 1),
            " ".join(
                filter(None, ["latency" if place in by_latency else "", "bytes" if place in by_bytes else ""])
            ),
        )
        for place, point in enumerate(found)
    ]
    return "\n".join([*aligned(rows, left=(0, 1, 8)), f"± 95 % {intervals_over(found)}"])


def intervals_over(found: Sequence[Point]) -> str:
    """What the intervals are over."""
    if all(point.replicates > 1 for point in found):
        return "over replicates"
    if all(point.replicates == 1 < point.runs for point in found):
        return "between videos, of which each has one run"
    return "from within each run" if all(point.runs == 1 for point in found) else "over what runs there are"
