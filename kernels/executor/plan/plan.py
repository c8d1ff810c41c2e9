"""The plan of one graph: where every map lives, what a cache must keep, and which backend does what.

Concatenation and splitting move no data where a map can be written straight into its slice of the wider
buffer. What has to outlive a frame depends on the policy: `fixed` needs only maps that are read around an
active position (halos), at another resolution, or whole; `exact` and `truncate` need every map.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction

import torch

from kernels.executor.graph import geometry
from kernels.executor.graph.nodes import (
    Concat,
    Convolve,
    Enter,
    Graph,
    Input,
    Node,
    Pointwise,
    Pool,
    Slice,
    Unfold,
    Upsample,
)
from kernels.ops import registry
from kernels.ops.maps import Convolution, Window
from kernels.ops.registry import Choice


@dataclass(frozen=True, slots=True)
class Resolution:
    """Size of a map, and the pixels of the frame that a position stands for, down and across."""

    height: int
    width: int
    scale_y: Fraction
    scale_x: Fraction


@dataclass(frozen=True, slots=True)
class Place:
    """Channels [start, start + channels) of a buffer."""

    slot: int
    start: int
    channels: int


@dataclass(slots=True)
class Plan:
    """Everything about a graph that does not depend on the frame.

    Attributes:
        graph: the nodes.
        bilinear: whether caches are sampled between positions.
        device, dtype: of the maps.
        slots: (H, W, C) of every buffer.
        places: where each map node lives (None for values).
        copies: for a concatenation, the inputs that could not be placed: (input node, first channel).
        resolutions: the different resolutions of its maps.
        levels: for each map node, which of the resolutions it has.
        slot_levels: the same for each slot.
        offsets: first float of each slot in the memory that holds it, a cache's or the shared one.
        cache_floats, shared_floats: size of these.
        kept: regions of each slot that a cache must keep, merged.
        shared: slots that no cache keeps; one set serves every frame.
        convolutions: packed, by node.
        dense: weight and bias for torch's own convolution, where the backend's is not used for dense runs.
        choices: the backend of each operation.
        counted: the layers that reports list: maps with work of their own.
        borders: per map node, which rows and columns read padding on some path: (bool (H,), bool (W,)).
        break_even: by node, the share of active positions from which it runs everywhere, where `calibrate`
            measured one under the policy that the plan was made for: for "fixed" tiles of blocks with their
            halos against the fastest full run there is, for "exact" and "truncate" a list of positions (and
            moving the rest) against the same kernel everywhere. Absent: the policy's own default, which for
            "fixed" is never.
    """

    graph: Graph
    bilinear: bool
    device: torch.device
    dtype: torch.dtype = torch.float32
    slots: list[tuple[int, int, int]] = field(default_factory=list)
    places: list[Place | None] = field(default_factory=list)
    copies: dict[int, list[tuple[int, int]]] = field(default_factory=dict)
    resolutions: list[Resolution] = field(default_factory=list)
    levels: list[int | None] = field(default_factory=list)
    slot_levels: list[int] = field(default_factory=list)
    offsets: list[int] = field(default_factory=list)
    cache_floats: int = 0
    shared_floats: int = 0
    kept: dict[int, list[Place]] = field(default_factory=dict)
    shared: set[int] = field(default_factory=set)
    convolutions: dict[int, Convolution] = field(default_factory=dict)
    dense: dict[int, tuple[torch.Tensor, torch.Tensor | None]] = field(default_factory=dict)
    choices: dict[int, Choice] = field(default_factory=dict)
    remapper: Choice | None = None
    counted: list[int] = field(default_factory=list)
    borders: list[tuple[torch.Tensor, torch.Tensor] | None] = field(default_factory=list)
    break_even: dict[int, float] = field(default_factory=dict)

    @property
    def nodes(self) -> list[Node]:
        return self.graph.nodes

    def place(self, node: int) -> Place:
        found = self.places[node]
        if found is None:
            raise TypeError(f"{self.nodes[node].name} is no map")
        return found

    def region_of(self, place: Place) -> Place:
        """The kept region that a place lies in.

        Raises:
            KeyError: no cache keeps it.
        """
        for region in self.kept[place.slot]:
            if region.start <= place.start and place.start + place.channels <= region.start + region.channels:
                return region
        raise KeyError(place)

    def level(self, node: int) -> int:
        found = self.levels[node]
        if found is None:
            raise TypeError(f"{self.nodes[node].name} is no map")
        return found


def make_plan(
    graph: Graph,
    policy: str,
    backend: str | None,
    device: torch.device,
    bilinear: bool = False,
    dtype: torch.dtype = torch.float32,
) -> Plan:
    """Place the maps of a graph, decide what is kept under `policy`, and pick the backends.

    Raises:
        ValueError: a backend that was asked for cannot run here.
    """
    plan = Plan(graph=graph, bilinear=bilinear, device=device, dtype=dtype)
    for node in graph.nodes:
        if node.is_map:
            height, width, _ = node.map_shape()
            resolution = Resolution(height, width, *node.map_scale())
            if resolution not in plan.resolutions:
                plan.resolutions.append(resolution)
            plan.levels.append(plan.resolutions.index(resolution))
        else:
            plan.levels.append(None)
    _place(plan)
    _keep(plan, everything=policy != "fixed")
    _lay_out(plan)
    _choose(plan, backend)
    plan.counted = [
        index
        for index, node in enumerate(graph.nodes)
        if node.is_map and not isinstance(node.work, (Input, Slice, Concat))
    ]
    plan.borders = [None] * len(graph.nodes)
    interned: dict[tuple[bool, ...], torch.Tensor] = {}
    for index, node in enumerate(graph.nodes):
        if node.is_map:
            rows, columns = (interned.setdefault(tuple(edge.tolist()), edge) for edge in _border(plan, node))
            plan.borders[index] = (rows, columns)
    return plan


def reads_around(node: Node, position: int) -> bool:
    """Whether a node reads its input number `position` anywhere but where it writes."""
    if isinstance(node.work, (Pointwise, Concat, Slice)):
        return False
    if isinstance(node.work, Convolve):
        window = node.work.window
        return position == 0 and window != Window((1, 1))
    return not isinstance(node.work, Unfold)


def dense_weights(work: Convolve, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Weight and bias as torch's own convolution takes them, for `Plan.dense`."""
    weight = work.weight.to(dtype, memory_format=torch.channels_last)
    return weight, None if work.bias is None else work.bias.to(dtype)


