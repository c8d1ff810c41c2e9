"""From a configuration to a world that is ready to run: devices, links, cameras and the systems in them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from simpy import Environment

from profiler.latency import Profile
from sim.accuracy.choice import NetworkChoice
from sim.accuracy.coverage import CoverageRuler
from sim.accuracy.evaluator import Evaluator
from sim.assembly.finder import FinderSource
from sim.assembly.ingredients import Ingredients, read_ingredients, read_profile_of
from sim.assembly.onlookers import open_inspection, open_overlay
from sim.assembly.replicate import replicate_seed
from sim.assembly.uplink import constant_rate, link_correlation_s, load_uplink, trace_name
from sim.assembly.video import VideoView
from sim.components.context import SystemContext
from sim.configuration.plugins import Plugin, find_plugin
from sim.configuration.sections import FaultsConfig, ModelConfig, RunConfig
from sim.physics.arrivals import Arrivals, ClosedLoop, PeriodicLatest, PeriodicQueue
from sim.physics.estimators import BandwidthEstimator
from sim.physics.fair_link import FairLink
from sim.physics.faults import Misbelief, Slowdown
from sim.physics.link import Link, LinkConditions
from sim.physics.processor import Processor
from sim.physics.radio import Radio
from sim.physics.trace_replay import replay
from sim.physics.windows import check_windows
from sim.records.frame_table import EffectiveAccuracyMetric, FrameTable
from sim.records.inspection import Inspection
from sim.records.overlay import Overlay
from sim.records.timeline import Timeline
from sim.world.admission import Admission
from sim.world.camera import Camera
from sim.world.camera_world import CameraWorld
from sim.world.contract import checked_bound, checked_input, checked_payload
from sim.world.device import Device, Noise
from sim.world.simulation import Simulation
from sim.world.system import System
from traces.bandwidth.trace import BandwidthTrace

if TYPE_CHECKING:
    pass


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
    inspection: Inspection | None
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
    parts = read_ingredients(config)
    view, card = parts.view, parts.card
    trace = load_uplink(
        config.trace, config.seed, _length_s(config, view), config.config_folders, config.replicate_number
    )
    scatter = _Scatter.of(config)
    shared = _shared(config, trace, parts.cloud, scatter)
    radio = _radio(config)
    watchers = _watchers(config, parts, on_frame, overlay_path)
    cameras, edges = [], []
    payload: tuple[str | None, float | None] = None, None
    for number in range(config.cameras):
        world = _camera_world(config, parts, shared, watchers, scatter, number)
        system: System = parts.system.make(_context(config, parts, world, scatter, number))
        payload = checked_payload(system)
        cameras.append(_camera(config, view, system, world, watchers, number))
        edges.append(world.edge.processor)
    return Assembly(
        simulation=Simulation(
            shared.env,
            cameras,
            shared.uplink,
            shared.downlink,
            edges,
            shared.cloud.processor,
            watchers.table,
        ),
        metric=EffectiveAccuracyMetric(config.accuracy.dense, config.decay_per_s, view.geometry.blocks_total),
        edge=parts.edge,
        cloud=parts.cloud,
        system_name=parts.system.name,
        payload_codec=payload[0],
        payload_quality=payload[1],
        model=card,
        network=parts.network if view.evaluated else None,
        trace_name=trace_name(config.trace, trace),
        link_correlation_s=link_correlation_s(trace),
        video_name=view.name,
        frames_per_camera=view.frames,
        timeline=watchers.timeline,
        overlay=watchers.overlay,
        inspection=watchers.inspection,
        evaluator=watchers.evaluator,
        radio=radio,
    )


# -- what cameras share, and what looks on -----------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Scatter:
    """Where randomness comes from: a stream for each who draws, so that none shifts what another draws.

    Args:
        seed: of the replicate.
        link, cloud: of the uplink's losses and the server's service times.
        edges: of each camera's edge.
    """

    seed: int
    link: np.random.SeedSequence
    cloud: np.random.SeedSequence
    edges: Sequence[np.random.SeedSequence]

    @classmethod
    def of(cls, config: RunConfig) -> _Scatter:
        seed = replicate_seed(config.seed, config.replicate_number)
        link, cloud, *edges = np.random.SeedSequence(seed).spawn(config.cameras + 2)
        return cls(seed, link, cloud, edges)

    def of_system(self, camera: int) -> np.random.Generator:
        """What a camera's system draws from."""
        return np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=(0, camera)))

    def of_finder(self, camera: int) -> np.random.SeedSequence:
        """What the times of a small network on a camera's edge are drawn from."""
        return np.random.SeedSequence(self.seed, spawn_key=(1, camera))


