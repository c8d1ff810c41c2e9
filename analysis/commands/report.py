"""``report``: one page over any runs and sweeps, which opens in a browser without a network."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from analysis.commands.command import Command
from analysis.results import check_unused, write_whole
from analysis.settings import folders_and_options
from traces.errors import InputError

_DEFAULTS = {"out": "report.html", "frames_of": "", "overwrite": "false"}


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "words",
        nargs="+",
        metavar="FOLDER",
        help=f"runs and sweeps; out=FILE: the page, {_DEFAULTS['out']} by default; overwrite=true "
        "replaces one; frames_of=RUN,RUN: runs with inspect=true whose frames can be looked at, by default "
        "one a system",
    )


def _run(chosen: argparse.Namespace) -> None:
    from analysis.report.content import report_content
    from analysis.report.page import page
    from analysis.report.runs import read_runs

    folders, given = _parsed(chosen.words)
    out = Path(given["out"])
    if out.suffix.lower() not in (".html", ".htm"):
        raise InputError(f"out: expected a file that ends in .html, found {str(out)!r}")
    check_unused(out, given["overwrite"] == "true", "overwrite=true")
    frames_of = [Path(name) for name in given["frames_of"].split(",") if name]
    text = page(*report_content(read_runs(folders), folders, frames_of)).encode("utf-8")
    write_whole(out, lambda part: part.write_bytes(text))
    print(f"written to {out}: {1e-6 * len(text):.1f} MB, opens in any browser")


def _parsed(words: Sequence[str]) -> tuple[list[Path], dict[str, str]]:
    """Folders, and options of the form KEY=VALUE with their defaults.

    Raises:
        InputError: an unknown option, one given twice, a wrong value, or no folder.
    """
    folders, given, _ = folders_and_options(words, "report", _DEFAULTS)
    if given.get("overwrite", "false") not in ("true", "false"):
        raise InputError(f"overwrite: expected true or false, found {given['overwrite']!r}")
    return folders, {**_DEFAULTS, **given}


COMMAND = Command("one page for a browser, over any runs and sweeps", _arguments, _run)
