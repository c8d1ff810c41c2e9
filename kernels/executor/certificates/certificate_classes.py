"""Which maps share a certificate: follows from the graph alone, found once a plan.

Maps of one class depend on the same pixels at every position, move by the same periods and meet padding at
the same rows and columns. A pointwise layer is in the class of its input, and so is an addition where what
one input depends on is among what the other does.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch

from kernels.executor.graph.nodes import Input, Node, TensorToMap
from kernels.executor.graph.tap_tables import includes_identity, is_identity
from kernels.executor.plan.execution_plan import ExecutionPlan, Resolution


@dataclass(frozen=True, slots=True)
class ClassInput:
    """What a class reads of another: the tables of `kernels.executor.graph.tap_tables`, (outputs, K) each."""

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
        inputs: what the maps depend on; none for the frame, and for maps made from a dense call.
        from_dense_call: whether the maps are made from the result of a dense call, and so depend on the whole
            frame.
    """

    resolution: Resolution
    period: tuple[int, int]
    rows: torch.Tensor
    columns: torch.Tensor
    inputs: tuple[ClassInput, ...] = ()
    from_dense_call: bool = False

    @property
    def size(self) -> tuple[int, int]:
        return self.resolution.height, self.resolution.width


@dataclass(slots=True)
class CertificateClasses:
    """The classes of a plan, each behind those it depends on; the frame's is the first.

    Attributes:
        classes: in this order.
        of_node: class of each map node; None for tensors that are no maps.
    """

    classes: list[CertificateClass] = field(default_factory=list)
    of_node: list[int | None] = field(default_factory=list)

    def of(self, node: int) -> int:
        found = self.of_node[node]
        if found is None:
            raise TypeError(f"node {node} is no map")
        return found


def find_classes(plan: ExecutionPlan) -> CertificateClasses:
    """The certificate classes of a plan's maps."""
    made = CertificateClasses()
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
        inputs = _inputs(made, node, covered)
        identity = (plan.resolution_of(index), node.period, id(border[0]), id(border[1]))
        key = (isinstance(node.operation, TensorToMap), _key(inputs), identity)
        if len(inputs) == 1 and _reads_itself(inputs[0]) and identities[inputs[0].source] == identity:
            known[key] = inputs[0].source
        if key not in known:
            known[key] = len(made.classes)
            identities.append(identity)
            entered = isinstance(node.operation, TensorToMap)
            resolution = plan.resolutions[plan.resolution_of(index)]
            made.classes.append(CertificateClass(resolution, node.period, *border, inputs, entered))
            own = (covered[read.source] for read in inputs if _covers(read))
            covered.append(frozenset({known[key]}).union(*own))
        made.of_node.append(known[key])
    return made


def _inputs(made: CertificateClasses, node: Node, covered: list[frozenset[int]]) -> tuple[ClassInput, ...]:
    """What a node reads, without inputs that another input depends on anyway."""
    if isinstance(node.operation, (TensorToMap, Input)):
        return ()
    inputs: dict[object, ClassInput] = {}
    for source, (vertical, horizontal) in zip(node.inputs, node.taps, strict=True):
        read = ClassInput(made.of(source), vertical, horizontal)
        inputs.setdefault(_key((read,)), read)
    needed = dict(inputs)
    for key, read in inputs.items():
        others = [other for name, other in needed.items() if name != key and _covers(other)]
        if _reads_itself(read) and any(read.source in covered[other.source] for other in others):
            del needed[key]
    return tuple(needed.values())


def _key(inputs: tuple[ClassInput, ...]) -> frozenset[object]:
    return frozenset(
        (read.source,) if _reads_itself(read) else (read.source, id(read.vertical), id(read.horizontal))
        for read in inputs
    )


def _reads_itself(read: ClassInput) -> bool:
    """Whether each position reads the same position, and no other."""
    return is_identity(read.vertical) and is_identity(read.horizontal)


def _covers(read: ClassInput) -> bool:
    """Whether each position reads the same position, perhaps among others."""
    return includes_identity(read.vertical) and includes_identity(read.horizontal)
