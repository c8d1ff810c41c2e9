"""The command ``python -m analysis``: look at what runs have left.

    python -m analysis show FOLDER [FOLDER ...] [--picture FILE]
    python -m analysis compare A B [--out FILE]
    python -m analysis compare MULTIRUN --by system A B
    python -m analysis frontier FOLDER [FOLDER ...] [--picture FILE]
    python -m analysis ablation MULTIRUN
    python -m analysis faults MULTIRUN
    python -m analysis scaling MULTIRUN [--picture FILE]
    python -m analysis merge MULTIRUN
    python -m analysis readme MULTIRUN [--table NAME]

``show`` prints the table of runs (or of all jobs of a multirun), failed and unfinished ones included, and
draws the picture of the others where one is asked for. ``compare`` pairs the runs of two folders, or of two
systems (or values of another key) of one sweep, that met the same network and video, says which is better and
writes compare.csv. ``frontier`` takes each system's settings as points of accuracy against latency and bytes,
averaged over videos and replicates. ``ablation`` says what each part that a sweep leaves out is worth in
each regime, ``faults`` what each fault costs each system, ``scaling`` what more cameras do to them.
``merge`` collects a multirun's jobs anew into results.parquet and results.csv. ``readme`` takes the results
of the main job (or, with --table, of the experiment of that name) into tests/golden/tables/ and from there
into its page.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import NoReturn

from analysis.ablation import ablation_table, effects, faults_table
from analysis.pages import TABLES, update_page
from analysis.pictures import check_format, draw_runs
from analysis.replicates import pooled_rows
from analysis.results import merge_results, run_rows, write_whole
from analysis.scaling import draw_scaling, scaling_lines, scaling_table
from analysis.tables import summary_table
from traces.errors import InputError


def main(arguments: list[str] | None = None) -> None:
    """Entry point; bad input ends with exit code 2 and one line."""
    parser = argparse.ArgumentParser(prog="python -m analysis", description=__doc__.split("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    show = commands.add_parser("show", help="print the table of runs and draw their picture")
    show.add_argument("folders", nargs="+", type=Path)
    show.add_argument("--picture", type=Path, help="also draw them: .png, .pdf, .svg, …")
    against = commands.add_parser("compare", help="two systems on the same realisations, pair by pair")
    against.add_argument("folders", nargs="+", type=Path, help="two runs or sweeps; one sweep with --by")
    against.add_argument("--by", nargs=3, metavar=("KEY", "A", "B"), help="a key that was swept, two values")
    against.add_argument("--out", type=Path, default=Path("compare.csv"), help="default: compare.csv")
    frontier = commands.add_parser("frontier", help="what each system trades: accuracy, latency, bytes")
    frontier.add_argument("folders", nargs="+", type=Path)
    frontier.add_argument("--picture", type=Path, help="also draw it: .png, .pdf, .svg, …")
    ablation = commands.add_parser("ablation", help="what each part that was left out is worth")
    ablation.add_argument("folder", type=Path)
    faults = commands.add_parser("faults", help="what each fault costs each system")
    faults.add_argument("folder", type=Path)
    scaling = commands.add_parser("scaling", help="systems against the number of cameras")
    scaling.add_argument("folder", type=Path)
    scaling.add_argument("--picture", type=Path, help="also draw it: .png, .pdf, .svg, …")
    merge = commands.add_parser("merge", help="collect a multirun's jobs")
    merge.add_argument("folder", type=Path)
    readme = commands.add_parser("readme", help="update a table of a page")
    readme.add_argument("folder", type=Path)
    readme.add_argument("--table", choices=list(TABLES), default="quickstart")
    chosen = parser.parse_args(arguments)
    try:
        if chosen.command == "show":
            _show(chosen.folders, chosen.picture)
        elif chosen.command == "compare":
            _compare(chosen.folders, chosen.by, chosen.out)
        elif chosen.command == "frontier":
            _frontier(chosen.folders, chosen.picture)
        elif chosen.command == "ablation":
            print(ablation_table(effects(run_rows(chosen.folder))))
        elif chosen.command == "faults":
            print(faults_table(run_rows(chosen.folder)))
        elif chosen.command == "scaling":
            _scaling(chosen.folder, chosen.picture)
        elif chosen.command == "merge":
            merge_results(chosen.folder)
            print(summary_table(pooled_rows(run_rows(chosen.folder), chosen.folder)))
            pooled = ", pooled.csv" if (chosen.folder / "pooled.csv").is_file() else ""
            print(f"written to {chosen.folder}: results.parquet, results.csv{pooled}")
        else:
            update_page(chosen.table, chosen.folder)
    except (InputError, OSError, ValueError) as error:
        _end(str(error))


def _scaling(folder: Path, picture: Path | None) -> None:
    if picture is not None:
        check_format(picture)
    lines = scaling_lines(folder)
    print(scaling_table(lines))
    if picture is not None:
        draw_scaling(lines, picture)
        print(f"written to {picture}")


def _show(folders: list[Path], picture: Path | None) -> None:
    if picture is not None:
        check_format(picture)
    rows = {
        (folder / row["folder"]).resolve(): {**row, "folder": str(folder / row["folder"])}
        for folder in folders
        for row in run_rows(folder)
    }
    print(summary_table(pooled_rows(list(rows.values()))))
    if picture is None:
        return
    completed = [Path(row["folder"]) for row in rows.values() if row["status"] == "completed"]
    if not completed:
        raise FileNotFoundError("--picture: expected completed runs, found none")
    draw_runs(completed, picture)
    print(f"written to {picture}")


def _compare(folders: list[Path], by: list[str] | None, out: Path) -> None:
    from analysis.compare import compare, comparison_table, comparison_text
    from analysis.pairing import differing, pair_up, read_side

    if len(folders) != (1 if by else 2):
        wanted = "one sweep with --by KEY A B" if by else "two folders, or one with --by KEY A B"
        raise InputError(f"compare: expected {wanted}, found {len(folders)}")
    if by:
        key, *values = by
        sides = [read_side(folders[0], key, value) for value in values]
    else:
        sides = [read_side(folder) for folder in folders]
    names = sides[0].name, sides[1].name
    if names[0] == names[1]:
        names = str(folders[0]), str(folders[1])
    paired = pair_up(*sides)
    found = compare(paired)
    print(f"{names[0]} against {names[1]}")
    for key, one, other in differing(paired, *sides):
        print(f"  not the same: {key} = {one} against {other}")
    print(comparison_text(found, names))
    write_whole(out, lambda part: comparison_table(found, names).to_csv(part, index=False))
    print(f"written to {out}")


def _frontier(folders: list[Path], picture: Path | None) -> None:
    from analysis.frontier import draw_frontier, frontier_table, points

    if picture is None:
        print(frontier_table(points(folders)))
        return
    check_format(picture)
    print(frontier_table(draw_frontier(folders, picture)))
    print(f"written to {picture}")


def _end(message: str) -> NoReturn:
    print(f"error: {message}", file=sys.stderr)
    raise SystemExit(2)


if __name__ == "__main__":
    main()
