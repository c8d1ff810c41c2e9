"""What a system bears: the last setting that is met is found, and of how many networks that holds."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.__main__ import main
from analysis.capacity.bisection import hardest, needed, not_monotone, share_reached
from analysis.capacity.question import parse
from analysis.capacity.trials import meets
from traces.errors import InputError

ASKED = ("find=cameras", "system=edge_only", "p99_s=0.3", "min_accuracy=0.9", "out=x")


@given(st.integers(1, 300), st.integers(0, 300))
def test_the_search_finds_the_last_that_is_met(count: int, met: int) -> None:
    """Against the definition, in about twice as many trials as a logarithm has digits."""
    asked: list[int] = []

    def meets_it(place: int) -> bool:
        asked.append(place)
        return place < met

    assert hardest(count, meets_it) == (None if met == 0 else min(met, count) - 1)
    assert len(asked) == len(set(asked)) <= 2 * math.ceil(math.log2(count + 1)) + 1
    assert max(asked) < count


@given(st.integers(1, 40), st.floats(0.01, 1.0))
def test_so_many_are_needed_as_make_the_share(replicates: int, share: float) -> None:
    need = needed(replicates, share)
    assert 1 <= need <= replicates
    assert need / replicates >= share - 1e-6
    assert need == 1 or (need - 1) / replicates < share


def test_all_of_fourteen_reach_four_fifths() -> None:
    """0.8^14 < 5 %: the smallest number of replicates that shows it for four networks in five."""
    assert share_reached(14, 14) == pytest.approx(0.05 ** (1 / 14))
    assert share_reached(13, 13) < 0.8 < share_reached(14, 14)
    assert share_reached(8, 8) == pytest.approx(0.688, abs=1e-3)


@pytest.mark.parametrize(("replicates", "need"), [(4, 4), (8, 8), (8, 6), (20, 15)])
def test_the_statement_holds_in_95_of_100_searches(replicates: int, need: int) -> None:
    """Each network has its own hardest setting; the search finds the need-th largest of those it has seen."""
    rng = np.random.default_rng(replicates + need)
    own = rng.random((20_000, replicates))  # uniform, so that 1 − h is the share of networks that bear h
    found = np.sort(own, axis=1)[:, replicates - need]
    holds = float(np.mean(1.0 - found >= share_reached(replicates, need)))
    assert holds == pytest.approx(0.95, abs=0.006)  # four standard errors of 20,000 searches


def test_replicates_that_are_not_monotone_are_counted() -> None:
    assert not_monotone([(True, True), (True, False), (False, False)]) == 0
    assert not_monotone([(True, False), (False, True), (True, False)]) == 2


def test_a_run_is_judged_by_all_that_is_required() -> None:
    question = parse(ASKED)
    row = {"latency_p99_s": 0.3, "accuracy_mean": 0.9, "frames_completed": 90, "frames_captured": 100}
    assert meets(question, row)
    assert not meets(question, {**row, "latency_p99_s": 0.301})
    assert not meets(question, {**row, "accuracy_mean": 0.89})
    assert not meets(question, {**row, "frames_completed": 89})
    assert not meets(question, {**row, "latency_p99_s": None, "accuracy_mean": None, "frames_completed": 0})
    assert meets(parse([*ASKED, "min_answered=0"]), {**row, "frames_completed": 1})


def test_settings_go_from_easy_to_hard() -> None:
    assert parse([*ASKED, "to=4"]).values() == [1, 2, 3, 4]
    bandwidth = parse([*ASKED[1:], "find=bandwidth", "from=10", "to=5"]).values()
    assert bandwidth[0] == 10
    assert bandwidth[-1] >= 5
    assert np.allclose(np.array(bandwidth[:-1]) / bandwidth[1:], 1.05, rtol=1e-3)
    slowdown = parse([*ASKED[1:], "find=edge"]).values()
    assert slowdown[0] == 1
    assert 28 < slowdown[-1] <= 30


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (ASKED[1:], "capacity: expected find=…, found none"),
        (ASKED[:-1], "capacity: expected out=…"),
        ([*ASKED[1:], "find=joy"], "find: expected one of cameras, bandwidth, edge, found 'joy'"),
        ([*ASKED, "find=edge"], "find: expected once"),
        ([*ASKED, "cameras=3"], "cameras=3: expected cameras to be what is searched for"),
        ([*ASKED, "from=9", "to=3"], "from, to: expected from= below to="),
        ([*ASKED, "from=1.5"], "from: expected a whole number"),
        ([*ASKED, "share=1.5"], "share: expected a number above 0 and at most 1, found '1.5'"),
        ([*ASKED, "replicates=1"], "replicates: expected a whole number above 1"),
        ([*ASKED[:2], "p99_s=soon", *ASKED[3:]], "p99_s: expected a number above 0, found 'soon'"),
    ],
)
def test_a_question_that_cannot_be_is_refused(arguments: list[str], expected: str) -> None:
    with pytest.raises(InputError) as raised:
        parse(arguments)
    assert str(raised.value).startswith(expected)


def test_a_search_by_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A board for each camera bears any number of them, and no shorter latency than its own."""
    out = tmp_path / "search"
    same = ["video=statistical", "frames=8", "replicates=2", "min_answered=0", "min_accuracy=0.9"]
    asked = ["capacity", "find=cameras", "system=edge_only", "p99_s=0.5", "to=2", *same, f"out={out}"]
    main(asked)
    first = capsys.readouterr().out
    assert "edge_only, cameras=2: 2 of 2" in first
    assert "≥ 2    2 of 2" in first
    with (out / "capacity.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["cameras"], row["replicates_met"], row["is_capacity"]) for row in rows] == [
        ("1.0", "2", "False"),
        ("2.0", "2", "True"),
    ]
    assert (out / "capacity.png").read_bytes().startswith(b"\x89PNG")
    assert "≥ 2" in (out / "capacity.txt").read_text()

    with pytest.raises(SystemExit):
        main(asked)
    assert "expected a file that is not there yet" in capsys.readouterr().err
    before = {path: path.stat().st_mtime_ns for path in out.glob("*/*/*/summary.json")}
    assert len(before) == 4
    main([*asked, "overwrite=true"])
    assert capsys.readouterr().out == first
    assert {path: path.stat().st_mtime_ns for path in before} == before  # what was run is not run again

    with pytest.raises(SystemExit):
        main([*asked, "overwrite=true", "fps=10"])
    assert "take another out=" in capsys.readouterr().err
    main([*asked[:3], "p99_s=0.05", *asked[4:], "overwrite=true"])  # the same runs, judged otherwise
    assert "edge_only          none" in capsys.readouterr().out


def test_what_the_simulator_refuses_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["capacity", *ASKED[:-1], f"out={tmp_path / 'x'}", "frames=-3", "video=statistical"])
    (line,) = capsys.readouterr().err.splitlines()
    assert "frames" in line
