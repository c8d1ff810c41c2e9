"""Truncation thresholds: ε as a share of a layer's standard deviation, looked up by how the frame moves."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from kernels.executor.graph.nodes import Convolution, TensorToMap
from kernels.executor.plan.execution_plan import ExecutionPlan
from kernels.executor.state.node_runner import NodeRunner


@dataclass(frozen=True, slots=True)
class MotionStatistics:
    """What the ε profile is indexed by.

    Attributes:
        length_px: mean length of the vectors.
        spread_px: root mean square distance of the vectors from their mean.
        active_ratio: share of active blocks.
    """

    length_px: float
    spread_px: float
    active_ratio: float

    @classmethod
    def of(cls, active: torch.Tensor, vectors: torch.Tensor) -> MotionStatistics:
        """Of a block field: active bool (rows, columns), vectors (rows, columns, 2) in pixels."""
        flat = vectors.reshape(-1, 2).double()
        return cls(
            length_px=float(flat.norm(dim=1).mean()),
            spread_px=float((flat - flat.mean(0)).pow(2).sum(1).mean().sqrt()),
            active_ratio=float(active.double().mean()),
        )


@dataclass(frozen=True, slots=True)
class TruncationRow:
    """One cell of a profile: up to these statistics, this ε (share of a layer's standard deviation)."""

    length_px: float
    spread_px: float
    active_ratio: float
    epsilon: float


@dataclass(frozen=True, slots=True)
class TruncationProfile:
    """ε over motion statistics, built offline by `python -m kernels truncation` (remap paper, C2).

    Attributes:
        rows: a lookup takes the row whose statistics are nearest, each axis in units of its largest value.
    """

    rows: tuple[TruncationRow, ...]

    @classmethod
    def default(cls) -> TruncationProfile:
        """Without a profile: 5 % of a layer's standard deviation, whatever moves."""
        return cls((TruncationRow(0.0, 0.0, 0.0, 0.05),))

    @classmethod
    def load(cls, path: Path) -> TruncationProfile:
        """Read the JSON that `save` wrote.

        Raises:
            ValueError: with the file and what is wrong with it.
        """
        try:
            rows = tuple(
                TruncationRow(**{key: float(value) for key, value in row.items()})
                for row in json.loads(path.read_text())["rows"]
            )
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise ValueError(f"{path}: not a truncation profile: {error}") from error
        if not rows or any(not 0 <= row.epsilon < float("inf") for row in rows):
            raise ValueError(f"{path}: expected rows with epsilon ≥ 0, found {len(rows)} rows")
        return cls(rows)

    def save(self, path: Path, provenance: Mapping[str, object] | None = None) -> None:
        """Write the profile as JSON, with what it was built from."""
        names = TruncationRow.__dataclass_fields__
        rows = [{name: getattr(row, name) for name in names} for row in self.rows]
        content = {"provenance": dict(provenance or {}), "rows": rows}
        path.write_text(json.dumps(content, indent=1) + "\n")

    def lookup(self, active: torch.Tensor, vectors: torch.Tensor) -> float:
        """ε for a frame that moves like this, as a share of each layer's standard deviation."""
        if len(self.rows) == 1:
            return self.rows[0].epsilon
        here = MotionStatistics.of(active, vectors)
        axes = ("length_px", "spread_px", "active_ratio")
        units = {axis: max(getattr(row, axis) for row in self.rows) or 1.0 for axis in axes}

        def distance(row: TruncationRow) -> float:
            away = [(getattr(row, axis) - getattr(here, axis)) / units[axis] for axis in axes]
            return float(sum(part**2 for part in away))

        return min(self.rows, key=distance).epsilon


@dataclass(frozen=True, slots=True)
class LayerDeviations:
    """The standard deviation of what is pruned over the first dense frame, by node.

    That is the outputs of convolutions, and tensors that become maps, as after attention.
    """

    deviation: dict[int, float]

    @classmethod
    def measure(cls, plan: ExecutionPlan, runner: NodeRunner) -> LayerDeviations:
        """From the maps of a dense run."""
        return cls(
            {
                index: float(runner.view(index).float().std())
                for index, node in enumerate(plan.nodes)
                if isinstance(node.operation, (Convolution, TensorToMap))
            }
        )
