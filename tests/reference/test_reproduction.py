"""Published beside simulated numbers: what stands against what, and the arithmetic, on runs made by hand."""

from __future__ import annotations

import csv
import json
import math
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from analysis.figures.plot.request import parse
from analysis.published.numbers import FOLDER, PublishedNumber, papers, read_published
from analysis.reproduction.cells import Simulated, read_runs, simulated
from analysis.reproduction.command import Choices, default_out, read_choices, reproduce
from analysis.reproduction.drawing import draw_compared
from analysis.reproduction.experiments import Data, _run_aloud, arguments, folder_of
from analysis.reproduction.mapping import Counterpart, PaperExperiment, read_mapping
from analysis.reproduction.table import (
    COLUMNS,
    Reproduced,
    compared,
    counts_text,
    read_table,
    summary_text,
    write_table,
)
from traces.errors import InputError


def counterpart(**given):
    plain = {
        "id": "a",
        "kind": "latency",
        "experiment": "e",
        "column": "latency_mean_s",
        "where": {},
        "over": {},
    }
    return Counterpart(**{**plain, "pick": "mean", "form": "plain", "times": 1.0, "fit": None, **given})


def number(value=100.0, unit="ms", claim="measured", **given):
    plain = {"paper": "p", "id": "a", "section": "1", "item": "Table 1", "row": "r", "column": "c"}
    links = {"repeats": None, "follows_from": (), "contradicts": None, "note": "", "held_out": False}
    return PublishedNumber(
        **{**plain, **links, "printed": "1", "line": 1, "value": value, "unit": unit, "claim": claim, **given}
    )


def runs(**columns):
    return pd.DataFrame({"replicate": [0, 1] * 2, "system": ["ours", "ours", "theirs", "theirs"], **columns})


# What stands against what


@pytest.mark.parametrize("paper", papers())
def test_every_outcome_has_a_quantity_or_a_reason(paper):
    numbers = read_published(paper)
    mapping = read_mapping(paper, numbers)
    assert {one.id for one in numbers.values() if one.is_outcome} <= {
        *mapping.quantities,
        *mapping.unsimulated,
    }


@pytest.mark.parametrize("paper", papers())
def test_every_experiment_that_is_asked_exists(paper, repository):
    mapping = read_mapping(paper, read_published(paper))
    folder = repository / "conf" / "experiment" / paper
    assert [name for name in mapping.experiments if not (folder / f"{name}.yaml").is_file()] == []
    tasks = {task for one in mapping.experiments.values() for task in one.tasks if task}
    assert [task for task in tasks if not (folder / "task" / f"{task}.yaml").is_file()] == []


def test_a_table_cell_is_asked_of_its_own_system_task_and_level():
    mapping = read_mapping("fluxshard_remap", read_published("fluxshard_remap"))
    one = mapping.quantities["table3/bytes/low/detect/fluxshard"]
    assert dict(one.where) == {
        "swept.trace": ("low",),
        "model": ("yolo11m-1024",),
        "system": ("fluxshard_remap",),
    }
    assert one.times == pytest.approx(1 / 8e6)  # bit/s into MB/s


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            lambda c: c["quantities"].append({**c["quantities"][0], "ids": ["abstract/nothing"]}),
            "abstract/nothing: expected an id of a",
        ),
        (
            lambda c: c["quantities"].append(c["quantities"][0]),
            "abstract/bandwidth_saved: expected one quantity, found two",
        ),
        (lambda c: c["quantities"].pop(0), "expected a quantity or a reason for abstract/bandwidth_saved,"),
        (lambda c: c["quantities"][0].update(kind="luck"), "kind: expected one of latency, bytes, ratio,"),
        (lambda c: c["quantities"][0].update(experiment="luck"), "unknown experiment 'luck'"),
        (
            lambda c: c["explained"].append({"ids": ["nothing"], "because": "so"}),
            "nothing: expected an id of a published number, found none",
        ),
    ],
)
def test_a_mapping_that_leaves_something_out_is_refused(tmp_path, change, said):
    content = yaml.safe_load((FOLDER / "mapping.yaml").read_text(encoding="utf-8"))
    change(content["fluxshard_ea"])
    path = tmp_path / "mapping.yaml"
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    with pytest.raises(InputError, match=said):
        read_mapping("fluxshard_ea", read_published("fluxshard_ea"), path)


