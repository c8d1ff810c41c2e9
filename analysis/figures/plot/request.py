"""What is asked for: ``SWEEP… x=KEY y=COLUMN by=system out=FILE``, taken apart and checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from analysis.settings import folders_and_options
from traces.errors import InputError

KINDS = ("lines", "bars", "cdf", "pareto", "heat", "composition", "series")
SCALES = ("auto", "linear", "log")
FORMATS = (".pdf", ".svg", ".png")
#: Inches: of a column and of both columns of the ACM's, the IEEE's and USENIX's templates (3.33 and 3.5, 7.0
#: and 7.16 inches wide, the smaller fitting all), and of a slide of 13.3 by 7.5 inches with a margin.
WIDTHS = {"column": 3.33, "text": 7.0, "slide": 12.0}
_ALWAYS = ("where", "out", "overwrite")
#: What each kind of figure, and a table, has a use for beside.
TAKES = {
    "lines": ("kind", "width", "x", "y", "by", "facet", "over", "xscale", "yscale"),
    "bars": ("kind", "width", "x", "y", "by", "facet", "over", "yscale"),
    "cdf": ("kind", "width", "y", "by", "facet", "over", "xscale"),
    "pareto": ("kind", "width", "x", "y", "by", "facet", "over", "xscale", "yscale"),
    "heat": ("kind", "width", "x", "y", "z", "facet", "over"),
    "composition": ("kind", "width", "x", "by", "facet", "over"),
    "series": ("kind", "width", "camera"),
    "table": ("x", "y", "by", "over"),
}
_LISTS = ("by", "over", "y", "where")


@dataclass(frozen=True, slots=True)
class PlotRequest:
    """A figure or table that somebody asks for.

    Args:
        folders: runs and sweeps.
        kind: one of :data:`KINDS`.
        x, y, z: keys that were swept, columns of summaries or (cdf) of frames, as the kind wants them; of `y`
            only tables take several.
        by: keys whose values are the lines, bars, curves or rows; two at most.
        facet: a key with a panel for each value.
        over: keys whose values a point is the mean over, as the videos of one data set.
        where: keys with the values that are kept.
        camera: whose time series.
        out: the file to write.
        width: one of :data:`WIDTHS`.
        xscale, yscale: one of :data:`SCALES`.
        overwrite: whether a file that exists may be replaced.
    """

    folders: tuple[Path, ...]
    kind: str = "lines"
    x: str | None = None
    y: tuple[str, ...] = ()
    z: str | None = None
    by: tuple[str, ...] = ("system",)
    facet: str | None = None
    over: tuple[str, ...] = ()
    where: Mapping[str, tuple[str, ...]] | None = None
    camera: int = 0
    out: Path | None = None
    width: str = "column"
    xscale: str = "auto"
    yscale: str = "linear"
    overwrite: bool = False

    def only_y(self) -> str:
        """The one quantity that is drawn.

        Raises:
            InputError: none, or several.
        """
        if len(self.y) != 1:
            raise InputError(
                f"y: expected one column, as y=latency_mean_s, found {','.join(self.y) or 'none'}"
            )
        return self.y[0]


def parse(arguments: Sequence[str], command: str) -> PlotRequest:
    """A request from a command's arguments: folders, and ``key=value`` for everything else.

    An argument that is a folder is one, whatever signs it has in it.

    Args:
        arguments: as typed.
        command: for messages.

    Raises:
        InputError: an option or a value that there is not, one given twice or that the kind has no use for,
            or no folder.
    """
    known = [field.name for field in fields(PlotRequest) if field.name != "folders"]
    folders, given, conditions = folders_and_options(arguments, command, known, repeated="where")
    where: dict[str, tuple[str, ...]] = {}
    for condition in conditions:
        key, equals, values = condition.partition("=")
        if not equals or not key:
            raise InputError(f"where: expected where=KEY=VALUE[,VALUE…], found {f'where={condition}'!r}")
        where[key] = (*where.get(key, ()), *values.split(","))
    choices = {"kind": KINDS, "width": WIDTHS, "xscale": SCALES, "yscale": SCALES}
    for name, allowed in choices.items():
        if name in given and given[name] not in allowed:
            raise InputError(f"{name}: expected one of {', '.join(allowed)}, found {given[name]!r}")
    what = command if command in TAKES else given.get("kind", "lines")
    for name in given:
        if name not in (*TAKES[what], *_ALWAYS):
            raise InputError(
                f"{what}: expected some of {', '.join((*TAKES[what], *_ALWAYS))}, found {name}={given[name]}"
            )
    lists = {name: _listed(name, given.pop(name)) for name in _LISTS if name in given}
    return PlotRequest(
        tuple(folders),
        where=where,
        camera=_whole("camera", given.pop("camera", "0")),
        overwrite=_yes("overwrite", given.pop("overwrite", "false")),
        out=Path(given.pop("out")) if "out" in given else None,
        **lists,  # type: ignore[arg-type]
        **given,  # type: ignore[arg-type]
    )


def check_out(request: PlotRequest, suffixes: Sequence[str], command: str) -> Path:
    """The file to write, once it is known that it can be.

    Raises:
        InputError: there is none, or one of another kind.
    """
    if request.out is None or request.out.suffix.lower() not in suffixes:
        raise InputError(
            f"{command}: expected out=FILE that ends in one of {', '.join(suffixes)}, found "
            f"{'none' if request.out is None else repr(str(request.out))}"
        )
    return request.out


def _listed(name: str, text: str) -> tuple[str, ...]:
    values = tuple(part for part in text.split(",") if part)
    if name == "by" and len(values) > 2:
        raise InputError(f"by: expected two keys at most, found {text}")
    return values


def _whole(name: str, text: str) -> int:
    if not text.isdecimal():
        raise InputError(f"{name}: expected a whole number, found {text!r}")
    return int(text)


def _yes(name: str, text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise InputError(f"{name}: expected true or false, found {text!r}")
    return text.lower() == "true"