def _place(plan: Plan) -> None:
    nodes = plan.nodes
    parent: dict[int, tuple[int, int]] = {}  # node -> (concatenation that owns it, first channel)
    for index, node in enumerate(nodes):
        if not isinstance(node.work, Concat):
            continue
        start, position = 0, 0
        while position < len(node.inputs):
            base, taken = _whole_base(nodes, node.inputs, position)
            channels = nodes[base].map_shape()[2]
            if base != 0 and base not in parent and not isinstance(nodes[base].work, Slice):
                parent[base] = (index, start)
            else:
                plan.copies.setdefault(index, []).append((base, start))
            start += channels
            position += taken
    plan.places = [None] * len(nodes)

    def resolve(index: int) -> Place:
        found = plan.places[index]
        if found is not None:
            return found
        node = nodes[index]
        channels = node.map_shape()[2]
        if isinstance(node.work, Slice):
            base = resolve(node.inputs[0])
            place = Place(base.slot, base.start + node.work.start, channels)
        elif index in parent:
            owner, start = parent[index]
            base = resolve(owner)
            place = Place(base.slot, base.start + start, channels)
        else:
            plan.slots.append(node.map_shape())
            plan.slot_levels.append(plan.level(index))
            place = Place(len(plan.slots) - 1, 0, channels)
        plan.places[index] = place
        return place

    for index, node in enumerate(nodes):
        if node.is_map:
            resolve(index)


def _whole_base(nodes: list[Node], inputs: tuple[int, ...], position: int) -> tuple[int, int]:
    """The map at inputs[position], or the one that it and the inputs after it are all the slices of.

    Returns:
        node, and how many inputs it stands for.
    """
    first = nodes[inputs[position]]
    if not isinstance(first.work, Slice) or first.work.start != 0:
        return inputs[position], 1
    base, end, taken = first.inputs[0], 0, 0
    for index in inputs[position:]:
        piece = nodes[index]
        if not isinstance(piece.work, Slice) or piece.inputs[0] != base or piece.work.start != end:
            break
        end, taken = piece.work.stop, taken + 1
        if end == nodes[base].map_shape()[2]:
            return base, taken
    return inputs[position], 1