# The arithmetic


def test_a_value_is_the_mean_over_replicates_in_the_published_unit():
    found = simulated(
        counterpart(where={"system": ("ours",)}, times=1000.0), runs(latency_mean_s=[0.1, 0.2, 9.0, 9.0])
    )
    assert found.value == pytest.approx(150.0)
    # Student's interval of two values: the mean and 12.7 times the standard error, 50.
    assert found.high - found.value == pytest.approx(12.706 * 50.0, rel=1e-3)
    assert found.value - found.low == pytest.approx(12.706 * 50.0, rel=1e-3)


def test_a_ratio_is_that_of_the_means_with_the_interval_of_the_pairs():
    table = runs(latency_mean_s=[0.1, 0.2, 0.3, 0.8])
    found = simulated(counterpart(where={"system": ("theirs",)}, over={"system": ("ours",)}), table)
    assert found.value == pytest.approx(1.1 / 0.3)
    assert (found.low + found.high) / 2 == pytest.approx((3.0 + 4.0) / 2)


@pytest.mark.parametrize(("form", "value"), [("saved", 1 - 0.15 / 0.55), ("gain", 0.15 / 0.55 - 1)])
def test_what_is_saved_or_gained(form, value):
    table = runs(latency_mean_s=[0.1, 0.2, 0.3, 0.8])
    asked = counterpart(where={"system": ("ours",)}, over={"system": ("theirs",)}, form=form)
    assert simulated(asked, table).value == pytest.approx(value)


@pytest.mark.parametrize(("pick", "value"), [("least", 0.15), ("most", 0.55), ("mean", 0.35)])
def test_of_several_cells_one_is_picked(pick, value):
    asked = counterpart(where={"system": ("ours", "theirs")}, pick=pick)
    assert simulated(asked, runs(latency_mean_s=[0.1, 0.2, 0.3, 0.8])).value == pytest.approx(value)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"where": {"system": ("none",)}}, "a: expected runs of e with system=none, found none"),
        ({"where": {"colour": ("red",)}}, "a: e has no column 'colour'"),
        ({"column": "height"}, "a: e has no column 'height'"),
        ({}, "a: expected one run a replicate, found 4 of 2"),
    ],
)
def test_a_cell_that_is_not_there_is_refused(given, said):
    with pytest.raises(InputError, match=said):
        simulated(counterpart(**given), runs(latency_mean_s=[0.1, 0.2, 0.3, 0.8]))


def write_job(folder, frames, **summary):
    folder.mkdir(parents=True)
    (folder / ".hydra").mkdir()
    (folder / ".hydra" / "overrides.yaml").write_text("[]", encoding="utf-8")
    plain = {"status": "completed", "warmup_s": 0.5, "simulated_s": 2.5, "replicate": 0, "ea_mean": None}
    (folder / "summary.json").write_text(json.dumps({**plain, **summary}), encoding="utf-8")
    frames.to_parquet(folder / "frames.parquet")


@pytest.fixture
def sweep(tmp_path):
    """A sweep of one job whose frames' computation is a known quadratic of what was computed."""
    blocks = np.arange(10, 110, 10)
    frames = pd.DataFrame(
        {
            "captured_s": np.linspace(0.0, 0.9, 10),
            "outcome": "completed",
            "path": "cloud",
            "blocks_computed": blocks,
            "edge_compute_s": 0.0,
            # the last one, of all blocks, is dense and follows no curve
            "cloud_compute_s": np.where(blocks < 100, 2e-7 * blocks**2 + 3e-5 * blocks + 4e-3, 0.001),
            "extract_s": 0.01,
            "uplink_bytes": 1000,
            "uplink_opportunistic_bytes": 250,
        }
    )
    write_job(tmp_path / "0", frames, system="ours")
    (tmp_path / "sweep.json").write_text(
        json.dumps({"arguments": [], "cwd": ".", "jobs": [{"folder": "0", "overrides": ["system=ours"]}]}),
        encoding="utf-8",
    )
    return tmp_path


