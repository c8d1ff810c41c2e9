"""What a latency model implies: how many blocks to process, where edge and cloud tie, what would help.

EA of processing k of N active blocks is (k/N)·exp(−λ·T(k)) times the dense accuracy (FluxShard, §4.3), with
T(k) = τ + (S/B)·k + C(k) over a link, C being the latency curve in use, and without
S/B on the device itself.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from profiler.latency import LatencyCurve, Profile

HALVING_S = (0.05, 0.1, 0.2, 0.5)
"""Times in which accuracy halves; λ = ln 2 / halving time. The papers do not publish λ."""
BANDWIDTHS_BPS = (1e6, 2e6, 5e6, 10e6, 20e6, 50e6, 100e6, 200e6)


@dataclass(frozen=True, slots=True)
class PathLatency:
    """One way to a result: a latency curve over k and what comes on top."""

    curve: LatencyCurve
    wait_s: float
    per_block_s: float

    def seconds(self, k: int) -> float:
        """T(k)."""
        return self.wait_s + self.per_block_s * k + self.curve.seconds(k)


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """The best k on a path and its effective accuracy, relative to the dense one."""

    k: int
    ea: float


def edge_path(edge: Profile) -> PathLatency:
    """Extraction, then sparse inference on the edge."""
    return PathLatency(edge.curve, edge.extract_s or 0.0, 0.0)


def cloud_path(
    edge: Profile, cloud: Profile, bandwidth_bps: float, block_bytes: float, delay_s: float
) -> PathLatency:
    """Extraction and encoding on the edge, the uplink, sparse inference in the cloud, and the way back.

    Args:
        bandwidth_bps: of the uplink.
        block_bytes: S, encoded bytes a block.
        delay_s: round-trip propagation.
    """
    encode = edge.encode_s
    fixed_s = (edge.extract_s or 0.0) + (encode.base_s if encode else 0.0) + delay_s
    per_block_s = 8 * block_bytes / bandwidth_bps + (encode.per_block_s if encode else 0.0)
    return PathLatency(cloud.curve, fixed_s, per_block_s)


def best_point(path: PathLatency, active: int, decay_per_s: float) -> OperatingPoint:
    """The k in [1, N] of largest EA.

    Args:
        active: N, blocks that would have to be recomputed, at least 1.
        decay_per_s: λ.
    """
    k = path.curve.best_block_count(active, decay_per_s, path.per_block_s)
    return OperatingPoint(k, k / active * math.exp(-decay_per_s * path.seconds(k)))


def tie_bps(
    edge: Profile, cloud: Profile, active: int, decay_per_s: float, block_bytes: float, delay_s: float
) -> float | None:
    """The bandwidth at which edge and cloud reach the same EA; None where one of them always wins."""
    here = best_point(edge_path(edge), active, decay_per_s).ea

    def gain(log_bps: float) -> float:
        path = cloud_path(edge, cloud, math.exp(log_bps), block_bytes, delay_s)
        return best_point(path, active, decay_per_s).ea - here

    low, high = math.log(1e3), math.log(1e11)
    if gain(low) > 0 or gain(high) < 0:
        return None
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if gain(middle) < 0 else (low, middle)
    return math.exp(high)


@dataclass(frozen=True, slots=True)
class OffloadingMap:
    """Best choices over halving time (rows) and bandwidth (columns)."""

    halvings_s: tuple[float, ...]
    bandwidths_bps: tuple[float, ...]
    active: int
    edge: tuple[OperatingPoint, ...]
    cloud: tuple[tuple[OperatingPoint, ...], ...]
    ties_bps: tuple[float | None, ...]


def offloading_map(
    edge: Profile,
    cloud: Profile,
    active: int,
    *,
    block_bytes: float,
    delay_s: float = 0.0,
    halvings_s: Sequence[float] = HALVING_S,
    bandwidths_bps: Sequence[float] = BANDWIDTHS_BPS,
) -> OffloadingMap:
    """Best k on both paths for every λ and bandwidth, and where the paths tie."""
    decays = [math.log(2) / one for one in halvings_s]
    return OffloadingMap(
        tuple(halvings_s),
        tuple(bandwidths_bps),
        active,
        tuple(best_point(edge_path(edge), active, decay) for decay in decays),
        tuple(
            tuple(
                best_point(cloud_path(edge, cloud, bps, block_bytes, delay_s), active, decay)
                for bps in bandwidths_bps
            )
            for decay in decays
        ),
        tuple(tie_bps(edge, cloud, active, decay, block_bytes, delay_s) for decay in decays),
    )


def gains(
    edge: Profile,
    cloud: Profile,
    active: int,
    decay_per_s: float,
    bps: float,
    block_bytes: float,
    delay_s: float,
) -> dict[str, float]:
    """Relative gain in the EA of the better path from each of three improvements by 10 %."""

    def reached(edge_share: float, cloud_share: float, bps: float) -> float:
        paths = (
            (edge_path(edge), edge_share),
            (cloud_path(edge, cloud, bps, block_bytes, delay_s), cloud_share),
        )
        faster = (replace(path, curve=path.curve.scaled(share)) for path, share in paths)
        return max(best_point(path, active, decay_per_s).ea for path in faster)

    now = reached(1.0, 1.0, bps)
    return {
        "edge kernels 10 % faster": reached(0.9, 1.0, bps) / now - 1,
        "cloud kernels 10 % faster": reached(1.0, 0.9, bps) / now - 1,
        "uplink 10 % faster": reached(1.0, 1.0, bps * 1.1) / now - 1,
    }


def summary(
    edge: Profile, cloud: Profile, found: OffloadingMap, *, block_bytes: float, delay_s: float
) -> str:
    """A screen of text: the map, the ties, and what 10 % would bring at each tie."""
    height, width = edge.resolution_px
    lines = [
        f"edge {edge.device}, cloud {cloud.device}, {edge.model} at {height}x{width}: {found.active} of"
        f" {edge.block_count} blocks active, {block_bytes:g} bytes a block, round trip {delay_s * 1e3:g} ms",
        "",
        "k* in the cloud over the uplink, in brackets where the edge does better (k* there on the right)",
        "accuracy halves in "
        + "".join(f"{bps / 1e6:>8g}" for bps in found.bandwidths_bps)
        + " Mbps     edge",
    ]
    for halving_s, here, there in zip(found.halvings_s, found.edge, found.cloud, strict=True):
        shown = "".join(f"{f'{one.k}' if one.ea > here.ea else f'({one.k})':>8}" for one in there)
        lines.append(f"{halving_s * 1e3:>15g} ms {shown}{here.k:>14}")
    lines += ["", "edge and cloud tie at, and 10 % there brings in EA:"]
    for halving_s, tie in zip(found.halvings_s, found.ties_bps, strict=True):
        bps = tie or float(np.median(found.bandwidths_bps))
        brings = gains(edge, cloud, found.active, math.log(2) / halving_s, bps, block_bytes, delay_s)
        where = f"{tie / 1e6:.3g} Mbps" if tie else f"no tie ({bps / 1e6:g} Mbps)"
        shown = ", ".join(f"{what} {gain:+.1%}" for what, gain in brings.items())
        lines.append(f"{halving_s * 1e3:>15g} ms  {where:<20} {shown}")
    profiles = {one.device: one for one in (edge, cloud)}.values()
    for one in profiles:
        if one.curve is not one.quadratic:
            lines.append(f"{one.device}: {one.curve.name} curve, which is closer to what was measured")
        if one.k_max is None:
            lines.append(
                f"{one.device}: its profiled range is unknown, so any of these k may be an extrapolation"
            )
        elif found.active > one.k_max:
            lines.append(f"{one.device}: profiled up to k = {one.k_max}; larger k are extrapolations")
    return "\n".join(lines)
