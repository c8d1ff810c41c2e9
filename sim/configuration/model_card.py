"""Model cards: which network is meant, in one word; `conf/model/<name>.yaml` or one of a user's own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from sim.configuration import lookup
from sim.configuration.plugins import NAME
from sim.configuration.reading import read_section
from sim.configuration.sections import ModelConfig
from traces.errors import InputError


def read_card(section: Mapping[str, Any], folders: Iterable[str] = ()) -> ModelConfig:
    """The card that a section holds, or names.

    Raises:
        InputError: no such card, an unknown key, a value that does not fit, or an unknown name.
    """
    name = section.get(NAME)
    if not isinstance(name, str):
        raise InputError(
            f"model.name: expected one of {', '.join(lookup.names('model', folders))}, found {name!r}"
        )
    if "profile" not in section:
        section = {**lookup.read(lookup.find("model", name, folders)), **section}
    card = read_section(ModelConfig, section, "model")
    for key, group, choice in (
        ("model.network", "model/network", card.network),
        ("model.stand_in", "model/network", card.stand_in),
        ("model.split", "model/split", card.split),
    ):
        if choice is not None:  # also where this run does not need it
            lookup.find(group, choice, folders, key)
    return card


def own_network(card: ModelConfig, folders: Iterable[str] = ()) -> str | None:
    """The network that the card's file names, whatever a run has put in its place."""
    if card.name not in lookup.names("model", folders):
        return card.network
    network = lookup.read(lookup.find("model", card.name, folders)).get("network")
    return network if isinstance(network, str) else None
