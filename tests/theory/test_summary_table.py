"""What a table of runs says, and what it leaves out."""

from __future__ import annotations

from analysis.tables import summary_table, swept_settings


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