def test_bytes_are_those_after_start_up_over_the_time_after_it(sweep):
    """Five of ten frames are captured at 0.5 s or later; the run goes on until 2.5 s."""
    assert read_runs(sweep)["counted_uplink_bps"].tolist() == [pytest.approx(8 * 5 * 1250 / 2.0)]
    assert read_runs(sweep)["critical_uplink_bps"].tolist() == [pytest.approx(8 * 5 * 1000 / 2.0)]


@pytest.mark.parametrize(("power", "value"), [(2, 2e-7), (1, 3e-5), (0, 4e-3)])
def test_a_fit_finds_the_coefficients_that_frames_were_charged_by(sweep, power, value):
    asked = counterpart(column="cloud_compute_s", fit=power, where={"system": ("ours",)})
    assert simulated(asked, read_runs(sweep)).value == pytest.approx(value, rel=1e-6)


def test_a_fit_of_the_side_that_nothing_ran_on_is_refused(sweep):
    asked = counterpart(column="edge_compute_s", fit=1, where={"system": ("ours",)})
    with pytest.raises(InputError, match="expected three different k on the edge, found 0"):
        simulated(asked, read_runs(sweep))


def test_a_sweep_with_a_failed_job_is_refused(sweep):
    (sweep / "0" / "summary.json").write_text(
        json.dumps({"status": "failed", "error": "so"}), encoding="utf-8"
    )
    with pytest.raises(InputError, match="expected completed jobs, found 1 others, first: so"):
        read_runs(sweep)


# The table


@pytest.mark.parametrize(
    ("published", "value", "within"),
    [(100.0, 110.0, 10), (100.0, 90.0, 10), (100.0, 125.0, 25), (100.0, 126.0, None), (100.0, 74.0, None)],
)
def test_relative_error_and_the_limit_it_lies_within(published, value, within):
    row = Reproduced(number(published), "latency", Simulated(value, None, None), "")
    assert row.relative_error == pytest.approx(value / published - 1)
    assert row.within_percent == within
    assert row.hit is (within is not None)


@pytest.mark.parametrize(("value", "hit"), [(97.0, True), (93.1, True), (92.9, False)])
def test_an_accuracy_is_judged_in_points(value, hit):
    row = Reproduced(number(95.0, "%"), "accuracy", Simulated(value, None, None), "")
    assert row.within_percent == 10
    assert row.hit is hit


def test_what_nothing_simulated_misses_and_stays_in_with_its_reason(tmp_path):
    row = Reproduced(number(), None, None, "no board at hand")
    assert (row.relative_error, row.within_percent, row.hit) == (None, None, False)
    write_table([row], tmp_path / "r.csv")
    assert (tmp_path / "r.csv").read_text(encoding="utf-8").splitlines() == [
        "paper,item,quantity,unit,published,simulated,low,high,relative_error,within_percent,held_out,reason",
        "p,Table 1,r: c,ms,100,,,,,,false,no board at hand",
    ]


def test_a_number_that_is_stated_again_counts_once():
    first = Reproduced(number(), "latency", Simulated(101.0, None, None), "")
    again = Reproduced(number(id="b", repeats="a"), "latency", Simulated(101.0, None, None), "")
    assert [first.counts, again.counts] == [True, False]
    line = next(line for line in summary_text([first, again]).splitlines() if line.startswith("latency"))
    assert line.split() == ["latency", "no", "1", "1", "1", "1", "0", "1", "(100%)"]


@pytest.mark.parametrize("paper", papers())
def test_every_published_number_is_in_the_table(paper):
    numbers = read_published(paper)
    rows = compared(numbers, read_mapping(paper, numbers), lambda id: None)
    assert [row.number.id for row in rows] == list(numbers)
    assert all(row.reason for row in rows)


