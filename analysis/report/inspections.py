"""What runs with `inspect=true` have left, as a page carries it: pictures once, all else run by run."""

from __future__ import annotations

import base64
import csv
import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from analysis.report.packing import deflated
from analysis.report.runs import ReportedRuns
from traces.errors import InputError

FOLDER = "inspection"
_CONTENT = "inspection.json"


def inspected(runs: ReportedRuns, chosen: Sequence[Path] = ()) -> list[int]:
    """Places of the runs whose frames are shown: those that were chosen, else the first of each system.

    Raises:
        InputError: a run that was chosen is not among the runs, or has left nothing to look at.
    """
    known = {place: Path(runs.rows[place]["folder"]) for place in runs.completed}
    able = [place for place, folder in known.items() if (folder / FOLDER / _CONTENT).is_file()]
    if not chosen:
        firsts: dict[str, int] = {}
        for place in able:
            firsts.setdefault(runs.system_of(runs.rows[place]), place)
        return list(firsts.values())
    places = []
    for folder in chosen:
        found = [place for place, one in known.items() if one.resolve() == folder.resolve()]
        if not found:
            raise InputError(f"frames_of: expected completed runs of this report, found {folder}")
        if found[0] not in able:
            raise InputError(f"frames_of: expected a run with inspect=true, found {folder}")
        places.append(found[0])
    return places


def packed_inspections(runs: ReportedRuns, places: Iterable[int]) -> dict[str, Any]:
    """The blocks that a page carries: ``inspection-RUN`` of each run, and ``pictures`` of all together.

    Pictures of the same content, of systems that saw the same video, are carried once, by their digest.
    """
    pictures: dict[str, str] = {}
    blocks: dict[str, Any] = {}
    for place in places:
        folder = Path(runs.rows[place]["folder"]) / FOLDER
        content = json.loads((folder / _CONTENT).read_text(encoding="utf-8"))
        for frame in content["frames"]:
            data = (folder / frame["picture"]).read_bytes()
            digest = hashlib.sha256(data).hexdigest()[:16]
            pictures[digest] = base64.b64encode(data).decode("ascii")
            frame["picture"] = digest
        arrays = {}
        for name in ("blocks.npz", "results.npz"):
            if (folder / name).is_file():
                with np.load(folder / name) as file:
                    arrays.update({key: _packed(file[key]) for key in file.files})
        text = json.dumps({**content, "arrays": arrays}, separators=(",", ":"))
        blocks[f"inspection-{place}"] = {"data": deflated(text.encode("utf-8"))}
    return {**blocks, "pictures": pictures} if blocks else {}


def _packed(array: np.ndarray[Any, Any]) -> dict[str, Any]:
    """An array as its shape, its kind and its bytes; vectors that fit one byte take one."""
    if array.dtype == np.int16 and np.abs(array.astype(np.int32)).max(initial=0) < 128:
        array = array.astype(np.int8)
    if array.dtype == np.bool_:
        array = array.astype(np.uint8)
    little = np.ascontiguousarray(array.astype(array.dtype.newbyteorder("<")))
    return {"shape": list(array.shape), "kind": array.dtype.name, "data": deflated(little.tobytes())}


def link_rates(folder: Path, until_s: float) -> list[list[float]] | None:
    """The uplink's rate over time, (second, bit/s), of a run that has recorded it; None of others."""
    path = folder / FOLDER / "link.csv"
    if not path.is_file():
        return None
    with path.open(encoding="utf-8", newline="") as file:
        rows = [(float(row["time_s"]), float(row["rate_bps"])) for row in csv.DictReader(file)]
    return [[time_s, rate_bps] for time_s, rate_bps in rows if time_s <= until_s] or None
