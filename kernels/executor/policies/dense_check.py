"""Whether a plan computes what the module does, on the second frame that its trace was verified with."""

from __future__ import annotations

import torch

from kernels.executor.graph.module_trace import UnsupportedModule
from kernels.executor.graph.verification import VerifiedTrace, leaf_difference
from kernels.executor.plan.execution_plan import ExecutionPlan
from kernels.executor.policies.dense import run_dense
from kernels.executor.state.arenas import ArenaPool
from kernels.executor.state.node_runner import NodeRunner
from kernels.torch_versions import tree_leaves

# Of the largest number in a tensor. Sums in another order differ by far less; TF32 on a GPU by up to this.
_TOLERANCES = {"cpu": 1e-3, "cuda": 2e-2}


def check_dense(plan: ExecutionPlan, pool: ArenaPool, verified: VerifiedTrace, block_px: int) -> None:
    """Run the second frame densely, and compare with what the module made of it.

    In float16 nothing is compared: how far rounding goes there depends on the network.

    Raises:
        UnsupportedModule: with the path of the first submodule that differs.
    """
    if plan.dtype != torch.float32:
        return
    tolerance = _TOLERANCES.get(plan.device.type, 1e-3)
    try:
        runner, _ = run_dense(plan, pool, verified.second, block_px)
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
        raise UnsupportedModule(str(error)) from error
    found = verified.find_difference(tree_leaves(runner.outputs()), tolerance)
    if found is not None:
        path = _first_difference(runner, verified, tolerance)
        raise UnsupportedModule(f"model{path}: the executor's result is not the module's ({found})")


def _first_difference(runner: NodeRunner, verified: VerifiedTrace, tolerance: float) -> str:
    """The path of the first node whose result is not what the module had there, after a dot; or nothing."""
    plan = runner.plan
    last = {node: value for value, node in plan.graph.values.items()}  # behind what was fused into it
    for index, node in enumerate(plan.nodes):
        wanted = verified.recorder.unchanged_tensor(last[index]) if index in last else None
        if index == 0 or wanted is None:
            continue
        made = runner.view(index).permute(2, 0, 1)[None] if node.is_map else runner.tensors[index]
        if made.shape == wanted.shape and leaf_difference(made, wanted, tolerance) is not None:
            return f".{node.name}"
    return ""