COMMITTED = {
    "reproduction": (Path("analysis/reproduction.csv"), papers()),
    "fitted reproduction": (Path("analysis/reproduction/fitted.csv"), ("fluxshard_remap",)),
}


@pytest.mark.parametrize("name", COMMITTED)
def test_a_committed_table_has_every_published_number(repository, name):
    path, chosen = COMMITTED[name]
    with (repository / path).open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        assert tuple(reader.fieldnames) == COLUMNS
        rows = list(reader)
    numbers = [one for paper in chosen for one in read_published(paper).values()]
    assert [(row["paper"], row["item"], row["quantity"], row["held_out"]) for row in rows] == [
        (one.paper, one.place, one.quantity, str(one.held_out).lower()) for one in numbers
    ]
    for row in rows:
        if row["simulated"]:
            error = float(row["simulated"]) / float(row["published"]) - 1
            assert math.isclose(error, float(row["relative_error"]), abs_tol=0.002 * max(1.0, abs(error)))
        else:
            assert row["reason"]
            assert row["relative_error"] == row["within_percent"] == ""


@pytest.mark.parametrize("name", COMMITTED)
def test_the_page_shows_what_a_committed_table_amounts_to(repository, name):
    page = (repository / "analysis" / "README.md").read_text(encoding="utf-8")
    shown = page.split(f"<!-- {name} table -->")[1].split(f"<!-- end of {name} table -->")[0]
    assert shown == f"\n```text\n{counts_text(read_table(repository / COMMITTED[name][0]))}\n```\n"


@pytest.mark.parametrize("name", COMMITTED)
def test_every_miss_of_a_committed_table_is_explained(repository, name):
    calibration = "fitted" if name.startswith("fitted") else "none"
    explained = {
        paper: read_mapping(paper, read_published(paper), calibration=calibration).explained
        for paper in papers()
    }
    missed = [one for one in read_table(repository / COMMITTED[name][0]) if one.counts and not one.hit]
    assert len(missed) > 20
    assert [one.number.id for one in missed if one.number.id not in explained[one.number.paper]] == []


@pytest.mark.parametrize("paper", ["fluxshard_remap"])
def test_an_explanation_belongs_to_its_calibration(paper):
    numbers = read_published(paper)
    plain, fitted = (read_mapping(paper, numbers, calibration=c).explained for c in ("none", "fitted"))
    assert "JPEG 85 here" in plain["table3/bytes/high/segment/coach"]
    assert "PNG frames" in fitted["table3/bytes/high/segment/coach"]
    assert plain["table2/high/segment/fluxshard"] == fitted["table2/high/segment/fluxshard"]


# The command


def test_real_data_take_the_place_of_the_bundled_scene(tmp_path):
    (tmp_path / "w").touch()
    data = Data(tmp_path, tmp_path / "w", tmp_path / "w")
    experiment = PaperExperiment("single_edge", None, ("segment", "detect"))
    assert arguments("p", experiment, Data(), "none") == ["-m", "experiment=p/single_edge"]
    told = arguments("p", experiment, data, "fitted")
    assert told[:3] == ["-m", "experiment=p/single_edge", "experiment/p/task=segment_davis,detect"]
    assert told[-1] == "experiment/p/calibration=fitted"
    assert f"experiment.davis={tmp_path}" in told
    assert folder_of(tmp_path, "p", "e", data, "none") != folder_of(tmp_path, "p", "e", Data(), "none")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("colour=red", "reproduce: expected KEY=VALUE with one of paper, figure, calibration,"),
        ("figure", "reproduce: expected KEY=VALUE with one of paper,"),
        ("run=maybe", "run: expected true or false, found 'maybe'"),
        ("processes=0", "processes: expected a whole number >= 1, found '0'"),
    ],
)
def test_a_wrong_argument_is_refused_by_name(given, said):
    with pytest.raises(InputError, match=said):
        read_choices([given])


