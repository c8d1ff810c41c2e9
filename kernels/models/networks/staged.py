"""The default network stage by stage: what is computed up to a cut, what crosses it, and the exits.

The same modules in the same order as `DefaultNetwork.forward`, which stays the definition: a test compares
them bit by bit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

import torch
from torch import Tensor

from kernels.models.networks.default_network import DefaultNetwork, load_default_network
from kernels.models.networks.exit_heads import EXITS, ExitHead, ExitHeads, load_exit_heads, to_output_stride

Maps: TypeAlias = dict[str, Tensor]  # feature maps by the stage that made them
INPUT, OUTPUT = "input", "head"


def _up(net: DefaultNetwork, coarse: Tensor, fine: Tensor) -> Tensor:
    return torch.cat([net.upsample(coarse), fine], dim=1)


@dataclass(frozen=True, slots=True)
class _Stage:
    """One stage: what it reads, and how it makes its own map of that."""

    name: str
    reads: tuple[str, ...]
    make: Callable[..., Tensor]


_STAGES = (
    _Stage("stem", (INPUT,), lambda net, x: net.stem(x)),
    _Stage("stage4", ("stem",), lambda net, x: net.stage4(x)),
    _Stage("stage8", ("stage4",), lambda net, x: net.stage8(x)),
    _Stage("stage16", ("stage8",), lambda net, x: net.stage16(x)),
    _Stage("stage32", ("stage16",), lambda net, x: net.stage32(x)),
    _Stage("up16", ("stage32", "stage16"), lambda net, x, y: net.up16(_up(net, x, y))),
    _Stage("up8", ("up16", "stage8"), lambda net, x, y: net.up8(_up(net, x, y))),
    _Stage("up4", ("up8", "stage4"), lambda net, x, y: net.up4(_up(net, x, y))),
    _Stage(OUTPUT, ("up4",), lambda net, x: net.head(x)),
)
STAGES = (INPUT, *(stage.name for stage in _STAGES))


def live_after(name: str) -> tuple[str, ...]:
    """The maps that exist after a stage and are read behind it: what crosses a cut there.

    After the last stage it is the output. A map that only an exit would read again is not among them: every
    exit reads maps that the network itself still needs.

    Raises:
        ValueError: no such stage.
    """
    if name not in STAGES:
        raise ValueError(f"cut must be after one of {', '.join(STAGES)} (got {name!r})")
    if name == OUTPUT:
        return (OUTPUT,)
    place = STAGES.index(name)
    behind = {read for stage in _STAGES[place:] for read in stage.reads}
    return tuple(made for made in STAGES[: place + 1] if made in behind)


@dataclass(frozen=True, slots=True, eq=False)
class StagedNetwork:
    """A network that can be stopped, cut and left early.

    Args:
        network: the default network.
        heads: its exits.
    """

    network: DefaultNetwork
    heads: ExitHeads
    exits: tuple[str, ...] = field(default=tuple(place.after for place in EXITS))
    stages: tuple[str, ...] = STAGES

    @property
    def classes(self) -> int:
        """How many it tells apart, background included."""
        return self.network.head.out_channels

    def elements(self, height_px: int, width_px: int) -> dict[str, int]:
        """Values of each stage's map for a frame of that size."""
        with torch.device("meta"):
            network = DefaultNetwork()
            known: Maps = {INPUT: torch.empty(1, 3, height_px, width_px)}
        with torch.no_grad():
            for stage in _STAGES:
                known[stage.name] = stage.make(network, *(known[read] for read in stage.reads))
        return {name: tensor.numel() for name, tensor in known.items()}

    def live_after(self, name: str) -> tuple[str, ...]:
        """As :func:`live_after`."""
        return live_after(name)

    def run(self, maps: Mapping[str, Tensor], after: str, until: str) -> Maps:
        """The stages behind `after` up to and with `until`.

        Args:
            maps: those that are live after `after`; more do no harm.

        Returns:
            All maps that are live after `until`.

        Raises:
            ValueError: `until` comes before `after`, or there is no such stage.
        """
        first, last = STAGES.index(after), STAGES.index(until)
        if last < first:
            raise ValueError(f"until must not come before {after!r} (got {until!r})")
        known = dict(maps)
        with torch.inference_mode():
            for stage in _STAGES[first:last]:
                known[stage.name] = stage.make(self.network, *(known[read] for read in stage.reads))
        return {name: known[name] for name in live_after(until)}

    def everything(self, frame: Tensor) -> tuple[Maps, Tensor]:
        """The map of every stage, and the output, for training.

        Args:
            frame: (B, 3, H, W) in [0, 1].
        """
        known: Maps = {INPUT: frame}
        with torch.no_grad():
            for stage in _STAGES:
                known[stage.name] = stage.make(self.network, *(known[read] for read in stage.reads))
        return known, known[OUTPUT]

    def head(self, exit_after: str) -> ExitHead:
        """An exit's head."""
        head = self.heads.heads[exit_after]
        assert isinstance(head, ExitHead)
        return head

    def exit(self, maps: Mapping[str, Tensor], exit_after: str) -> tuple[Tensor, Tensor]:
        """An exit's class logits at stride 4, and its embedding, from the maps live after its stage."""
        head = self.head(exit_after)
        with torch.inference_mode():
            embedding = head.embedding(maps)
            return to_output_stride(head.logits(embedding), head.place.fine_stride_px), embedding


def load_staged() -> StagedNetwork:
    """The default network with its exits and the weights that come along."""
    network = load_default_network()
    assert isinstance(network, DefaultNetwork)
    return StagedNetwork(network, load_exit_heads())


def shares(staged: StagedNetwork) -> tuple[dict[str, float], dict[str, float]]:
    """The share of the network's multiplications up to each stage, and of each exit's head on top of it.

    Both count convolutions, on shapes alone. Heads are not part of the whole, the network without them.
    """
    from torch.utils.flop_counter import FlopCounterMode

    side_px = 64  # shares are those of any size
    with torch.device("meta"):
        network, heads = DefaultNetwork(), ExitHeads()
        known: Maps = {INPUT: torch.empty(1, 3, side_px, side_px)}
    until = {INPUT: 0}
    done = 0
    with torch.no_grad():
        for stage in _STAGES:
            with FlopCounterMode(display=False) as counter:
                known[stage.name] = stage.make(network, *(known[read] for read in stage.reads))
            done += counter.get_total_flops()
            until[stage.name] = done
        on_top = {}
        for name in staged.exits:
            with FlopCounterMode(display=False) as counter:
                heads.heads[name](known)
            on_top[name] = counter.get_total_flops()
    return (
        {name: flops / done for name, flops in until.items()},
        {name: flops / done for name, flops in on_top.items()},
    )