@dataclass(frozen=True, slots=True)
class _Shared:
    """The clock, the links and the server."""

    env: Environment
    uplink: Link
    downlink: Link
    cloud: Device


def _shared(config: RunConfig, trace: BandwidthTrace, profile: Profile, scatter: _Scatter) -> _Shared:
    env, link = Environment(), config.link
    conditions = LinkConditions(link.delay_s, link.loss, link.retransmission_delay_s)
    link_class = FairLink if link.sharing == "fair" else Link
    return _Shared(
        env,
        link_class(env, replay(trace, link.outages_s), conditions, np.random.default_rng(scatter.link)),
        Link(env, replay(constant_rate(config.downlink)), LinkConditions(config.downlink.delay_s)),
        Device(Processor(env, "server", _crashes(config)), profile, _noise(config, scatter.cloud)),
    )


@dataclass(frozen=True, slots=True)
class _Watchers:
    """Where frames are booked, valued and drawn."""

    table: FrameTable
    ruler: CoverageRuler
    evaluator: Evaluator | None
    timeline: Timeline | None
    overlay: Overlay | None
    inspection: Inspection | None
    on_frame: Callable[[int, int], None] | None


def _watchers(
    config: RunConfig,
    parts: Ingredients,
    on_frame: Callable[[int, int], None] | None,
    overlay_path: Path | None,
) -> _Watchers:
    view, evaluator = parts.view, None
    if view.evaluated:
        evaluator = Evaluator(parts.system.name, view.truths, view.masks, config.accuracy.mode == "measured")
    ruler = CoverageRuler(config.accuracy.coverage_threshold, view.geometry.block_px)
    return _Watchers(
        FrameTable(),
        ruler,
        evaluator,
        Timeline() if config.timeline else None,
        open_overlay(config, view, parts.network, overlay_path),
        open_inspection(config, view, parts.network, ruler),
        on_frame,
    )


# -- a camera ----------------------------------------------------------------------------------------


def _camera_world(
    config: RunConfig,
    parts: Ingredients,
    shared: _Shared,
    watchers: _Watchers,
    scatter: _Scatter,
    number: int,
) -> CameraWorld:
    """One camera's edge, and its view of what it shares."""
    edge = Processor(shared.env, f"edge {number}")
    return CameraWorld(
        shared.env,
        Device(edge, parts.edge, _noise(config, scatter.edges[number]), _slowdown(config.faults)),
        shared.cloud,
        shared.uplink,
        shared.downlink,
        _estimator(parts.estimators, shared.uplink),
        patience_s=config.patience_s,
        refresh_operators=config.refresh.operators,
        on_trace=watchers.timeline.recorder(number) if watchers.timeline else None,
        codec_time=config.codec_time == "profile",
        probe_s=config.link.probe_s,
        misbelief=_misbelief(config.faults),
    )


