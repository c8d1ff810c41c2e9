"""Synthetic devices with a known latency curve and known noise, shared by the profiler's tests."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from profiler.measure.samples import Sample, SampleTable

NOISES = ("heteroscedastic", "heavy_tailed", "bimodal")
RARE = ("rare_slow", "interrupted")
"""What few repeats are too few for: one run in twenty twice as slow, or stopped for 10 ms."""
SHIFTING = ("slow_when_short", "slow_when_long")
"""Noise whose shape changes with k: a second mode that only short runs have, or only long ones."""
XAVIER = (3.60e-8, 2.13e-4, 8.29e-3)
"""The papers' coefficients of YOLO11 on a Jetson Xavier NX: a realistic size for a synthetic device."""


@dataclass(frozen=True)
class SyntheticDevice:
    """T(k) = a·k² + b·k + c times noise of mean exactly 1."""

    coefficients: tuple[float, float, float] = XAVIER
    noise: str = "heteroscedastic"

    def curve_s(self, k: NDArray[np.float64]) -> NDArray[np.float64]:
        a, b, c = self.coefficients
        return (a * k + b) * k + c

    def measure(self, k: NDArray[np.float64], generator: np.random.Generator) -> NDArray[np.float64]:
        """One measured time for each entry of k."""
        k = np.asarray(k, float)
        if self.noise == "heteroscedastic":  # absolute spread grows from 1 % of T to 8 % of it
            factor = 1 + (0.01 + 0.07 * k / 1600) * generator.standard_normal(k.shape)
        elif self.noise == "heavy_tailed":  # Student's t with 4 degrees of freedom: no fourth moment
            factor = 1 + 0.04 * generator.standard_t(4, k.shape)
        elif self.noise == "bimodal":  # one run in five meets a slow clock
            slow = generator.random(k.shape) < 0.2
            factor = 0.96 + 0.2 * slow + 0.01 * generator.standard_normal(k.shape)
        elif self.noise == "rare_slow":
            factor = 0.95 + (generator.random(k.shape) < 0.05) + 0.01 * generator.standard_normal(k.shape)
        elif self.noise == "interrupted":
            stop_s = 0.01 * ((generator.random(k.shape) < 0.05) - 0.05)
            factor = 1 + stop_s / self.curve_s(k) + 0.01 * generator.standard_normal(k.shape)
        elif self.noise == "slow_when_short":  # 20 % of the runs at one block, none from 600 on
            rate = 0.2 * np.clip(1 - k / 600, 0, 1)
            slow = (generator.random(k.shape) < rate) - rate
            factor = 1 + 0.3 * slow + 0.02 * generator.standard_normal(k.shape)
        elif self.noise == "slow_when_long":  # none up to 600 blocks, 15 % of the runs at 1600
            rate = 0.15 * np.clip((k - 600) / 1000, 0, 1)
            slow = (generator.random(k.shape) < rate) - rate
            factor = 1 + 0.3 * slow + 0.02 * generator.standard_normal(k.shape)
        else:
            raise ValueError(f"noise must be in {NOISES!r} (got {self.noise!r})")
        return self.curve_s(k) * np.maximum(factor, 0.05)

    def rows(
        self, generator: np.random.Generator, grid: NDArray[np.float64], repeats: int, dense_s: float = 0.2
    ) -> list[Sample]:
        """A whole profiling run over a grid, with dense, extract and encode rows."""
        rows = []
        for repeat in range(repeats):
            for mask in ("random", "clustered", "recorded"):
                times = self.measure(grid, generator)
                rows += [
                    Sample("sparse", int(k), mask, repeat, float(s)) for k, s in zip(grid, times, strict=True)
                ]
            jitter = generator.normal(1, 0.02, 3)
            rows.append(Sample("dense", None, None, repeat, float(dense_s * jitter[0])))
            rows.append(Sample("extract", None, None, repeat, float(0.004 * jitter[1])))
            rows += [
                Sample("encode", int(k), None, repeat, float((3e-4 + 2e-6 * k) * jitter[2]))
                for k in grid[::4]
            ]
        return rows


def as_samples(rows: list[Sample], **meta: object) -> SampleTable:
    """Rows as the columns that the fits read, without the detour over a file."""
    op, k, mask, repeat, seconds = zip(*rows, strict=True)
    return SampleTable(
        np.array(op, dtype=object),
        np.array([np.nan if one is None else one for one in k]),
        np.array(mask, dtype=object),
        np.array(repeat),
        np.array(seconds),
        meta,
    )
