"""What axes call the columns of results, and in which unit they show them."""

from __future__ import annotations

from typing import NamedTuple


class ShownAs(NamedTuple):
    """How a quantity is shown: its name, what its SI value is multiplied by, the unit, digits of a table."""

    name: str
    scale: float = 1.0
    unit: str = ""
    digits: int = 3

    @property
    def label(self) -> str:
        """Name and unit."""
        return f"{self.name} ({self.unit})" if self.unit else self.name


_NAMES = {
    "ea_mean": "EA",
    "ea": "EA",
    "ea_per_captured": "EA/captured",
    "accuracy_mean": "accuracy",
    "streaming_accuracy_mean": "streaming accuracy",
    "latency_mean_s": "latency",
    "latency_s": "latency",
    "latency_p50_s": "latency, median",
    "latency_p95_s": "latency, 95 %",
    "latency_p99_s": "latency, 99 %",
    "uplink_bps_mean": "uplink",
    "uplink_bytes": "uplink",
    "reuse_ratio_mean": "reused blocks",
    "reuse_ratio": "reused blocks",
    "offload_ratio": "offloaded results",
    "edge_busy_ratio": "edge busy",
    "cloud_busy_ratio": "cloud busy",
    "edge_energy_per_frame_j": "energy a frame",
    "active_blocks_mean": "active blocks",
    "scheduler.lambda_per_s": "λ",
    "trace.mean_mbps": "mean rate of the uplink",
    "link.delay_s": "one-way delay of the uplink",
    "payload.quality": "JPEG quality",
    "cameras": "cameras",
    "faults.edge_slowdown": "slowdown of the edge",
    "frames_completed": "results",
}
_UNITS = (  # ends of keys, the longer first
    ("_per_s", 1.0, "1/s", 3),
    ("_mbps", 1.0, "Mbit/s", 2),
    ("_bps", 1e-6, "Mbit/s", 2),
    ("_bytes", 1e-3, "kB", 1),
    ("_ratio", 100.0, "%", 1),
    ("_fraction", 100.0, "%", 1),
    ("_px", 1.0, "px", 1),
    ("_j", 1.0, "J", 2),
    ("_w", 1.0, "W", 2),
    ("_s", 1e3, "ms", 1),
)
# Of whole runs, or moments of one: too long for milliseconds.
_SECONDS = ("captured_s", "started_s", "completed_s", "simulated_s", "wall_s", "warmup_s", "offset_s")
_RATED = ("accuracy", "ea", "similarity", "iou")
_LOST = ("regret", "error")
_HIGHER = ("reuse_ratio", "fairness", "frames_completed")


def axis_of(key: str) -> ShownAs:
    """How a column or key is shown; one that is not known by its own name, with the unit of its end."""
    stem = key.removesuffix("_mean")
    name = _NAMES.get(key, stem.replace("_", " ") if "." not in key else key)
    if key.endswith(_SECONDS):
        return ShownAs(_without(name, "s"), 1.0, "s", 1)
    for end, scale, unit, digits in _UNITS:
        if stem.endswith(end):
            return ShownAs(_without(name, end.strip("_")), scale, unit, digits)
    return ShownAs(name)


def _without(name: str, unit: str) -> str:
    """A name that does not say its unit twice."""
    return name.removesuffix(f" {unit.replace('_', ' ')}").removesuffix(f"_{unit}")


def is_rated(key: str) -> bool:
    """Whether a quantity depends on the ruler of accuracy."""
    return any(part in _RATED for part in key.split("_"))


def higher_is_better(key: str) -> bool:
    """Whether more of a quantity is better: of accuracies and what is made of them; less is, of all costs."""
    if any(part in key for part in _LOST):
        return False
    return is_rated(key) or any(part in key for part in _HIGHER)
