"""What parts are worth: paired with the whole system, regime by regime."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from analysis.ablation import ablation_table, effects
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
