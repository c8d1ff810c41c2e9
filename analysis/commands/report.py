"""``report``: one page over any runs and sweeps, which opens in a browser without a network."""

from __future__ import annotations

import argparse
from pathlib import Path

from analysis.commands.command import Command
from analysis.results import write_whole
from traces.errors import InputError

_OUT = "report.html"


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folders", nargs="+", metavar="FOLDER", help="runs and sweeps")
    parser.add_argument("--out", type=Path, help=f"the page; out=FILE is the same; default: {_OUT}")


def _run(chosen: argparse.Namespace) -> None:
    from analysis.report.content import report_content
    from analysis.report.page import page
    from analysis.report.runs import read_runs

    given = [word for word in chosen.folders if word.startswith("out=")]
    folders = [Path(word) for word in chosen.folders if word not in given]
    out = chosen.out or Path(given[-1].partition("=")[2] if given else _OUT)
    if not folders:
        raise InputError("report: expected runs or sweeps, found none")
    if out.suffix.lower() not in (".html", ".htm") or out.is_dir():
        raise InputError(f"out: expected a file that ends in .html, found {str(out)!r}")
    text = page(*report_content(read_runs(folders), folders)).encode("utf-8")
    out.parent.mkdir(parents=True, exist_ok=True)
    write_whole(out, lambda part: part.write_bytes(text))
    print(f"written to {out}: {1e-6 * len(text):.1f} MB, opens in any browser")


COMMAND = Command("one page for a browser, over any runs and sweeps", _arguments, _run)
