"""Which maps share their certificates: known from the graph alone, worked out once a plan.

Maps of one class depend on the same pixels at every position, move by the same periods and meet padding at
the same rows and columns. A pointwise layer is in the class of its input, and so is an addition where what
one input depends on is among what the other does.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch

from kernels.executor.graph.geometry import is_identity, is_own
from kernels.executor.graph.nodes import Enter, Input, Node
from kernels.executor.plan.plan import Plan, Resolution


@dataclass(frozen=True, slots=True)
class Part:
    """What a class reads of another: the tables of `kernels.executor.graph.geometry`, (outputs, K) each."""

    source: int
    vertical: torch.Tensor
    horizontal: torch.Tensor


@dataclass(frozen=True, slots=True)
class CertificateClass:
    """Maps with one certificate.

    Attributes:
        resolution: of these maps.
        period: pixels that a motion must be a multiple of, (vertical, horizontal).
        rows, columns: bool, which read padding on some path.
        parts: what the maps depend on; none for the frame, and for what comes from a value.
        behind_value: whether the maps come from a value, and so from all of the frame.
    """

    resolution: Resolution
    period: tuple[int, int]
    rows: torch.Tensor
    columns: torch.Tensor
    parts: tuple[Part, ...] = ()
    behind_value: bool = False

    @property
    def size(self) -> tuple[int, int]:
        return self.resolution.height, self.resolution.width


@dataclass(slots=True)
class Classes:
    """The classes of a plan, each behind those it depends on; the frame's is the first.

    Attributes:
        classes: themselves.
        of_node: class of each map node; None for values.
    """

    classes: list[CertificateClass] = field(default_factory=list)
    of_node: list[int | None] = field(default_factory=list)

    def of(self, node: int) -> int:
        found = self.of_node[node]
        if found is None:
            raise TypeError(f"node {node} is no map")
        return found


def find_classes(plan: Plan) -> Classes:
    """The certificate classes of a plan's maps."""
    made = Classes()
    known: dict[object, int] = {}
    identities: list[tuple[object, ...]] = []
    # Classes whose every position depends on at least the pixels of the same position of another.
    covered: list[frozenset[int]] = []
    for index, node in enumerate(plan.nodes):
        if not node.is_map:
            made.of_node.append(None)
            continue
        border = plan.borders[index]
        assert border is not None
        parts = _parts(made, node, covered)
        identity = (plan.level(index), node.period, id(border[0]), id(border[1]))
        key = (isinstance(node.work, Enter), _key(parts), identity)
        if len(parts) == 1 and _reads_itself(parts[0]) and identities[parts[0].source] == identity:
            known[key] = parts[0].source
        if key not in known:
            known[key] = len(made.classes)
            identities.append(identity)
            entered = isinstance(node.work, Enter)
            resolution = plan.resolutions[plan.level(index)]
            made.classes.append(CertificateClass(resolution, node.period, *border, parts, entered))
            own = (covered[part.source] for part in parts if _covers(part))
            covered.append(frozenset({known[key]}).union(*own))
        made.of_node.append(known[key])
    return made


def _parts(made: Classes, node: Node, covered: list[frozenset[int]]) -> tuple[Part, ...]:
    """What a node reads, without what another part depends on anyway."""
    if isinstance(node.work, (Enter, Input)):
        return ()
    parts: dict[object, Part] = {}
    for source, (vertical, horizontal) in zip(node.inputs, node.taps, strict=True):
        part = Part(made.of(source), vertical, horizontal)
        parts.setdefault(_key((part,)), part)
    needed = dict(parts)
    for key, part in parts.items():
        others = [other for name, other in needed.items() if name != key and _covers(other)]
        if _reads_itself(part) and any(part.source in covered[other.source] for other in others):
            del needed[key]
    return tuple(needed.values())


def _key(parts: tuple[Part, ...]) -> frozenset[object]:
    return frozenset(
        (part.source,) if _reads_itself(part) else (part.source, id(part.vertical), id(part.horizontal))
        for part in parts
    )


def _reads_itself(part: Part) -> bool:
    """Whether each position reads the same position, and no other."""
    return is_identity(part.vertical) and is_identity(part.horizontal)


def _covers(part: Part) -> bool:
    """Whether each position reads the same position, perhaps among others."""
    return is_own(part.vertical) and is_own(part.horizontal)
