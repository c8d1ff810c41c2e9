"""``report``: one page over any runs and sweeps, which opens in a browser without a network."""

from __future__ import annotations

import argparse
from pathlib import Path

from analysis.commands.command import Command
from analysis.results import write_whole
from traces.errors import InputError

_OUT = "report.html"


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "words",
        nargs="+",
        metavar="FOLDER",
        help=f"runs and sweeps; out=FILE: the page, {_OUT} by default; frames_of=RUN,RUN: runs with "
        "inspect=true whose frames can be looked at, by default one a system",
    )


def _run(chosen: argparse.Namespace) -> None:
    from analysis.report.content import report_content
    from analysis.report.page import page
    from analysis.report.runs import read_runs

    given = {"out": _OUT, "frames_of": ""}
    folders = []
    for word in chosen.words:
        key, found, value = word.partition("=")
        if found and key in given:
            given[key] = value
        else:
            folders.append(Path(word))
    out = Path(given["out"])
    if not folders:
        raise InputError("report: expected runs or sweeps, found none")
    if out.suffix.lower() not in (".html", ".htm") or out.is_dir():
        raise InputError(f"out: expected a file that ends in .html, found {str(out)!r}")
    frames_of = [Path(name) for name in given["frames_of"].split(",") if name]
    text = page(*report_content(read_runs(folders), folders, frames_of)).encode("utf-8")
    out.parent.mkdir(parents=True, exist_ok=True)
    write_whole(out, lambda part: part.write_bytes(text))
    print(f"written to {out}: {1e-6 * len(text):.1f} MB, opens in any browser")


COMMAND = Command("one page for a browser, over any runs and sweeps", _arguments, _run)
