"""Replicates: other networks, other starts and other scatter, the same for every system, one row each."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from analysis.__main__ import main as analysis
from analysis.replicates import pooled_rows
from analysis.results import run_rows
from sim import __main__ as command_line
from sim import run
from sim.assembly import assemble
from sim.assembly.replicate import VIDEO, replicate_seed, start_share
from sim.configuration import read_config
from sim.records.intervals import replicate_interval
from tests.strategies.sim import statistical
from traces.errors import InputError

FAST = ("video=statistical", "frames=45")
Command = Callable[..., Path]


@pytest.fixture
def sim(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    def call(*arguments: str, into: str = "sweep") -> Path:
        monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
        monkeypatch.setattr(sys, "argv", ["sim", *arguments, f"hydra.sweep.dir={tmp_path / into}"])
        command_line.main()
        return tmp_path / into

    return call


def network(content: dict[str, object]) -> list[float]:
    replay = assemble(read_config(content)).simulation.uplink.replay
    return [replay.capacity_bytes(0.1 * i, 0.1 * (i + 1)) for i in range(40)]


def test_a_replicate_is_another_network_for_every_system_alike() -> None:
    synthetic = {"mean_mbps": 20.0, "seed": 2}
    drawn = {
        (system, replicate): network(statistical(system, trace=synthetic, frames=20, replicate=replicate))
        for system in ("full_offload", "edge_only")
        for replicate in range(3)
    }
    for replicate in range(3):
        assert drawn["full_offload", replicate] == drawn["edge_only", replicate]
    assert drawn["edge_only", 0] == network(statistical(trace=synthetic, frames=20))  # the run as described
    assert drawn["edge_only", 0] != drawn["edge_only", 1] != drawn["edge_only", 2]


def test_replicates_enter_a_recording_at_places_that_spread(tmp_path: Path) -> None:
    path = tmp_path / "ramp.csv"
    path.write_text("time_s,rate_mbps\n" + "".join(f"{i},{i + 1}\n" for i in range(600)))
    trace = {"name": "file", "path": str(path), "seed": 2}
    rates = [network(statistical(trace=trace, frames=20, replicate=r))[0] * 80 / 1e6 for r in range(9)]
    assert rates[0] == pytest.approx(1.0)  # from the file's beginning
    drawn = np.sort(rates[1:])
    assert np.diff(drawn, append=drawn[0] + 600).max() < 600 / 8 * 2.7  # golden-ratio gaps
    other = {**trace, "seed": 3}
    assert network(statistical(trace=other, frames=20, replicate=1)) != network(
        statistical(trace=trace, frames=20, replicate=1)
    )


def test_places_are_uniform_over_seeds_and_spread_over_replicates() -> None:
    shares = np.array([[start_share(seed, r, VIDEO) for r in range(1, 9)] for seed in range(400)])
    assert shares.mean() == pytest.approx(0.5, abs=0.02)
    gaps = np.diff(np.sort(shares, axis=1), axis=1)
    assert gaps.min() > 1 / 8 / 2.7  # no two near each other, whatever the seed
    cameras = np.array([start_share(0, r, VIDEO, camera=1) for r in range(1, 400)])
    assert cameras.mean() == pytest.approx(0.5, abs=3 * (1 / 12 / 400) ** 0.5)
    assert (
        len({replicate_seed(0, r) for r in range(1000)} | {replicate_seed(1, r) for r in range(1000)}) == 2000
    )


def test_a_sweep_of_replicates_has_one_row_each_and_shows_one(
    sim: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = sim("system=full_offload,edge_only", "replicates=3", *FAST)  # -m is understood
    printed = capsys.readouterr().out.splitlines()
    table = pd.read_parquet(folder / "results.parquet")
    assert table["replicate"].tolist() == [0, 1, 2, 0, 1, 2]
    assert table["system"].tolist() == 3 * ["full_offload"] + 3 * ["edge_only"]
    assert table["ea_mean"][:3].nunique() == 3
    shown = [line for line in printed if line.startswith(("full_offload", "edge_only"))]
    assert len(shown) == 2
    mean, (low, high) = table["ea_mean"][:3].mean(), replicate_interval(table["ea_mean"][:3].tolist())
    assert low is not None
    assert high is not None
    half = (high - low) / 2
    assert f"{mean:.3f} ±{f'{half:.3f}'.lstrip('0')}" in shown[0]
    pooled = pd.read_csv(folder / "pooled.csv")
    assert pooled["replicates"].tolist() == [3, 3]
    assert pooled["frames_captured"].tolist() == [135, 135]
    assert pooled["ea_mean_low"][0] == pytest.approx(mean - half)
    assert pooled["latency_p99_low_s"].isna().all()  # 135 frames do not tell
    capsys.readouterr()
    analysis(["show", str(folder)])
    again = capsys.readouterr().out.splitlines()
    assert [line for line in again if line.startswith(("full_offload", "edge_only"))] == shown


def test_each_replicate_is_the_run_of_its_number_whatever_their_count(sim: Command) -> None:
    three, two = (sim("replicates=3", *FAST, into="3"), sim("replicates=2", *FAST, into="2"))
    for number in ("0", "1"):
        one, other = ((folder / number / "frames.parquet").read_bytes() for folder in (three, two))
        assert one == other
    alone = run([*FAST, "replicate=2"])
    assert alone.summary["replicate"] == 2
    assert alone.frames["latency_s"].tolist() == pytest.approx(
        pd.read_parquet(three / "2" / "frames.parquet")["latency_s"].tolist(), nan_ok=True
    )
    plain = run(list(FAST))
    assert plain.summary["replicate"] == 0
    assert plain.summary["ea_mean"] == run_rows(three)[0]["ea_mean"]


def test_replicates_go_on_where_they_were_interrupted(
    sim: Command, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = sim("replicates=3", *FAST)
    before = (folder / "1" / "frames.parquet").read_bytes()
    (folder / "1" / "summary.json").unlink()
    monkeypatch.setattr(sys, "argv", ["sim", "--resume", str(folder)])
    command_line.main()
    assert "2 of 3 jobs have finished" in capsys.readouterr().err
    assert (folder / "1" / "frames.parquet").read_bytes() == before
    assert [row["status"] for row in run_rows(folder)] == 3 * ["completed"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["replicates=0"], "replicates: expected at least 1 run, found 0"),
        (["-m", "replicates=2", "replicate=1"], "replicate: expected none beside replicates=2"),
        (["-m", "replicates=2,3"], "replicates: expected one number for the whole sweep, found several"),
        (["replicate=-1"], "replicate: expected a number >= 0, found -1"),
        (["warmup_s=-1"], "warmup_s: expected a time >= 0 s, found -1"),
    ],
)
def test_what_makes_no_replicates_is_said_in_one_line(
    sim: Command, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        sim(*arguments, *FAST)
    assert ended.value.code == 2
    assert message in capsys.readouterr().err


def test_a_call_makes_one_run() -> None:
    with pytest.raises(InputError, match=r"replicates: expected 1 in a single run, found 4: python -m sim"):
        run([*FAST, "replicates=4"])


def test_a_replicate_that_failed_is_not_pooled(sim: Command) -> None:
    folder = sim("replicates=3", *FAST)
    rows = run_rows(folder)
    rows[1] = {**rows[1], "status": "failed", "error": "x"}
    pooled = pooled_rows(rows, folder)
    assert [(row["status"], row.get("replicates")) for row in pooled] == [("completed", 2), ("failed", None)]


def test_what_is_no_number_is_of_all_replicates(sim: Command) -> None:
    rows = run_rows(folder := sim("replicates=3", *FAST))
    for place, (extrapolated, radio, ruler) in enumerate(
        [(False, None, "coverage"), (True, False, "measured"), (False, False, "coverage")]
    ):
        rows[place] = {
            **rows[place],
            "radio_extrapolated": extrapolated,
            "asked": radio,
            "accuracy_ruler": ruler,
        }
    (pooled,) = pooled_rows(rows, folder)
    assert pooled["radio_extrapolated"] is True
    assert pooled["asked"] is None  # one does not know
    assert pooled["accuracy_ruler"] == "mixed"
    assert pooled["system"] == "fluxshard_ea"


def test_a_seed_that_changes_nothing_says_so(sim: Command, capsys: pytest.CaptureFixture[str]) -> None:
    still = ("system=full_offload,edge_only", "deterministic=true", "link.loss=0")
    sim("-m", "seed=0,1,2", *still, *FAST, into="idle")
    line = [line for line in capsys.readouterr().out.splitlines() if line.startswith("note: seed")]
    assert len(line) == 1
    assert line[0].startswith("note: seed changes nothing here for edge_only: 3 seeds gave the same frames")
    sim("-m", "trace.seed=0,1", "system=full_offload", *FAST, into="busy")
    assert "changes nothing" not in capsys.readouterr().out
