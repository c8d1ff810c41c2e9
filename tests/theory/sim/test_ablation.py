"""What parts are worth and faults cost, in pairs, regime by regime; what more cameras do."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from analysis.comparison.ablation import ablation_table, effects, faults_table
from analysis.comparison.scaling import lines_of, scaling_table
from traces.errors import InputError

WHOLE = (0.50, 0.60, 0.70, 0.65)


def _row(overrides: str, replicate: int, value: float | None, status: str = "completed") -> dict[str, Any]:
    return {
        "overrides": f"system=fluxshard_ea {overrides} replicate={replicate}",
        "status": status,
        "ea_per_captured": value,
    }


def _sweep(changes: dict[str, tuple[float, ...]]) -> list[dict[str, Any]]:
    """A sweep on two networks; each change is added to the whole system's values."""
    rows = []
    for network in ("trace=medium", "trace=low"):
        for part, change in {"": (0.0,) * len(WHOLE), **changes}.items():
            rows += [
                _row(f"{network} {part}", place, base + plus)
                for place, (base, plus) in enumerate(zip(WHOLE, change, strict=True))
            ]
    return rows


def test_a_difference_is_paired_with_students_interval() -> None:
    change = (-0.10, -0.12, -0.08, -0.10)
    found = effects(_sweep({"system.opportunistic=false": change}))
    half = 3.1824463 * np.std(change, ddof=1) / 2.0  # t(0.975; 3)
    assert [effect.regime for effect in found] == ["trace=medium", "trace=low"]
    for effect in found:
        assert effect.without == "system.opportunistic=false"
        assert effect.whole == pytest.approx(np.mean(WHOLE))
        assert effect.difference == pytest.approx(-0.10)
        assert effect.interval == pytest.approx((-0.10 - half, -0.10 + half))
        assert (effect.called, effect.same, effect.pairs) == (True, False, 4)


def test_what_changes_nothing_is_said_to_be_the_same_and_noise_is_not_called() -> None:
    found = effects(
        _sweep({"scheduler=latency": (0.0,) * 4, "system.refresh_edge=false": (0.1, -0.1, 0.02, 0.0)})
    )
    medium = {effect.without: effect for effect in found if effect.regime == "trace=medium"}
    assert medium["scheduler=latency"].same
    assert not medium["scheduler=latency"].called
    assert not medium["system.refresh_edge=false"].same
    assert not medium["system.refresh_edge=false"].called
    row = next(line for line in ablation_table(found).splitlines() if line.startswith("trace=medium"))
    assert "*" not in row
    assert " = " in f"{row} "


@pytest.mark.parametrize("key", ["seed", "trace.seed", "trace.offset_s"])
def test_a_swept_seed_is_a_replicate(key: str) -> None:
    change = {"system.opportunistic=false": (-0.10, -0.12, -0.08, -0.10)}
    rows = [{**row, "overrides": row["overrides"].replace("replicate", key)} for row in _sweep(change)]
    assert effects(rows) == effects(_sweep(change))


def test_replicates_without_a_partner_are_refused() -> None:
    rows = _sweep({"scheduler=latency": (0.0,) * 4})[:-1]
    with pytest.raises(InputError, match="expected the replicates of scheduler=latency"):
        effects(rows)


def test_failed_jobs_and_sweeps_that_leave_nothing_out_are_refused() -> None:
    with pytest.raises(InputError, match="expected a completed run, found failed"):
        effects([*_sweep({}), _row("trace=low scheduler=latency", 0, None, "failed")])
    with pytest.raises(InputError, match="leave something out, found none"):
        effects(_sweep({}))


def _faulty(system: str, fault: str, replicate: int, change: float) -> dict[str, Any]:
    ea = 0.5 + 0.1 * replicate + change
    return {
        "overrides": f"system={system} seed=0 {fault} replicate={replicate}",
        "status": "completed",
        "ea_mean": ea,
        "ea_per_captured": ea,
        "latency_mean_s": 0.1 - change,
        "uplink_bps_mean": 2e6,
    }


def test_faults_have_a_table_a_quantity_in_its_own_unit() -> None:
    """One system loses .1 in every pair, the other nothing; nobody sends another number of bytes."""
    rows = [
        _faulty(system, fault, replicate, change)
        for system, cost in (("mine", -0.1), ("yours", 0.0))
        for fault, change in (("", 0.0), ("link.outages_s=[[2.0,3.0]]", cost))
        for replicate in range(3)
    ]
    text = faults_table(rows)
    tables = [block.splitlines() for block in text.split("\n\n")]
    assert [table[0].split() for table in tables[:4]] == [
        ["EA", "mine", "yours"],
        ["EA/captured", "mine", "yours"],
        ["latency", "ms", "mine", "yours"],
        ["uplink", "Mbit/s", "mine", "yours"],
    ]
    assert [table[2].split() for table in tables[:4]] == [
        ["none", "0.600", "0.600"],
        ["none", "0.600", "0.600"],
        ["none", "100.0", "100.0"],
        ["none", "2.00", "2.00"],
    ]
    assert [table[3].split()[1:] for table in tables[:4]] == [
        ["-0.100", "±0.000*", "="],
        ["-0.100", "±0.000*", "="],
        ["+100.0", "±0.0*", "="],
        ["=", "="],
    ]
    assert "3 pairs" in text


def test_a_run_that_lacks_the_quantity_is_refused() -> None:
    rows = [_faulty("mine", fault, 0, 0.0) for fault in ("", "link.loss=0.1")]
    rows[1]["latency_mean_s"] = None
    with pytest.raises(
        InputError, match=r"link.loss=0.1.*: expected a completed run, found no latency_mean_s"
    ):
        faults_table(rows)


def _with_cameras(system: str, sharing: str, cameras: int, replicate: int, **values: Any) -> dict[str, Any]:
    return {
        "overrides": f"system={system} link.sharing={sharing} cameras={cameras} replicate={replicate}",
        "status": "completed",
        "cameras": cameras,
        **values,
    }


def test_more_cameras_are_columns_and_what_was_not_run_is_a_dash() -> None:
    rows = [
        _with_cameras(
            "mine",
            sharing,
            cameras,
            replicate,
            latency_mean_s=0.1 * cameras,
            ea_per_captured=0.5 / cameras,
            ea_fairness=None if cameras == 1 else 0.75,
        )
        for sharing, counts in (("fifo", (1, 4)), ("fair", (1,)))
        for cameras in counts
        for replicate in (0, 1)
    ]
    latency, worth, fairness, _ = (
        block.splitlines() for block in scaling_table(lines_of(rows)).split("\n\n")
    )
    assert latency[0].split("  ")[-1].strip() == "4 cameras"
    assert latency[2].split() == ["mine", "link.sharing=fifo", "100", "±0", "400", "±0"]
    assert latency[3].split() == ["mine", "link.sharing=fair", "100", "±0", "–"]
    assert worth[2].split() == ["mine", "link.sharing=fifo", "0.500", "±0.000", "0.125", "±0.000"]
    assert fairness[2].split() == ["mine", "link.sharing=fifo", "–", "0.75", "±0.00"]
    assert len(fairness) == 3  # nothing is shared where there is one camera


def test_runs_of_one_number_of_cameras_do_not_scale() -> None:
    rows = [_with_cameras("mine", "fifo", 2, place, latency_mean_s=0.1) for place in (0, 1)]
    with pytest.raises(InputError, match="at least two numbers of cameras"):
        lines_of(rows)
