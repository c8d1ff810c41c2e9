"""Running one node of a plan at some of its positions, or a recorded call on whole maps."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional
from torch.utils import _pytree as pytree

from kernels.executor.graph.module_trace import RecordedCall, TracedValue, first_line
from kernels.executor.graph.nodes import (
    Concat,
    Convolution,
    DenseCall,
    LocalCall,
    NodeOutput,
    Pointwise,
    Pooling,
    Slice,
    TensorToMap,
    TransposedConvolution,
    Upsample,
)
from kernels.executor.plan.execution_plan import ExecutionPlan
from kernels.executor.state.arenas import Arena, ArenaPool
from kernels.ops.cpu.operations import interleave
from kernels.ops.maps import Halo, list_tiles
from kernels.ops.reference.convolve import activate
from kernels.torch_versions import storage_of

# A recorded view assumed the strides of a contiguous image; ours are channels last.
_VIEWS = {"view", "_unsafe_view", "_reshape_alias"}
# These refuse channels last on the CPU, or (nearest, by a factor near 2) make something else of it.
_CONTIGUOUS = {"native_group_norm", "upsample_nearest2d"}


class NodeRunner:
    """Runs the nodes of a plan for one frame, and holds its maps and tensors.

    Attributes:
        arena: memory of the maps that the frame's cache will keep; the others are in the pool's workspace.
        tensors: results of dense calls, by node.
    """

    def __init__(self, plan: ExecutionPlan, pool: ArenaPool, arena: Arena) -> None:
        self.plan = plan
        self.arena = arena
        self.tensors: dict[int, torch.Tensor] = {}
        self._workspace = pool.workspace
        self._results: dict[int, Any] = {}

    def view(self, node: int) -> torch.Tensor:
        """The (H, W, C) map of a node."""
        found = self.arena.views.get(node)
        return self._workspace.views[node] if found is None else found

    def load(self, frame: torch.Tensor, near: tuple[torch.Tensor, int, int] | None = None) -> None:
        """Copy the frame (1, C, H, W) to the buffer of node 0, channels last.

        Args:
            near: the active blocks (bool rows × columns), their side, and the pixels around them that are
                read, where that is all that is read; None loads the whole frame.
        """
        if near is None or not frame.is_contiguous():
            self.view(0).copy_(frame[0].permute(1, 2, 0))
            return
        active, block_px, margin = near
        tiles = list_tiles(active) * block_px
        interleave(frame[0], tiles, (block_px, block_px), margin, self.view(0))

    def compute(
        self,
        index: int,
        tiles: torch.Tensor,
        tile: tuple[int, int],
        halo: Halo | None = None,
        out: torch.Tensor | None = None,
    ) -> None:
        """Run a node at the tiles of its output.

        Args:
            index: a map node other than `LocalCall` and `TensorToMap`.
            tiles, tile: output positions; for `TransposedConvolution`, positions of its *input*.
            halo: of the node's first input.
            out: where to write instead of the node's own map.
        """
        node = self.plan.nodes[index]
        operation = node.operation
        if isinstance(operation, Slice) or (isinstance(operation, Concat) and index not in self.plan.copies):
            return
        to = self.view(index) if out is None else out
        module = self.plan.backends[index].module
        if isinstance(operation, Convolution):
            residual = self.view(node.inputs[1]) if len(node.inputs) == 2 else None
            module.convolve(
                self.plan.convolutions[index], self.view(node.inputs[0]), tiles, tile, to, residual, halo
            )
        elif isinstance(operation, TransposedConvolution):
            self._transposed(index, operation, tiles, tile, to)
        elif isinstance(operation, Pooling):
            module.pool(
                operation.kind,
                operation.window,
                self.view(node.inputs[0]),
                tiles,
                tile,
                to,
                operation.count_padding,
                halo,
            )
        elif isinstance(operation, Upsample):
            module.upsample(
                operation.mode, self.view(node.inputs[0]), tiles, tile, to, operation.align_corners, halo
            )
        elif isinstance(operation, Pointwise):
            second = self.view(node.inputs[1]) if len(node.inputs) == 2 else None
            if second is not None and second.shape[:2] != to.shape[:2]:  # one position for all
                second = second.expand(to.shape)
                second = second if self.plan.backends[index].name == "cpu" else second.contiguous()
            module.pointwise(
                operation.function,
                self.view(node.inputs[0]),
                second,
                tiles,
                tile,
                to,
                operation.activation,
                operation.slope,
            )
        elif isinstance(operation, Concat):
            for source, start in self.plan.copies[index]:
                part = self.view(source)
                module.pointwise("copy", part, None, tiles, tile, to[:, :, start : start + part.shape[2]])
        else:
            raise TypeError(f"{node.name}: {type(operation).__name__} does not run at positions")

    def _transposed(
        self,
        index: int,
        operation: TransposedConvolution,
        tiles: torch.Tensor,
        tile: tuple[int, int],
        to: torch.Tensor,
    ) -> None:
        """A patch for each input position: one product for all of its pixels, then each in its place."""
        source = self.view(self.plan.nodes[index].inputs[0])
        height, width, _ = source.shape
        module = self.plan.backends[index].module
        if operation.order:
            patches = _shuffled(source, operation)
        else:
            outputs = operation.outputs * operation.factor[0] * operation.factor[1]
            patches = source.new_empty(height, width, outputs)
            module.convolve(self.plan.convolutions[index], source, tiles, tile, patches)
        rows = torch.arange(tile[0], device=tiles.device).repeat_interleave(tile[1])
        columns = torch.arange(tile[1], device=tiles.device).repeat(tile[0])
        y, x = (tiles[:, :1] + rows).flatten(), (tiles[:, 1:] + columns).flatten()
        # Positions beyond the map read its border, and scatter skips them: nothing waits for a device here.
        corners = torch.stack([y * operation.factor[0], x * operation.factor[1]], dim=1).int()
        made = patches[y.clamp(max=height - 1).long(), x.clamp(max=width - 1).long()]
        module.scatter(made.view(-1, *operation.factor, to.shape[2]), corners.contiguous(), to)

    def compute_dense(self, index: int) -> None:
        """Run a convolution everywhere with torch's own: the fastest there is where everything is active."""
        node = self.plan.nodes[index]
        operation = node.operation
        if not isinstance(operation, Convolution):
            raise TypeError(f"{node.name}: {type(operation).__name__} has no dense form")
        image = self.view(node.inputs[0]).permute(2, 0, 1)[None]
        window = operation.window
        weight, bias = self.plan.torch_weights[index]
        made = functional.conv2d(
            image, weight, bias, window.stride, window.padding, window.dilation, operation.groups
        )
        made = activate(made, operation.activation, operation.slope)[0].permute(1, 2, 0)
        if len(node.inputs) == 2:
            made = made + self.view(node.inputs[1])
        self.view(index).copy_(made)

    def run_whole(self, index: int, only: torch.Tensor | None = None) -> None:
        """Run a `DenseCall`, `TensorToMap` or `LocalCall` node on whole inputs.

        Args:
            only: bool (H, W), the positions of its map to write; None for all.
        """
        node = self.plan.nodes[index]
        operation = node.operation
        if isinstance(operation, DenseCall):
            self.tensors[index] = self._call(operation.call, operation.result)
        elif isinstance(operation, (TensorToMap, LocalCall)):
            values = self.whole_map(index)
            if only is None:
                self.view(index).copy_(values)
            else:
                y, x = only.to(values.device).nonzero(as_tuple=True)
                self.view(index)[y, x] = values[y, x].to(self.plan.dtype)
        else:
            raise TypeError(f"{node.name}: {type(operation).__name__} runs at positions")

    def whole_map(self, index: int) -> torch.Tensor:
        """What a `TensorToMap` or `LocalCall` node makes of whole inputs, (H, W, C), not yet in its place."""
        node = self.plan.nodes[index]
        if isinstance(node.operation, LocalCall):
            made = self._call(node.operation.call, 0)
        else:
            made = self.tensors[node.inputs[0]]
        return made[0].permute(1, 2, 0)

    def _call(self, call: RecordedCall, result: int) -> torch.Tensor:
        key = id(call)
        if key not in self._results:
            try:
                self._results[key] = self._replay(call)
            except torch.OutOfMemoryError:
                raise
            except (LookupError, RuntimeError, TypeError, ValueError) as error:
                where = f"model.{call.path}".removesuffix(".")
                raise RuntimeError(f"{where}: {call.name} cannot be replayed: {first_line(error)}") from error
        made = self._results[key]
        found: torch.Tensor = made[result] if isinstance(made, (tuple, list)) else made
        return found

    def _replay(self, call: RecordedCall) -> Any:
        args = [self._argument(value) for value in call.args]
        kwargs = {name: self._argument(value) for name, value in call.kwargs.items()}
        if call.is_reinterpreted:
            image = args[0].float() if args[0].dtype == torch.float16 else args[0]
            return call.function(image.contiguous(), *args[1:], **kwargs)
        if call.name in _VIEWS:
            return args[0].reshape(args[1])
        if call.name in _CONTIGUOUS:
            return call.function(args[0].contiguous(), *args[1:], **kwargs)
        return call.function(*args, **kwargs)

    def _argument(self, leaf: Any) -> Any:
        if isinstance(leaf, (list, tuple)):
            return [self._argument(item) for item in leaf]
        if isinstance(leaf, torch.Tensor) and leaf.dtype == torch.float32:
            return leaf.to(self.plan.dtype)
        if not isinstance(leaf, TracedValue):
            return leaf
        node = self.plan.graph.values[leaf.index]
        if node in self.tensors:
            return self.tensors[node]
        return self.view(node).permute(2, 0, 1)[None]

    def outputs(self) -> Any:
        """The module's result, in its own structure; nothing in it is read again by another frame."""
        leaves = []
        for leaf in self.plan.graph.outputs:
            if not isinstance(leaf, NodeOutput):
                leaves.append(leaf.clone() if isinstance(leaf, torch.Tensor) else leaf)
                continue
            value = self.tensors.get(leaf.node)
            if value is None:
                value = self.view(leaf.node).permute(2, 0, 1)[None]
            if value.dtype == torch.float16:
                value = value.float()  # the module's own precision
            leaves.append(value.clone() if self._is_ours(value) else value)
        return pytree.tree_unflatten(leaves, self.plan.graph.structure)

    def _is_ours(self, value: torch.Tensor) -> bool:
        address = storage_of(value).data_ptr()
        return any(address == storage_of(ours.memory).data_ptr() for ours in (self.arena, self._workspace))


def _shuffled(source: torch.Tensor, operation: TransposedConvolution) -> torch.Tensor:
    """The channels of each position in the order of its patch."""
    order = torch.tensor(operation.order, device=source.device)
    return activate(source.index_select(2, order), operation.activation, operation.slope)


def output_dense_calls(plan: ExecutionPlan) -> list[int]:
    """The dense calls that the outputs depend on, in order: all that is left to run where no map changes."""
    wanted = set(plan.graph.output_nodes())
    for index in reversed(range(len(plan.nodes))):
        if index in wanted and not plan.nodes[index].is_map:
            wanted.update(plan.nodes[index].inputs)
    return [index for index in sorted(wanted) if not plan.nodes[index].is_map]


def runs_whole(plan: ExecutionPlan, index: int) -> bool:
    """Whether a node runs on whole inputs."""
    return isinstance(plan.nodes[index].operation, (DenseCall, TensorToMap, LocalCall))
