"""The plan as a picture: k* over bandwidth and λ, and where edge and cloud tie."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from profiler.latency import Profile
from profiler.latency.files import whole_file
from profiler.plan import offloading_map


def draw_offloading_map(
    edge: Profile, cloud: Profile, active: int, path: Path | str, *, block_bytes: float, delay_s: float
) -> None:
    """Draw share of active blocks processed in the cloud, the tie, and EA at the default λ, as a PNG."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    halvings_s, bandwidths = np.geomspace(0.02, 2.0, 60), np.geomspace(2e5, 5e8, 90)
    found = offloading_map(
        edge,
        cloud,
        active,
        block_bytes=block_bytes,
        delay_s=delay_s,
        halvings_s=[float(one) for one in halvings_s],
        bandwidths_bps=[float(one) for one in bandwidths],
    )
    share = np.array([[one.k / active for one in row] for row in found.cloud])
    figure = Figure(figsize=(10, 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    mesh = left.pcolormesh(bandwidths / 1e6, halvings_s * 1e3, share, vmin=0, vmax=1, cmap="viridis")
    figure.colorbar(mesh, ax=left, label=f"k* / N in the cloud, N = {active}")
    ties = np.array([math.nan if tie is None else tie for tie in found.ties_bps])
    left.plot(ties / 1e6, halvings_s * 1e3, color="#e0402f", lw=2, label="edge and cloud tie")
    left.set(xscale="log", yscale="log", xlabel="uplink (Mbps)", ylabel="accuracy halves in (ms)")
    left.set_xlim(bandwidths[0] / 1e6, bandwidths[-1] / 1e6)
    if np.isfinite(ties).any():
        left.legend(loc="lower right", fontsize=8)
    row = int(np.argmin(np.abs(halvings_s - 0.1)))
    right.plot(bandwidths / 1e6, [one.ea for one in found.cloud[row]], label=f"cloud, {cloud.device}")
    right.axhline(found.edge[row].ea, color="black", lw=1, ls="--", label=f"edge, {edge.device}")
    right.set(xscale="log", xlabel="uplink (Mbps)", ylabel="EA / dense accuracy", ylim=(0, 1))
    right.set_title("at a halving time of 100 ms", fontsize=10)
    right.legend(fontsize=8, frameon=False, loc="lower right")
    with whole_file(path) as part:
        figure.savefig(part, format="png", dpi=110, metadata={"Software": None})
