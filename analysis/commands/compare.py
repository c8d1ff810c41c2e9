"""``compare``: the runs of two folders, or of two values of a key of one sweep, pair by pair."""

from __future__ import annotations

import argparse
from pathlib import Path

from analysis.commands.command import Command
from analysis.results import check_unused, write_whole
from traces.errors import InputError


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folders", nargs="+", type=Path, help="two runs or sweeps; one sweep with --by")
    parser.add_argument("--by", nargs=3, metavar=("KEY", "A", "B"), help="a key that was swept, two values")
    parser.add_argument("--out", type=Path, default=Path("compare.csv"), help="default: compare.csv")
    parser.add_argument("--overwrite", action="store_true", help="the file, where there is one")


def _run(chosen: argparse.Namespace) -> None:
    from analysis.comparison.compare import compare, comparison_table, comparison_text
    from analysis.comparison.pairing import differing, pair_up, read_side

    folders: list[Path] = chosen.folders
    by: list[str] | None = chosen.by
    out: Path = chosen.out
    typed = [str(one) for one in folders if "=" in str(one) and not one.exists()]
    if typed:
        raise InputError(f"compare: expected folders, --by KEY A B and --out FILE, found {typed[0]!r}")
    if len(folders) != (1 if by else 2):
        wanted = "one sweep with --by KEY A B" if by else "two folders, or one with --by KEY A B"
        raise InputError(f"compare: expected {wanted}, found {len(folders)}")
    if by:
        key, *values = by
        sides = [read_side(folders[0], key, value) for value in values]
    else:
        sides = [read_side(folder) for folder in folders]
    check_unused(out, chosen.overwrite, "--out writes another, --overwrite")
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


COMMAND = Command("two systems on the same realisations, pair by pair", _arguments, _run)
