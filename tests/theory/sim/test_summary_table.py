"""What a table of runs says, and what it leaves out."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pandas as pd
import pytest

from analysis.__main__ import main
from analysis.pages import portable
from analysis.settings import swept_settings
from analysis.tables import mean_over_videos, summary_table


def test_swept_settings_name_what_tells_jobs_apart() -> None:
    jobs = [["system=coach", "seed=0", "fps=10"], ["system=coach", "seed=1", "fps=10"]]
    assert swept_settings(jobs) == ["seed=0", "seed=1"]
    assert swept_settings([["system=coach"], ["system=spinn"]]) == ["", ""]
    assert swept_settings([["seed=0"], []]) == ["seed=0", ""]


def test_effective_accuracy_per_captured_frame_counts_missing_results_as_nothing() -> None:
    run = {
        "status": "completed",
        "system": "a",
        "ea_mean": 0.8,
        "frames_completed": 25,
        "frames_captured": 100,
    }
    heading, _, row = summary_table([run]).splitlines()
    assert "EA/captured" in heading
    assert "0.800" in row
    assert "0.200" in row
    assert "swept" not in heading
    assert "regret" not in heading


def test_failed_runs_are_told_with_their_error() -> None:
    text = summary_table(
        [{"status": "failed", "system": "a", "error": "no such trace", "overrides": "trace=x"}]
    )
    assert text.splitlines()[-1] == "failed: trace=x: no such trace"


def test_an_experiments_variants_are_systems_and_its_sequences_videos() -> None:
    jobs = [
        ["experiment/davis=fine", "experiment.sequence=a", "experiment=davis"],
        ["experiment/davis=coarse", "experiment.sequence=b", "experiment=davis"],
    ]
    assert swept_settings(jobs) == ["", ""]
    run = {"status": "completed", "system": "s", "frames_completed": 1, "frames_captured": 1}
    text = summary_table([{**run, "overrides": " ".join(job)} for job in jobs], ["system"])
    assert [line.strip() for line in text.splitlines()[2:]] == ["fine", "coarse"]


def test_means_over_videos_give_each_video_one_vote_and_add_frames_up() -> None:
    counts = {"frames_replaced": 0, "frames_dropped": 0, "frames_captured": 10}
    jobs = pd.DataFrame(
        {"overrides": f"experiment/davis={variant}", "system": "s", "video": video, "status": "completed"}
        | counts
        | {"frames_completed": frames, "ea_mean": ea, "measured_ea_mean": None}
        for variant, video, frames, ea in (("b", "x", 9, 0.2), ("b", "y", 1, 0.6), ("a", "x", 5, 0.5))
    )
    pooled = mean_over_videos(jobs).to_dict("records")
    assert [(row["system"], row["video"], row["frames_completed"]) for row in pooled] == [
        ("b", "mean of 2", 10),
        ("a", "mean of 1", 5),
    ]
    assert [row["frames_captured"] for row in pooled] == [20, 10]
    assert math.isclose(pooled[0]["ea_mean"], 0.4)


def test_what_lies_elsewhere_on_each_machine_is_left_out() -> None:
    job = "experiment/davis=fine seed=1 experiment.davis=../data model.weights=/a/b.safetensors"
    assert portable(job) == "experiment/davis=fine seed=1"


def test_a_multirun_with_failed_jobs_is_no_source_for_the_readme(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for job, status in enumerate(("completed", "failed")):
        (tmp_path / str(job) / ".hydra").mkdir(parents=True)
        (tmp_path / str(job) / ".hydra" / "config.yaml").write_text("seed: 0\n", encoding="utf-8")
        summary = json.dumps({"status": status, "system": "a"})
        (tmp_path / str(job) / "summary.json").write_text(summary, encoding="utf-8")
    with pytest.raises(SystemExit) as ended:
        main(["readme", str(tmp_path)])
    assert ended.value.code == 2
    assert "expected completed jobs, found 1 of 2 that failed" in capsys.readouterr().err


def rows_of(key: str, values: list[str], ruler: str) -> list[dict[str, object]]:
    return [
        {"status": "completed", "system": "s", "overrides": f"{key}={value}", "accuracy_ruler": ruler}
        | {"frames_completed": 3, "frames_captured": 4, "accuracy_mean": 0.5, "measured_accuracy_mean": 0.5}
        for value in values
    ]


@pytest.mark.parametrize("key", ["matching.threshold", "system.threshold", "system.quality", "system.crf"])
def test_a_sweep_over_what_coverage_cannot_see_says_so_in_one_line(key: str) -> None:
    last = summary_table(rows_of(key, ["0.1", "0.2"], "coverage")).splitlines()[-1]
    assert last.startswith(f"note: {key} swept by coverage")
    assert last.endswith("accuracy=measured does")
    for rows in (
        rows_of(key, ["0.1", "0.2"], "measured"),
        rows_of(key, ["0.1", "0.1"], "coverage"),
        rows_of("seed", ["1", "2"], "coverage"),
    ):
        assert "note:" not in summary_table(rows)


def test_accuracy_is_shown_once_with_its_ruler() -> None:
    heading = summary_table(rows_of("seed", ["1"], "measured")).splitlines()[0]
    assert "accuracy        by" in heading
    assert "measured accuracy" not in heading
    earlier = rows_of("seed", ["1"], "measured")
    earlier[0]["accuracy_ruler"] = None  # results of a version that did not say: two accuracies
    assert "measured accuracy" in summary_table(earlier).splitlines()[0]


def test_means_over_videos_keep_the_ruler() -> None:
    rows = [{**row, "video": video} for video in "xy" for row in rows_of("a", ["1"], "measured")]
    counts = {"frames_replaced": 0, "frames_dropped": 0}
    pooled = mean_over_videos(pd.DataFrame(rows).assign(**counts))
    assert pooled["accuracy_ruler"].tolist() == ["measured"]


def test_the_codec_of_every_run_is_shown_with_its_quality() -> None:
    runs = [
        {"status": "completed", "system": "a", "codec": "jpeg", "quality": 85},
        {"status": "completed", "system": "b", "codec": "h264", "quality": 23.5},
        {"status": "completed", "system": "c", "codec": "png", "quality": None},
        {"status": "completed", "system": "d", "codec": None, "quality": None},
        {"status": "completed", "system": "e", "codec": "jpeg", "quality": math.nan},
    ]
    heading, _, *rows = summary_table(runs).splitlines()
    at = heading.index("codec")
    shown = [row[at:].split("  ")[0] for row in rows]
    assert shown == ["jpeg 85", "h264 23.5", "png", "–", "jpeg"]
    assert "codec" not in summary_table([runs[3]]).splitlines()[0]
    asked = summary_table(runs, ("system", "codec")).splitlines()[0]
    assert asked.split() == ["system", "codec"]
