"""Which network runs where accuracy is measured: the model's own, or one that stands in for it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kernels.models.network import TASK_NAMES
from sim.configuration import lookup
from sim.configuration.model_card import own_network
from sim.configuration.plugins import find_plugin
from sim.configuration.sections import ModelConfig, RunConfig
from traces.errors import InputError

if TYPE_CHECKING:
    from kernels.models.network import Network


@dataclass(frozen=True, slots=True, eq=False)
class NetworkChoice:
    """A network that can run.

    Args:
        name: the YAML's file name, in `model/network`.
        network: loads it and reads its outputs.
        weights: a safetensors file; None: its own.
        stands_in: it is not the network whose latencies the run uses.
    """

    name: str
    network: Network
    weights: Path | None
    stands_in: bool

    @property
    def label(self) -> str:
        """What tables call it."""
        return f"{self.name} (stand-in)" if self.stands_in else self.name


def network_in_loop(config: RunConfig, card: ModelConfig, unmeasured: str | None) -> NetworkChoice | None:
    """The network that runs in a run's loop; None where accuracy is by coverage.

    Args:
        config: the run; with `accuracy.mode` "auto" accuracy is measured if it can be.
        card: the run's model.
        unmeasured: why what the system makes of frames cannot be measured; None: it can.

    Raises:
        InputError: accuracy is to be measured and cannot be; as :func:`find_network`.
    """
    mode = config.accuracy.mode
    if mode == "coverage":
        return None
    if mode == "measured":
        if unmeasured is not None:
            raise InputError(f"{unmeasured}: expected accuracy=coverage, found 'measured'")
        return choose_network(card, config.config_folders)
    if unmeasured is not None or config.video.kind == "statistical":
        return None
    return find_network(card, config.config_folders)


def choose_network(card: ModelConfig, folders: Iterable[str] = ()) -> NetworkChoice:
    """As :func:`find_network`, where one must be found.

    Raises:
        InputError: neither can run, and whatever :func:`find_network` refuses.
    """
    folders = tuple(folders)
    found = find_network(card, folders)
    if found is not None:
        return found
    own_weights = "" if card.network is None else f"model.weights=FILE of {card.network!r}, or "
    known = ", ".join(lookup.names("model/network", folders))
    raise InputError(
        f"model: card {card.name!r} has neither weights nor a stand-in, and accuracy is to be measured: "
        f"expected {own_weights}model.network or model.stand_in with its own "
        f"(networks: {known})"
    )


def find_network(card: ModelConfig, folders: Iterable[str] = ()) -> NetworkChoice | None:
    """The card's network if it has weights, or brings its own; else the card's stand-in; None: neither runs.

    Raises:
        InputError: an unknown network, a weights file that is not there.
    """
    folders = tuple(folders)
    own = own_network(card, folders)
    if card.network is not None:
        network = _open(card.network, folders, "model.network")
        if card.weights is not None:
            weights = Path(card.weights).expanduser()
            if not weights.is_file():
                raise InputError(f"model.weights: expected a safetensors file, found none at {weights}")
            return NetworkChoice(card.network, network, weights, card.network != own)
        if network.has_weights:
            return NetworkChoice(card.network, network, None, card.network != own)
    elif card.weights is not None:
        raise InputError("model.weights: expected model.network, whose weights they are, found none")
    if card.stand_in is not None:
        network = _open(card.stand_in, folders, "model.stand_in")
        if network.has_weights:
            return NetworkChoice(card.stand_in, network, None, card.stand_in != card.profile)
        raise InputError(
            f"model.stand_in: expected a network that brings its own weights, found {card.stand_in!r}"
        )
    return None


def _open(name: str, folders: tuple[str, ...], key: str) -> Network:
    network: Network = find_plugin("model/network", name, folders, key).make()
    task = getattr(network, "task", None)
    if task not in TASK_NAMES:
        raise InputError(
            f"{key}: expected network {name!r} to have a task of {', '.join(TASK_NAMES)}, found {task!r}"
        )
    return network
