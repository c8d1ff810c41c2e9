"""A plot of a trace: its rate over time, the distribution of that rate, and its finest structure."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from traces.bandwidth.statistics import binned_rates_bps, statistics
from traces.bandwidth.trace import MS_PER_S, BandwidthTrace, OpportunityTrace

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BIN_S = 0.1
SMOOTH_S = 1.0
WINDOW_MS = 400
COLOUR, SMOOTH_COLOUR, FAINT = "#2a6f97", "#c1440e", "#8a8a8a"


def plot_trace(trace: BandwidthTrace, path: str | Path) -> Path:
    """Write the plot (the suffix chooses the file format) and return its path."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10.0, 6.0), layout="constrained")
    figure.suptitle(f"{trace.name}{_synthetic_mark(trace)}", fontsize=12, fontweight="bold")
    axes = figure.subplot_mosaic([["rate", "rate"], ["cdf", "fine"]], height_ratios=[1.25, 1.0])
    _rate_over_time(axes["rate"], trace)
    _distribution(axes["cdf"], trace)
    if isinstance(trace, OpportunityTrace):
        _milliseconds(axes["fine"], trace)
    else:
        _segment_lengths(axes["fine"], trace.durations_s)
    for axis in axes.values():
        axis.spines[["top", "right"]].set_visible(False)
        axis.grid(alpha=0.25, linewidth=0.6)
    path = Path(path)
    figure.savefig(path, dpi=130)
    return path


def _synthetic_mark(trace: BandwidthTrace) -> str:
    return " (synthetic)" if trace.synthetic and "synthetic" not in trace.name else ""


def _rate_over_time(axis: Axes, trace: BandwidthTrace) -> None:
    if isinstance(trace, OpportunityTrace):
        for bin_s, colour, width, label in (
            (BIN_S, COLOUR, 0.6, "mean over 100 ms"),
            (SMOOTH_S, SMOOTH_COLOUR, 1.5, "mean over 1 s"),
        ):
            if trace.duration_s >= bin_s:
                rates_mbps = binned_rates_bps(trace, bin_s) / 1e6
                edges_s = np.arange(rates_mbps.size + 1) * bin_s
                axis.stairs(rates_mbps, edges_s, baseline=None, color=colour, linewidth=width, label=label)
    else:
        edges_s = np.append(trace.times_s, trace.period_s)
        axis.stairs(trace.rates_bps / 1e6, edges_s, baseline=None, color=COLOUR, label="segments")
    mean_mbps = trace.mean_bps / 1e6
    axis.axhline(mean_mbps, color=FAINT, linewidth=1, linestyle="--", label=f"mean {mean_mbps:.3g} Mbit/s")
    axis.set(xlabel="time [s]", ylabel="capacity [Mbit/s]", xlim=(0, trace.duration_s))
    axis.set_ylim(bottom=0)
    axis.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), fontsize=8, ncols=3, frameon=False)


def _distribution(axis: Axes, trace: BandwidthTrace) -> None:
    measured = statistics(trace)
    bin_s = min(BIN_S, trace.duration_s)
    rates_mbps = np.sort(binned_rates_bps(trace, bin_s)) / 1e6
    axis.plot(rates_mbps, np.arange(1, rates_mbps.size + 1) / rates_mbps.size, color=COLOUR)
    axis.set(xlabel="capacity over 100 ms [Mbit/s]", ylabel="share of time at or below", ylim=(0, 1.02))
    axis.set_xlim(left=0)
    facts = [
        f"coefficient of variation, {label}: {value:.2f}"
        for label, value in (
            ("1 ms", measured.variation_1ms),
            ("100 ms", measured.variation_100ms),
            ("1 s", measured.variation_1s),
        )
        if value is not None
    ]
    facts.append(f"outages ≥ 100 ms: {measured.outages} ({measured.outage_ratio:.1%} of the time)")
    axis.text(0.97, 0.05, "\n".join(facts), transform=axis.transAxes, ha="right", va="bottom", fontsize=8)


def _milliseconds(axis: Axes, trace: OpportunityTrace) -> None:
    """Packets of each millisecond in the window whose packet count is nearest to the mean."""
    window_ms = min(WINDOW_MS, trace.period_ms)
    counts = np.bincount(trace.times_ms % trace.period_ms, minlength=trace.period_ms)
    windows = counts[: counts.size // window_ms * window_ms].reshape(-1, window_ms)
    typical = int(np.abs(windows.sum(axis=1) - counts.mean() * window_ms).argmin())
    axis.vlines(np.arange(window_ms), 0, windows[typical], color=COLOUR, linewidth=0.9)
    start_s = typical * window_ms / MS_PER_S
    axis.set(
        xlabel=f"time after {start_s:.1f} s [ms] (a window of mean load)",
        ylabel=f"packets of {trace.packet_bytes} B in a ms",
        xlim=(-2, window_ms + 2),
    )
    axis.set_ylim(bottom=0)


def _segment_lengths(axis: Axes, lengths_s: NDArray[np.float64]) -> None:
    ordered_s = np.sort(lengths_s)
    axis.plot(
        ordered_s, np.arange(1, ordered_s.size + 1) / ordered_s.size, color=COLOUR, drawstyle="steps-post"
    )
    axis.set(
        xlabel="segment length [s] (no structure below it)",
        ylabel="share of segments",
        ylim=(0, 1.02),
    )
    axis.set_xlim(left=0)
