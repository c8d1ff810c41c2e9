"""How far what a scheduler believed was from what came."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim.records.run_statistics import mean

if TYPE_CHECKING:
    import pandas as pd


def latency_prediction_errors_s(completed: pd.DataFrame) -> tuple[float | None, float | None]:
    """Mean of predicted minus actual latency, and of its absolute value; None where nothing was predicted.

    A mean below 0 is a scheduler that expects too much; a mean near 0 beside a large absolute one is right on
    average only. A frame that fell back to the other path counts with what was predicted of the first one.

    Args:
        completed: frames with a result, with `predicted_latency_s` and `latency_s`.
    """
    error_s = (completed["predicted_latency_s"] - completed["latency_s"]).dropna()
    return mean(error_s), mean(error_s.abs())
