"""From a configuration to a world that is ready to run: devices, links, cameras and the systems in them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from simpy import Environment

from conf.search_path import group_folders
from profiler.latency import Cut, Profile, load_profile, load_split_table, warn_if_disturbed
from sim.accuracy.choice import NetworkChoice, network_in_loop
from sim.accuracy.coverage import CoverageRuler
from sim.accuracy.evaluator import Evaluator
from sim.assembly.finder import FinderSource
from sim.assembly.replicate import replicate_seed
from sim.assembly.uplink import constant_rate, link_correlation_s, load_uplink, trace_name
from sim.assembly.video import VideoView, open_view
from sim.components.context import SystemContext
from sim.configuration.model_card import read_card
from sim.configuration.plugins import Plugin, find_plugin, read_plugin
from sim.configuration.sections import ModelConfig, RunConfig
from sim.physics.arrivals import Arrivals, ClosedLoop, PeriodicLatest, PeriodicQueue
from sim.physics.estimators import BandwidthEstimator
from sim.physics.fair_link import FairLink
from sim.physics.link import Link, LinkConditions
from sim.physics.processor import Processor
from sim.physics.radio import Radio
from sim.physics.trace_replay import replay
from sim.records.frame_table import EffectiveAccuracyMetric, FrameTable
from sim.records.overlay import Overlay
from sim.records.timeline import Timeline
from sim.schedulers import EffectiveAccuracyObjective, OracleScheduler, Scheduler
from sim.world.admission import Admission
from sim.world.camera import Camera
from sim.world.camera_world import CameraWorld
from sim.world.contract import checked_bound, checked_input, checked_payload
from sim.world.device import Device, Noise
from sim.world.simulation import Simulation
from sim.world.system import System
from traces.errors import InputError, place_of

if TYPE_CHECKING:
    from kernels.codecs.block_codecs import BlockCodec


@dataclass(frozen=True, slots=True)
class Assembly:
    """A world ready to run, and what its results must be read with."""

    simulation: Simulation
    metric: EffectiveAccuracyMetric
    edge: Profile
    cloud: Profile
    system_name: str
    payload_codec: str | None
    payload_quality: float | None
    model: ModelConfig
    network: NetworkChoice | None
    trace_name: str
    link_correlation_s: float
    video_name: str
    frames_per_camera: int
    timeline: Timeline | None
    overlay: Overlay | None
    evaluator: Evaluator | None
    radio: Radio | None


def assemble(
    config: RunConfig,
    on_frame: Callable[[int, int], None] | None = None,
    overlay_path: Path | None = None,
) -> Assembly:
    """Build the world that a configuration describes.

    Args:
        config: the run.
        on_frame: told (camera, frame) after each frame that ended.
        overlay_path: where `config.overlay` has the first camera's video drawn.

    Raises:
        InputError: something named in the configuration does not exist or does not fit the rest.
    """
    folders = config.config_folders
    system = read_plugin("system", config.system, folders)
    card = read_card(config.model, folders)
    edge_profile = _profile(config.edge, card, folders, "edge")
    cloud_profile = _profile(config.cloud, card, folders, "cloud")
    network = network_in_loop(config, card, getattr(system.options, "unmeasured", None))
    view = open_view(config, edge_profile, network)
    if config.video.kind == "statistical" and not getattr(system.kind, "works_without_pixels", False):
        raise InputError(
            f"video.kind: system {system.name!r} needs pixels: expected scene or file, found 'statistical' "
            f"({place_of(system.kind)} does not say works_without_pixels = True)"
        )
    trace = load_uplink(config.trace, config.seed, _length_s(config, view), folders, config.replicate_number)
    seed = replicate_seed(config.seed, config.replicate_number)
    streams = iter(np.random.SeedSequence(seed).spawn(config.cameras + 2))

    env = Environment()
    conditions = LinkConditions(config.link.delay_s, config.link.loss, config.link.retransmission_delay_s)
    link_class = FairLink if config.link.sharing == "fair" else Link
    uplink = link_class(
        env, replay(trace, config.link.outages_s), conditions, np.random.default_rng(next(streams))
    )
    downlink = Link(env, replay(constant_rate(config.downlink)), LinkConditions(config.downlink.delay_s))
    cloud_processor = Processor(env, "server", _crashes(config))
    cloud = Device(cloud_processor, cloud_profile, _noise(config, next(streams)))
    objective = EffectiveAccuracyObjective(config.decay_per_s, config.accuracy.dense)
    scheduler: Scheduler = read_plugin("scheduler", config.scheduler, folders, ("lambda_per_s",)).make(
        objective
    )
    oracle = OracleScheduler(objective, OracleScheduler.Options()) if config.regret else None
    estimators = read_plugin("estimator", config.estimator, folders)
    codecs = partial(_codec, config, folders)
    radio = None if config.trace.radio is None else find_plugin("trace/radio", config.trace.radio, folders)
    timeline = Timeline() if config.timeline else None
    overlay = _overlay(config, view, overlay_path)
    table = FrameTable()
    evaluator = None
    if view.evaluated:
        evaluator = Evaluator(system.name, view.truths, view.masks, config.accuracy.mode == "measured")
    ruler = CoverageRuler(config.accuracy.coverage_threshold, view.geometry.block_px)

    @cache
    def cuts() -> tuple[Cut, ...]:
        return _cuts(card, folders)

    cameras, edges = [], []
    payload: tuple[str | None, float | None] = None, None
    for number in range(config.cameras):
        edge = Processor(env, f"edge {number}")
        edges.append(edge)
        estimator = _estimator(estimators, uplink)
        world = CameraWorld(
            env,
            Device(edge, edge_profile, _noise(config, next(streams))),
            cloud,
            uplink,
            downlink,
            estimator,
            patience_s=config.patience_s,
            refresh_operators=config.refresh.operators,
            on_trace=timeline.recorder(number) if timeline else None,
            codec_time=config.codec_time == "profile",
            probe_s=config.link.probe_s,
        )
        context = SystemContext(
            geometry=view.geometry,
            edge=edge_profile,
            cloud=cloud_profile,
            scheduler=scheduler,
            codec=codecs(None, None),
            codecs=codecs,
            matching=config.matching,
            networks=view.networks(number),
            staged=view.staged,
            cuts=cuts,
            finders=FinderSource(
                config,
                network if view.evaluated else None,
                view.geometry,
                lambda of: _profile(config.edge, of, folders, "edge"),
                edge,
                _noise(config, np.random.SeedSequence(seed, spawn_key=(1, number))),
                view.work,
            ),
            estimator=estimator,
            # A stream of its own: systems that draw must not shift what links and devices draw.
            rng=np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(0, number))),
            regret_against=oracle,
            counts=view.counts(number),
            work=view.work,
        )
        made: System = system.make(context)
        payload = checked_payload(made)
        allowed = checked_bound(made)
        frames_an_input = checked_input(made)
        bound = max(min(config.in_flight or allowed, allowed), frames_an_input)
        cameras.append(
            Camera(
                number,
                _arrivals(config, view, number),
                made,
                world,
                table,
                view.images(number),
                on_frame,
                overlay if number == 0 else None,
                ruler.valued,
                None if evaluator is None else evaluator.collect,
                outside_profile=view.outside_profile,
                admission=Admission(bound, config.decay_per_s, frames_an_input) if bound > 1 else None,
            )
        )
    return Assembly(
        simulation=Simulation(env, cameras, uplink, downlink, edges, cloud_processor, table),
        metric=EffectiveAccuracyMetric(config.accuracy.dense, config.decay_per_s, view.geometry.blocks_total),
        edge=edge_profile,
        cloud=cloud_profile,
        system_name=system.name,
        payload_codec=payload[0],
        payload_quality=payload[1],
        model=card,
        network=network if view.evaluated else None,
        trace_name=trace_name(config.trace, trace),
        link_correlation_s=link_correlation_s(trace),
        video_name=view.name,
        frames_per_camera=view.frames,
        timeline=timeline,
        overlay=overlay,
        evaluator=evaluator,
        radio=None if radio is None else radio.make(),
    )


def _length_s(config: RunConfig, view: VideoView) -> float:
    """How long a run lasts, about: in a closed loop nobody knows, and a frame is given a second."""
    interval_s = 1.0 / view.fps
    return view.frames * (max(interval_s, 1.0) if config.arrival.policy == "closed_loop" else interval_s)


def _profile(device: str, card: ModelConfig, folders: tuple[str, ...], key: str) -> Profile:
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


def _estimator(plugin: Plugin, uplink: Link) -> BandwidthEstimator:
    env = uplink.env
    made: BandwidthEstimator = plugin.make(lambda size: uplink.would_deliver_s(size, env.now) - env.now)
    return made


def _noise(config: RunConfig, stream: np.random.SeedSequence) -> Noise | None:
    return None if config.deterministic else Noise(np.random.default_rng(stream))


def _crashes(config: RunConfig) -> tuple[tuple[float, float], ...]:
    previous_end_s = 0.0
    for start_s, end_s in config.server.crashes_s:
        if not previous_end_s <= start_s < end_s:
            raise InputError(
                "server.crashes_s: expected ascending, disjoint [start, end] pairs in seconds, "
                f"found [{start_s}, {end_s}] after {previous_end_s}"
            )
        previous_end_s = end_s
    return config.server.crashes_s


def _overlay(config: RunConfig, view: VideoView, path: Path | None) -> Overlay | None:
    if not config.overlay:
        return None
    if view.images(0) is None:
        raise InputError("overlay: needs pixels: expected video.kind scene or file, found 'statistical'")
    if path is None:
        raise InputError("overlay: expected a file to draw into, found none")
    overlay = Overlay(path, view.fps, config.payload.block_px)
    if view.evaluated:
        from sim.accuracy.inference import unpack  # loads torch

        overlay.unpack = unpack
    return overlay


def _arrivals(config: RunConfig, view: VideoView, number: int) -> Arrivals:
    """A camera's arrivals; periodic cameras are spread evenly over one frame interval."""
    offset_s = number / (config.cameras * view.fps)
    if config.arrival.policy == "periodic":
        return PeriodicLatest(view.fps, view.frames, offset_s)
    if config.arrival.policy == "queue":
        return PeriodicQueue(view.fps, view.frames, offset_s, config.arrival.limit)
    return ClosedLoop(view.frames, offset_s)