def _keep(plan: Plan, everything: bool) -> None:
    nodes, readers = plan.nodes, plan.graph.consumers()
    keep = [everything and node.is_map for node in nodes]
    for index in plan.graph.output_nodes():
        keep[index] = nodes[index].is_map
    for index in reversed(range(len(nodes))):
        if not nodes[index].is_map or index == 0 or keep[index]:
            continue
        for reader in readers[index]:
            node = nodes[reader]
            if isinstance(node.work, (Slice, Concat)):
                keep[index] |= keep[reader]
            else:
                around = not node.is_map or any(
                    reads_around(node, position)
                    for position, source in enumerate(node.inputs)
                    if source == index
                )
                keep[index] |= around
    keep[0] = everything  # the frame itself: only certificates and pruning look back at it
    regions: dict[int, list[tuple[int, int]]] = {}
    for index in range(len(nodes)):
        if keep[index]:
            place = plan.place(index)
            regions.setdefault(place.slot, []).append((place.start, place.start + place.channels))
    for slot, spans in regions.items():
        merged: list[tuple[int, int]] = []
        for start, stop in sorted(spans):
            if merged and start <= merged[-1][1]:
                merged[-1] = (merged[-1][0], max(stop, merged[-1][1]))
            else:
                merged.append((start, stop))
        plan.kept[slot] = [Place(slot, start, stop - start) for start, stop in merged]
    plan.shared = set(range(len(plan.slots))) - set(plan.kept)


def _lay_out(plan: Plan) -> None:
    """Slots one after another, each at a multiple of 64 bytes."""
    for slot, (height, width, channels) in enumerate(plan.slots):
        floats = -(-height * width * channels // 16) * 16
        if slot in plan.shared:
            plan.offsets.append(plan.shared_floats)
            plan.shared_floats += floats
        else:
            plan.offsets.append(plan.cache_floats)
            plan.cache_floats += floats


def _choose(plan: Plan, backend: str | None) -> None:
    device = plan.device.type
    plan.remapper = registry.choose("remap", device, backend, dtype=plan.dtype, bilinear=plan.bilinear)
    for index, node in enumerate(plan.nodes):
        work = node.work
        # Bilinear halos are read from maps remapped beforehand, so no operation but remap interpolates.
        traits = {"dtype": plan.dtype, "bilinear": False}
        if isinstance(work, Convolve):
            choice = registry.choose(
                "convolve",
                device,
                backend,
                groups=work.groups,
                in_channels=work.weight.shape[1] * work.groups,
                out_channels=work.weight.shape[0],
                kernel=work.window.kernel,
                stride=work.window.stride,
                dilation=work.window.dilation,
                activation=work.activation,
                **traits,
            )
            plan.convolutions[index] = choice.module.pack_convolution(
                work.weight.to(plan.dtype), work.bias, work.window, work.groups, work.activation, work.slope
            )
            if choice.name != "cpu":
                plan.dense[index] = dense_weights(work, plan.dtype)
        elif isinstance(work, Unfold):
            outputs, inputs = work.weight.shape[:2]
            choice = registry.choose(
                "convolve",
                device,
                backend,
                groups=1,
                in_channels=inputs,
                out_channels=outputs,
                kernel=(1, 1),
                stride=(1, 1),
                dilation=(1, 1),
                activation=work.activation,
                **traits,
            )
            plan.convolutions[index] = choice.module.pack_convolution(
                work.weight.to(plan.dtype), work.bias, Window((1, 1)), 1, work.activation, work.slope
            )
        elif isinstance(work, Pool):
            choice = registry.choose("pool", device, backend, kernel=work.window.kernel, **traits)
        elif isinstance(work, Upsample):
            choice = registry.choose("upsample", device, backend, **traits)
        elif isinstance(work, (Pointwise, Concat)):
            choice = registry.choose("pointwise", device, backend, **traits)
        else:
            continue
        plan.choices[index] = choice


def _border(plan: Plan, node: Node) -> tuple[torch.Tensor, torch.Tensor]:
    height, width, _ = node.map_shape()
    rows, columns = torch.zeros(height, dtype=torch.bool), torch.zeros(width, dtype=torch.bool)
    if isinstance(node.work, Enter):
        return rows, columns
    for source, (vertical, horizontal) in zip(node.inputs, node.taps, strict=True):
        before = plan.borders[source]
        if before is None:
            continue
        for mine, theirs, table in ((rows, before[0], vertical), (columns, before[1], horizontal)):
            outside = table == geometry.OUTSIDE
            mine |= (outside | theirs[table.clamp(min=0)]).any(dim=1)
    return rows, columns


__all__ = ["Place", "Plan", "Resolution", "dense_weights", "make_plan", "reads_around"]