def _context(
    config: RunConfig, parts: Ingredients, world: CameraWorld, scatter: _Scatter, number: int
) -> SystemContext:
    """What one camera's system is made from."""
    view, folders = parts.view, config.config_folders
    return SystemContext(
        geometry=view.geometry,
        edge=parts.edge,
        cloud=parts.cloud,
        scheduler=parts.scheduler,
        codec=parts.codecs(None, None),
        codecs=parts.codecs,
        matching=config.matching,
        networks=view.networks(number),
        network_name=None if parts.network is None else parts.network.name,
        staged=view.staged,
        cuts=parts.cuts,
        finders=FinderSource(
            config,
            parts.network if view.evaluated else None,
            view.geometry,
            lambda of: read_profile_of(config.edge, of, folders, "edge"),
            world.edge.processor,
            _noise(config, scatter.of_finder(number)),
            view.work,
        ),
        estimator=world.estimator,
        rng=scatter.of_system(number),
        regret_against=parts.oracle,
        counts=view.counts(number),
        work=view.work,
    )


def _camera(
    config: RunConfig, view: VideoView, system: System, world: CameraWorld, watchers: _Watchers, number: int
) -> Camera:
    """One camera with its system: when its frames come, and how many may be under way."""
    allowed = checked_bound(system)
    frames_an_input = checked_input(system)
    bound = max(min(config.in_flight or allowed, allowed), frames_an_input)
    evaluator = watchers.evaluator
    overlay, inspected = (watchers.overlay, watchers.inspection) if number == 0 else (None, None)
    return Camera(
        number,
        _arrivals(config, view, number),
        system,
        world,
        watchers.table,
        view.images(number),
        watchers.on_frame,
        [onlooker.add for onlooker in (overlay, inspected) if onlooker is not None],
        watchers.ruler.valued if inspected is None else inspected.valued,
        None if evaluator is None else evaluator.collect,
        outside_profile=view.outside_profile,
        admission=Admission(bound, config.decay_per_s, frames_an_input) if bound > 1 else None,
    )


# -- steps of these ----------------------------------------------------------------------------------


def _radio(config: RunConfig) -> Radio | None:
    name = config.trace.radio
    if name is None:
        return None
    made: Radio = find_plugin("trace/radio", name, config.config_folders).make()
    return made


def _length_s(config: RunConfig, view: VideoView) -> float:
    """How long a run lasts, about: in a closed loop nobody knows, and a frame is given a second."""
    interval_s = 1.0 / view.fps
    return view.frames * (max(interval_s, 1.0) if config.arrival.policy == "closed_loop" else interval_s)


def _estimator(plugin: Plugin, uplink: Link) -> BandwidthEstimator:
    env = uplink.env
    made: BandwidthEstimator = plugin.make(lambda size: uplink.would_deliver_s(size, env.now) - env.now)
    return made


def _noise(config: RunConfig, stream: np.random.SeedSequence) -> Noise | None:
    return None if config.deterministic else Noise(np.random.default_rng(stream))


def _crashes(config: RunConfig) -> tuple[tuple[float, float], ...]:
    check_windows("server.crashes_s", config.server.crashes_s)
    return config.server.crashes_s


def _slowdown(faults: FaultsConfig) -> Slowdown | None:
    made = Slowdown(faults.edge_slowdown, faults.edge_slow_s)
    return None if made.factor == 1.0 else made


def _misbelief(faults: FaultsConfig) -> Misbelief | None:
    made = Misbelief(faults.estimate_factor, faults.estimate_delay_s)
    return None if (made.factor, made.delay_s) == (1.0, 0.0) else made


def _arrivals(config: RunConfig, view: VideoView, number: int) -> Arrivals:
    """A camera's arrivals; periodic cameras are spread evenly over one frame interval."""
    offset_s = number / (config.cameras * view.fps)
    if config.arrival.policy == "periodic":
        return PeriodicLatest(view.fps, view.frames, offset_s)
    if config.arrival.policy == "queue":
        return PeriodicQueue(view.fps, view.frames, offset_s, config.arrival.limit)
    return ClosedLoop(view.frames, offset_s)
