"""Two systems on the same realisations: who is paired with whom, what is refused, and what is said."""

from __future__ import annotations

import contextlib
import re
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import t

from analysis.__main__ import main as analysis
from analysis.comparison.compare import (
    FIELDS,
    Difference,
    Quantity,
    compare,
    comparison_text,
    significant,
    verdict,
)
from analysis.comparison.pairing import pair_up, read_side
from sim import __main__ as command_line
from sim.records.intervals import UNKNOWN, Interval
from traces.errors import InputError

FAST = ("video=statistical", "frames=45")


@pytest.fixture(scope="module")
def sim(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    root = tmp_path_factory.mktemp("sweeps")

    def call(into: str, *arguments: str) -> Path:
        before = sys.argv
        sys.argv = ["sim", "-m", *FAST, *arguments, f"hydra.sweep.dir={root / into}"]
        try:
            with contextlib.suppress(SystemExit):
                command_line.main()
        finally:
            sys.argv = before
        return root / into

    return call


@pytest.fixture(scope="module")
def sweep(sim: Callable[..., Path]) -> Path:
    return sim("both", "system=fluxshard_ea,full_offload", "trace=low,medium", "replicates=3")


def test_options_of_other_commands_are_refused_by_name(
    sweep: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        analysis(["compare", str(sweep), "by=system"])
    assert "expected folders, --by KEY A B and --out FILE, found 'by=system'" in capsys.readouterr().err


def test_pairs_met_the_same_and_differences_are_theirs(
    sweep: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "compare.csv"
    analysis(["compare", str(sweep), "--by", "system", "fluxshard_ea", "full_offload", "--out", str(out)])
    printed = capsys.readouterr().out
    found = pd.read_csv(out)
    assert tuple(found.columns) == FIELDS
    assert found["setting"].unique().tolist() == ["trace=low", "trace=medium"]
    assert (found["pairs"] == 3).all()
    table = pd.read_parquet(sweep / "results.parquet").set_index(["system", "swept.trace", "replicate"])
    for trace in ("low", "medium"):
        ours, theirs = (table.loc[system, trace]["ea_mean"] for system in ("fluxshard_ea", "full_offload"))
        difference = (ours - theirs).to_numpy()
        half = t.ppf(0.975, 2) * difference.std(ddof=1) / np.sqrt(3)
        row = found[(found["setting"] == f"trace={trace}") & (found["quantity"] == "EA")].iloc[0]
        assert (row["a"], row["b"]) == pytest.approx((ours.mean(), theirs.mean()))
        assert row["difference"] == pytest.approx(difference.mean())
        assert (row["low"], row["high"]) == pytest.approx(
            (difference.mean() - half, difference.mean() + half)
        )
        assert row["verdict"] in printed
    assert "fluxshard_ea against full_offload" in printed
    assert found.set_index(["setting", "quantity"]).loc[("trace=low", "latency p99"), "low"] != 0.0


def test_runs_that_met_something_else_are_refused(sweep: Path, sim: Callable[..., Path]) -> None:
    with pytest.raises(
        InputError, match=r"no partner .*: expected a run that met the same, found replicate=0 here, 1"
    ):
        pair_up(read_side(sweep / "0"), read_side(sweep / "7"))
    with pytest.raises(InputError, match=r"found trace\.mean_mbps=25\.0 here, 56\.0 there"):
        pair_up(read_side(sweep / "0"), read_side(sweep / "9"))
    with pytest.raises(InputError, match=r"expected two sides, found .* on both"):
        pair_up(read_side(sweep), read_side(sweep))
    with pytest.raises(
        InputError, match=r"--by system: expected one of fluxshard_ea, full_offload .*'coach'"
    ):
        read_side(sweep, "system", "coach")
    with pytest.raises(InputError, match=r"--by: expected one of the keys .*system, trace, .*'scheduler'"):
        read_side(sweep, "scheduler", "ea")
    fewer = sim("fewer", "system=edge_only", "trace=low,medium", "replicates=2")
    with pytest.raises(InputError, match=r"has no partner on the side of edge_only: .*replicate=2 here"):
        pair_up(read_side(sweep, "system", "full_offload"), read_side(fewer))


@pytest.mark.parametrize(
    ("key", "value", "other"),
    [
        ("scheduler.lambda_per_s", "6.931471805599452", "2.0"),
        ("accuracy.dense", "1.0", "0.5"),
        ("accuracy.coverage_threshold", "0.025", "0.05"),
        ("warmup_s", "1.0", "0.5"),
    ],
)
def test_runs_that_are_valued_otherwise_are_refused(
    sim: Callable[..., Path], key: str, value: str, other: str
) -> None:
    """Better by another ruler is not better."""
    scene = ("video=scene", "accuracy=coverage", "frames=5")
    folder = sim(f"valued-{key}", "system=edge_only", *scene, f"{key}={value},{other}")
    message = f"expected a run that is valued alike, found {key}={value} here, {other} there"
    with pytest.raises(InputError, match=re.escape(message)):
        pair_up(*(read_side(folder, key, one) for one in (value, other)))


def test_rulers_are_not_mixed(sim: Callable[..., Path]) -> None:
    still = ("video=scene", "frames=4", "system=edge_only,full_offload")
    folder = sim("rulers", *still, "accuracy=coverage,measured")
    rows = read_side(folder).rows
    assert {row["accuracy_ruler"] for row in rows} == {"coverage", "measured"}
    sides = [read_side(folder / place) for place in ("0", "3")]
    with pytest.raises(InputError, match=r"found accuracy_ruler='coverage' here, 'measured' there"):
        pair_up(*sides)
    found = pair_up(read_side(folder, "system", "edge_only"), read_side(folder, "system", "full_offload"))
    assert [
        pair.a["accuracy_ruler"] == pair.b["accuracy_ruler"] for runs in found for pair in runs.pairs
    ] == [
        True,
        True,
    ]


def test_what_else_differs_is_printed(
    sim: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    near = sim("near", "system=full_offload", "frames=5", "warmup_s=1")
    far = sim("far", "system=fluxshard_ea", "frames=5", "warmup_s=1.0", "link.delay_s=0.1")
    capsys.readouterr()
    analysis(["compare", str(near), str(far), "--out", str(tmp_path / "out.csv")])
    said = [line for line in capsys.readouterr().out.splitlines() if "not the same" in line]
    assert said == ["  not the same: link.delay_s = 0.025 against 0.1"]


def test_two_folders_are_two_sides(sweep: Path, sim: Callable[..., Path]) -> None:
    other = sim("slow", "system=edge_only", "trace=low,medium", "replicates=3")
    paired = pair_up(read_side(sweep, "system", "full_offload"), read_side(other))
    assert [(runs.setting, len(runs.pairs)) for runs in paired] == [("trace=low", 3), ("trace=medium", 3)]
    for runs in paired:
        for pair in runs.pairs:
            assert (pair.a["trace"], pair.a["replicate"]) == (pair.b["trace"], pair.b["replicate"])
            assert (pair.a["system"], pair.b["system"]) == ("full_offload", "edge_only")


def test_a_seed_that_changes_nothing_is_one_pair(sim: Callable[..., Path]) -> None:
    folder = sim("idle", "system=edge_only,full_offload", "seed=0,1,2", "deterministic=true", "video.seed=5")
    sides = [read_side(folder, "system", name) for name in ("edge_only", "full_offload")]
    found = compare(pair_up(*sides))
    assert {one.pairs for one in found} == {1}
    assert all(one.interval == UNKNOWN for one in found if one.quantity.name == "EA")


@pytest.mark.parametrize("rate", [("fps=5", "frames=1500"), ("fps=1", "frames=300", "cameras=4")])
def test_one_long_pair_has_intervals_from_within(sim: Callable[..., Path], rate: tuple[str, ...]) -> None:
    """Five minutes: more than forty correlation times of the network, however many cameras take turns."""
    folder = sim(f"long{len(rate)}", "system=fluxshard_ea,full_offload", *rate)
    sides = [read_side(folder, "system", name) for name in ("fluxshard_ea", "full_offload")]
    found = {one.quantity.name: one for one in compare(pair_up(*sides))}
    for name in ("EA", "EA/captured", "latency mean"):
        one = found[name]
        assert one.pairs == 1
        assert one.interval.low is not None
        assert one.interval.high is not None
        assert one.interval.low <= one.difference <= one.interval.high
        assert one.interval.high - one.interval.low < abs(one.difference)
    assert found["latency p95"].interval == UNKNOWN
    assert found["latency p95"].why_not == "a quantile needs replicates"


# -- verdicts --------------------------------------------------------------------------------------

EA = Quantity("EA", "ea_mean", True)
LATENCY = Quantity("latency mean", "latency_mean_s", False, 1, 1e3, " ms")


def difference(
    quantity: Quantity, a: float, b: float, half: float | None, p_value: float | None
) -> Difference:
    return Difference(quantity, a, b, Interval.around(a - b, half), p_value, 8, "", "too short")


@pytest.mark.parametrize(
    ("found", "called", "said"),
    [
        (difference(EA, 0.75, 0.72, 0.02, 0.01), True, "x is better by 0.030 [0.010, 0.050]"),
        (difference(EA, 0.72, 0.75, 0.02, 0.01), True, "y is better by 0.030 [0.010, 0.050]"),
        (difference(LATENCY, 0.05, 0.08, 0.01, 0.01), True, "x is better by 30.0 [20.0, 40.0] ms"),
        (difference(EA, 0.73, 0.72, 0.02, 0.4), False, "no significant difference (0.010 [-0.010, 0.030])"),
        (
            difference(EA, 0.75, 0.72, 0.02, 0.04),
            False,
            "no significant difference (0.030 [0.010, 0.050]; by itself it would be one, among so many "
            "quantities it is not)",
        ),
        (difference(EA, 1.0, 1.0, 0.0, 1.0), False, "no difference"),
        (difference(EA, 0.75, 0.72, None, None), False, "no interval for +0.030 (too short)"),
    ],
)
def test_a_verdict_is_in_words(found: Difference, called: bool, said: str) -> None:
    assert verdict(found, called, ("x", "y")) == said


@pytest.mark.parametrize(("pairs", "said"), [(1, False), (8, True)])
def test_quantiles_of_several_pairs_are_said_to_be_means_of_each_runs_own(pairs: int, said: bool) -> None:
    """The table of the same runs shows those of all frames together: other numbers."""
    p99 = Quantity("latency p99", "latency_p99_s", False, 1, 1e3, " ms")
    found = replace(difference(p99, 0.3, 0.2, None, None), pairs=pairs)
    text = comparison_text([found], ("x", "y"))
    assert ("quantiles: means over pairs of each run's own" in text) == said


def test_verdicts_are_holms() -> None:
    """Thresholds 0.05/4, 0.05/3, 0.05/2, 0.05 in ascending order, until one is missed."""
    p_values = [0.02, None, 0.001, 0.6, 0.016]
    found = [difference(EA, 0.5, 0.4, 0.1, p_value) for p_value in p_values]
    assert significant(found) == [True, False, True, False, True]
    found = [difference(EA, 0.5, 0.4, 0.1, p_value) for p_value in (0.02, 0.03, 0.04)]
    assert significant(found) == [False, False, False]
