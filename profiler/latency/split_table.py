"""Where a network can be cut between edge and cloud, and what crosses the link there; no device involved.

A cut lies after a top-level layer. Everything computed before it and read behind it must be sent: in a
network with skip connections that is more than the layer's own output, and a tensor that several layers
read is counted once. Tables are files, ``conf/model/split/<model>.yaml``.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import yaml

from conf.search_path import group_folders, package_folder
from profiler.latency.yaml_section import YamlSection
from traces.errors import InputError

SPLIT_FOLDER = package_folder() / "model" / "split"  # those that come with the package


@dataclass(frozen=True, slots=True)
class Cut:
    """One place to cut: ``arithmetic_share`` of the multiplications lies before it."""

    after: str  # layer name, or "input"
    tensors: int  # that cross the link
    elements: int  # in all of them together
    arithmetic_share: float


@dataclass(frozen=True, slots=True)
class SplitTable:
    """The cuts of a network, from its input (nothing on the edge) to its output (everything)."""

    model: str
    resolution_px: tuple[int, int]  # height, width
    multiplications: int
    cuts: tuple[Cut, ...]


def load_split_table(model: str, directories: Iterable[Path | str] | None = None) -> SplitTable:
    """Read a model's split table from the first of ``directories`` that has one; None: of the search path.

    Raises:
        InputError: there is none (those that exist are named), or the file is not a valid table.
    """
    folders = tuple(map(Path, group_folders("model/split") if directories is None else directories))
    for folder in folders:
        if (path := folder / f"{model}.yaml").is_file():
            table = _read(path)
            if table.model != model:
                raise InputError(f"{path}: model: expected {model!r} (from the path), found {table.model!r}")
            return table
    names = sorted(path.stem for folder in folders for path in folder.glob("*.yaml"))
    near = difflib.get_close_matches(model, names, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    raise InputError(f"model: no split table of {model!r}: expected one of {names}{hint}")


def _read(path: Path) -> SplitTable:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError(f"{path}: expected YAML, found {' '.join(str(error).split())}") from error
    keys = YamlSection(str(path), "", content)
    keys.only(("model", "resolution_px", "provenance", "multiplications", "cuts"))
    cuts = []
    for entry in keys.sections("cuts"):
        entry.only(Cut.__dataclass_fields__)
        share = entry.number("arithmetic_share", maximum=1.0)
        cuts.append(
            Cut(entry.text("after"), entry.whole("tensors", minimum=1), entry.whole("elements"), share)
        )
    shares = [cut.arithmetic_share for cut in cuts]
    if shares[0] != 0 or shares[-1] != 1 or any(b < a for a, b in pairwise(shares)):
        raise keys.error("cuts", "arithmetic_share to rise from 0 to 1", shares)
    height_width = keys.resolution("resolution_px")
    return SplitTable(keys.text("model"), height_width, keys.whole("multiplications"), tuple(cuts))
