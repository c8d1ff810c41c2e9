"""What cannot be drawn is said in one line, with what there is; nothing is overwritten unasked."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
import yaml

from analysis.__main__ import main
from tests.strategies.figures import SWEEP, X, copied


def refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """The one line with which a command ends."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    return line


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (
            ["x=payload.codec", "y=ea_mean"],
            "payload.codec: expected a key that was swept (system, scheduler.lambda",
        ),
        (["x=cameras_", "y=ea_mean"], "cameras_: expected a key that was swept"),
        ([X, "y=ea_mea"], "ea_mea: expected a column of summaries with numbers (near: ea_mean"),
        ([X, "y=trace"], "trace: expected a column of summaries with numbers"),
        (["kind=cdf", "y=latncy_s", "where=scheduler.lambda_per_s=1"], "(near: latency_s)"),
        (["kind=cdf", "y=outcome", "where=scheduler.lambda_per_s=1"], "outcome: expected a column of frames"),
        ([X], "y: expected one column"),
        (["y=ea_mean"], "lines: expected x=KEY"),
        (["kind=bars", "y=ea_mean"], "scheduler.lambda_per_s is not the same within a point (1, 16)"),
        ([X, "y=ea_mean", "by="], "system is not the same within a point"),
        (
            [X, "y=ea_mean", "where=system=nobody"],
            "where=system=nobody: expected values that runs have",
        ),
        ([X, "y=ea_mean", "where=system"], "where: expected where=KEY=VALUE"),
        ([X, "y=ea_mean", "colour=red"], "plot: expected one of kind, x, y"),
        ([X, "y=ea_mean", "y=accuracy_mean"], "y: expected once"),
        ([X, "y=ea_mean", "kind=pie"], "kind: expected one of lines, bars"),
        ([X, "y=ea_mean", "width=poster"], "width: expected one of column, text, slide"),
        ([X, "y=ea_mean", "by=a,b,c"], "by: expected two keys at most"),
        (["kind=series"], "series: expected one run, found 12"),
        (
            [
                "kind=series",
                "camera=7",
                "where=system=fluxshard_ea",
                "where=replicate=0",
                "where=scheduler.lambda_per_s=1",
            ],
            "camera=7",
        ),
        ([X, "y=ea_mean", "z=ea_mean"], "lines: expected some of kind, width, x, y, by"),
        (["kind=cdf", "x=system"], "cdf: expected some of kind, width, y, by"),
        ([X, "y=ea_mean", "camera=1"], "found camera=1"),
        (
            ["x=system", "y=ea_mean", "over=scheduler.lambda_per_s", "xscale=log"],
            "xscale=log: expected numbers",
        ),
        (["kind=heat", X, "y=system"], "heat: expected x=KEY y=KEY z=COLUMN"),
        (
            ["kind=bars", "y=latency_p99_s", "over=scheduler.lambda_per_s"],
            "expected a mean where it is averaged",
        ),
    ],
)
def test_one_line_says_what_there_is(
    arguments: list[str], expected: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert expected in refused(["plot", str(SWEEP), *arguments, f"out={tmp_path / 'x.svg'}"], capsys)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("out", ["figure.jpg", "figure", "nowhere/figure.pdf"])
def test_a_file_that_cannot_be_written_is_refused(
    out: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "expected" in refused(["plot", str(SWEEP), X, "y=ea_mean", f"out={tmp_path / out}"], capsys)
    assert list(tmp_path.iterdir()) == []


def test_no_out_and_no_folder(capsys: pytest.CaptureFixture[str]) -> None:
    assert "expected out=FILE that ends in one of .pdf, .svg, .png" in refused(
        ["plot", str(SWEEP), X, "y=ea_mean"], capsys
    )
    assert "expected folders of runs or sweeps" in refused(["plot", X, "y=ea_mean", "out=x.svg"], capsys)


@pytest.mark.parametrize("there", ["figure.svg", "figure.csv"])
def test_nothing_is_overwritten_unasked(
    there: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "figure.svg"
    (tmp_path / there).write_text("mine")
    asked = ["plot", str(SWEEP), X, "y=ea_mean", f"out={target}"]
    assert refused(asked, capsys).endswith("overwrite=true replaces it")
    assert (tmp_path / there).read_text() == "mine"
    main([*asked, "overwrite=true"])
    assert (tmp_path / there).read_text() != "mine"


def test_the_other_commands_keep_the_same_rule(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "there.png"
    target.write_text("mine")
    runs = [str(SWEEP / "0"), str(SWEEP / "6")]
    for asked in (
        ["show", str(SWEEP), "--picture", str(target)],
        ["frontier", str(SWEEP), "--picture", str(target)],
        ["compare", *runs, "--out", str(target)],
        ["table", str(SWEEP), X, "y=ea_mean", f"out={tmp_path / 'there.md'}"],
    ):
        (tmp_path / "there.md").write_text("mine")
        assert "expected a file that is not there yet" in refused(asked, capsys)
        assert target.read_text() == "mine"
    main(["show", str(SWEEP / "0"), "--picture", str(target), "--overwrite"])
    assert target.read_bytes().startswith(b"\x89PNG")


def test_accuracies_by_different_rulers_are_not_drawn_together(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = copied(tmp_path / "sweep", 12)
    path = folder / "0" / "summary.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "accuracy_ruler": "measured"}))
    asked = ["plot", str(folder), X, f"out={tmp_path / 'x.svg'}"]
    assert "expected accuracies by one ruler" in refused([*asked, "y=ea_mean"], capsys)
    main([*asked, "y=latency_mean_s"])


def test_runs_that_failed_are_left_out_and_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = copied(tmp_path / "sweep", 12)
    path = folder / "11" / "summary.json"
    path.write_text(json.dumps({"status": "failed", "error": "InputError: no", "system": "full_offload"}))
    main(["plot", str(folder), X, "y=latency_mean_s", f"out={tmp_path / 'x.svg'}"])
    assert "1 runs without a result are left out" in capsys.readouterr().out


def test_a_system_without_the_key_along_x_is_left_out_and_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In a sweep an option that a system does not have is skipped for it."""
    folder = copied(tmp_path / "sweep", 12)
    for number in range(12):
        path = folder / str(number) / ".hydra" / "overrides.yaml"
        given = yaml.safe_load(path.read_text())
        path.write_text(
            yaml.safe_dump([one for one in given if number < 6 or not one.startswith("scheduler")])
        )
    asked = ["plot", str(folder), X, f"out={tmp_path / 'x.svg'}", "y=latency_mean_s"]
    main(asked)
    assert "not drawn, has no scheduler.lambda_per_s: full_offload" in capsys.readouterr().out
    with (tmp_path / "x.csv").open() as file:
        assert {row["system"] for row in csv.DictReader(file)} == {"fluxshard_ea"}
