"""What a configuration names, found and read: the system, the devices' profiles, the video, the codecs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from typing import TYPE_CHECKING

from conf.search_path import group_folders
from profiler.latency import Cut, Profile, load_profile, load_split_table, warn_if_disturbed
from sim.accuracy.choice import NetworkChoice, network_in_loop
from sim.assembly.video import VideoView, open_view
from sim.configuration.model_card import read_card
from sim.configuration.plugins import Plugin, find_plugin, read_plugin
from sim.configuration.sections import ModelConfig, RunConfig
from sim.schedulers import EffectiveAccuracyObjective, OracleScheduler, Scheduler
from traces.errors import InputError, place_of

if TYPE_CHECKING:
    from kernels.codecs.block_codecs import BlockCodec


@dataclass(frozen=True, slots=True)
class Ingredients:
    """What a configuration names, found and read; the same for all cameras."""

    system: Plugin
    card: ModelConfig
    edge: Profile
    cloud: Profile
    network: NetworkChoice | None
    view: VideoView
    scheduler: Scheduler
    oracle: OracleScheduler | None
    estimators: Plugin
    codecs: Callable[[str | None, int | None], BlockCodec]
    cuts: Callable[[], tuple[Cut, ...]]


def read_ingredients(config: RunConfig) -> Ingredients:
    """Find and read all of it.

    Raises:
        InputError: something named does not exist or does not fit the rest.
    """
    folders = config.config_folders
    system = read_plugin("system", config.system, folders)
    card = read_card(config.model, folders)
    edge = read_profile_of(config.edge, card, folders, "edge")
    cloud = read_profile_of(config.cloud, card, folders, "cloud")
    network = network_in_loop(config, card, getattr(system.options, "unmeasured", None))
    view = open_view(config, edge, network)
    if config.video.kind == "statistical" and not getattr(system.kind, "works_without_pixels", False):
        raise InputError(
            f"video.kind: system {system.name!r} needs pixels: expected scene or file, found 'statistical' "
            f"({place_of(system.kind)} does not say works_without_pixels = True)"
        )
    objective = EffectiveAccuracyObjective(config.decay_per_s, config.accuracy.dense)
    return Ingredients(
        system=system,
        card=card,
        edge=edge,
        cloud=cloud,
        network=network,
        view=view,
        scheduler=read_plugin("scheduler", config.scheduler, folders, ("lambda_per_s",)).make(objective),
        oracle=OracleScheduler(objective, OracleScheduler.Options()) if config.regret else None,
        estimators=read_plugin("estimator", config.estimator, folders),
        codecs=partial(_codec, config, folders),
        cuts=cache(partial(_cuts, card, folders)),
    )


def read_profile_of(device: str, card: ModelConfig, folders: tuple[str, ...], key: str) -> Profile:
    """A device's profile of the card's model.

    Raises:
        InputError: there is none, or one made at another resolution than the card's.

    Warns:
        UserWarning: it was measured on a disturbed machine.
    """
    profile = load_profile(device, card.profile, group_folders("profile", folders), key)
    if tuple(profile.resolution_px) != card.resolution_px:
        height_px, width_px = card.resolution_px
        raise InputError(
            f"model.resolution_px: expected {profile.resolution_px[0]}x{profile.resolution_px[1]} px, at "
            f"which {card.profile!r} was profiled on {device!r}, found {height_px}x{width_px}"
        )
    warn_if_disturbed(profile)
    return profile


def _codec(config: RunConfig, folders: tuple[str, ...], name: str | None, quality: int | None) -> BlockCodec:
    """A codec of blocks: the payload's, or one of a system's own name or quality.

    The payload's quality is that of its codec, whoever names it; of another codec it says nothing.

    Raises:
        InputError: no such codec, or a quality that it refuses or does not have.
    """
    payload = config.payload
    own = name is not None or quality is not None
    key = "payload.quality" if quality is None else "system.quality"
    name = payload.codec if name is None else name
    if quality is None and name == payload.codec:
        quality = payload.quality
    plugin = find_plugin("payload/codec", name, folders, "system.codec" if own else None, quality=quality)
    if quality is not None and getattr(plugin.options, "quality", None) != quality:
        raise InputError(f"{key}: expected null with {name!r}, whose YAML has no quality, found {quality}")
    made: BlockCodec = plugin.make()
    return made


def _cuts(card: ModelConfig, folders: tuple[str, ...]) -> tuple[Cut, ...]:
    if card.split is None:
        raise InputError(f"model.split: expected a split table of card {card.name!r}, found none")
    return load_split_table(card.split, group_folders("model/split", folders)).cuts