def test_less_than_everything_does_not_replace_the_committed_table(tmp_path):
    there = Reproduced(number(), "latency", Simulated(101.0, None, None), "")
    missing = Reproduced(number(id="b"), "latency", None, "not run: e")
    assert default_out(Choices(), [there]) == Path("analysis/reproduction.csv")
    for choices, rows in (
        (Choices(), [there, missing]),
        (Choices(figure="levels"), [there]),
        (Choices(paper="fluxshard_ea"), [there]),
        (Choices(calibration="fitted"), [there]),
    ):
        assert default_out(choices, rows) == Path("multirun/reproduce/reproduction.csv")


def test_a_figure_is_found_in_the_paper_that_has_it(tmp_path):
    with pytest.raises(
        InputError, match=r"levels,.* of fluxshard_ea; .*figure3.* of fluxshard_remap, found 'x'"
    ):
        reproduce(Choices(figure="x", run=False, folder=tmp_path))
    rows, out = reproduce(Choices(figure="figure3", run=False, folder=tmp_path))
    assert {row.number.paper for row in rows} == {"fluxshard_remap"}
    assert read_rows(out) == len(rows)


def test_inputs_that_were_read_back_are_counted_apart():
    read_back = Reproduced(number(claim="profiled"), "profile", Simulated(100.0, None, None), "an input")
    said = summary_text([read_back])
    assert "not judged: 1 inputs read back from what frames were charged, 1 as printed" in said
    assert "nothing that is judged was simulated" in said
    assert "the worst" not in said


def test_jobs_are_heard_of_while_they_run_and_failures_by_their_last_line(capsys):
    code = "import sys; print('job 0: done'); print('a table'); sys.exit('error: it broke')"
    assert _run_aloud([sys.executable, "-c", code]) == (1, "it broke")
    assert capsys.readouterr().err == "  job 0: done\n"


def read_rows(path):
    return len(pd.read_csv(path))


def test_a_part_of_the_data_is_refused(tmp_path):
    with pytest.raises(InputError, match="expected all three or none of them"):
        _ = read_choices([f"davis={tmp_path}"]).data


# Pictures


@pytest.mark.parametrize("paper", papers())
def test_a_figure_is_drawn_of_what_its_experiment_sweeps(paper, tmp_path):
    """`analysis plot` takes what each is told, and keys that tell runs apart stand in the experiment."""
    mapping = read_mapping(paper, read_published(paper))
    folder = FOLDER.parents[1] / "conf" / "experiment" / paper
    for figure in mapping.figures.values():
        request = parse([str(tmp_path), *figure.plot, f"out={tmp_path / 'a.pdf'}"], "plot")
        text = (folder / f"{figure.experiment}.yaml").read_text(encoding="utf-8")
        keys = {request.x, request.facet, *request.by, *(request.where or {})} - {None, "system"}
        swept = {key for key in keys if "." in key or key in ("trace", "cameras")}
        assert [key for key in swept if f"{key}:" not in text and f"{key}=" not in text] == []
        assert keys - swept <= {"model", "reuse_ratio_mean", "latency_mean_s"}  # of the task; of summaries


def test_a_picture_an_item_shows_what_was_printed_beside_what_came_out(tmp_path):
    table = FOLDER.parents[0] / "reproduction.csv"
    rows = [one for one in read_table(table) if one.number.paper == "fluxshard_remap"]
    tmp_path = tmp_path / "figures"  # made where there is none
    drawn = draw_compared(rows, tmp_path)
    assert {path.stem for path in drawn} >= {
        "published_table_iii",
        "published_figure_5",
        "published_table_iv",
    }
    beside = pd.read_csv(tmp_path / "published_table_iv.csv")
    meant = [one for one in rows if one.number.place == "Table IV" and one.simulated is not None]
    assert beside["quantity"].tolist() == [one.number.quantity for one in meant]
    assert beside["published"].tolist() == [one.number.value for one in meant]
    assert beside["simulated"].tolist() == [one.simulated.value for one in meant]
    assert beside["held_out"].tolist() == [one.number.held_out for one in meant]
    before = {path: path.read_bytes() for path in drawn}
    assert draw_compared(rows, tmp_path) == drawn
    assert {path: path.read_bytes() for path in drawn} == before
