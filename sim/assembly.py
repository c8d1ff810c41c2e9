"""From a configuration to a world that is ready to run."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from simpy import Environment

from profiler.latency import PROFILE_FOLDER, Profile, load_profile
from sim.accuracy.evaluator import Dense, Judge
from sim.accuracy.masks import MaskTruth, open_masks
from sim.config import RunConfig, TraceConfig, choose
from sim.content.interface import Content, Network
from sim.physics.arrivals import Arrivals, ClosedLoop, PeriodicLatest, PeriodicQueue
from sim.physics.estimators import BandwidthEstimator, Ewma, HarmonicMean, Kalman, Oracle
from sim.physics.fair_link import FairLink
from sim.physics.link import Link, LinkConditions
from sim.physics.processor import Processor
from sim.physics.trace_replay import replay
from sim.records.frame_table import EffectiveAccuracyMetric, FrameTable
from sim.records.overlay import Overlay
from sim.records.timeline import Timeline
from sim.schedulers import EffectiveAccuracyScheduler, LatencyScheduler, OracleScheduler, Scheduler
from sim.systems.registry import Surroundings, system_factory
from sim.world.admission import Admission
from sim.world.camera import Camera
from sim.world.camera_world import CameraWorld
from sim.world.device import Device, Noise
from sim.world.simulation import Simulation
from sim.world.system import max_in_flight
from traces.bandwidth.loading import load_trace
from traces.bandwidth.synthetic import synthetic_uplink
from traces.bandwidth.trace import BandwidthTrace, RateTrace
from traces.errors import InputError

MIN_TRACE_S = 10.0  # a shorter synthetic trace would hold too few bursts
MAX_TRACE_S = 60.0  # a longer one would only take memory
SCENE_FRAMES = 300  # of a run that names no number
ImageSource: TypeAlias = Callable[[int], NDArray[np.uint8]]


@dataclass(frozen=True, slots=True)
class Assembly:
    """A world ready to run, and what its results must be read with."""

    simulation: Simulation
    metric: EffectiveAccuracyMetric
    edge: Profile
    cloud: Profile
    trace_name: str
    video_name: str
    frames_per_camera: int
    timeline: Timeline | None
    overlay: Overlay | None
    judge: Judge | None


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
    folders: tuple[Path | str, ...] = (*config.profile_folders, PROFILE_FOLDER)
    edge_profile = load_profile(config.edge, config.model, folders, "edge")
    cloud_profile = load_profile(config.cloud, config.model, folders, "cloud")
    make_system = system_factory(config.system)
    view = open_view(config, edge_profile)
    trace = load_uplink(config.trace, config.seed, view.frames / view.fps)
    streams = iter(np.random.SeedSequence(config.seed).spawn(config.cameras + 2))

    env = Environment()
    conditions = LinkConditions(config.link.delay_s, config.link.loss, config.link.retransmission_delay_s)
    link_class = FairLink if config.link.sharing == "fair" else Link
    uplink = link_class(
        env, replay(trace, config.link.outages_s), conditions, np.random.default_rng(next(streams))
    )
    downlink = Link(env, replay(constant_rate(config)), LinkConditions(config.downlink.delay_s))
    cloud_processor = Processor(env, "server", _crashes(config))
    cloud = Device(cloud_processor, cloud_profile, _noise(config, next(streams)))
    scheduler = make_scheduler(config)
    oracle = OracleScheduler(config.scheduler.lambda_per_s, config.accuracy.dense) if config.regret else None
    timeline = Timeline() if config.timeline else None
    overlay = _overlay(config, view, overlay_path)
    table = FrameTable()
    judge = Judge(str(config.system["name"]), view.truths, view.masks) if view.judged else None

    cameras, edges = [], []
    for number in range(config.cameras):
        edge = Processor(env, f"edge {number}")
        edges.append(edge)
        world = CameraWorld(
            env,
            Device(edge, edge_profile, _noise(config, next(streams))),
            cloud,
            uplink,
            downlink,
            make_estimator(config, uplink),
            patience_s=config.patience_s,
            refresh_operators=config.refresh.operators,
            on_trace=timeline.recorder(number) if timeline else None,
        )
        content = view.content(number)
        system = make_system(Surroundings(content, scheduler, oracle, edge_profile, cloud_profile))
        allowed = max_in_flight(system)
        bound = min(config.in_flight or allowed, allowed)
        cameras.append(
            Camera(
                number,
                _arrivals(config, view, number),
                system,
                world,
                table,
                view.images(number),
                on_frame,
                overlay if number == 0 else None,
                None if judge is None else judge.collect,
                outside_profile=view.outside_profile,
                admission=Admission(bound, config.scheduler.lambda_per_s) if bound > 1 else None,
            )
        )
    return Assembly(
        simulation=Simulation(env, cameras, uplink, downlink, edges, cloud_processor, table),
        metric=EffectiveAccuracyMetric(
            config.accuracy.dense, config.scheduler.lambda_per_s, view.blocks_total
        ),
        edge=edge_profile,
        cloud=cloud_profile,
        trace_name=_trace_name(config.trace, trace),
        video_name=view.name,
        frames_per_camera=view.frames,
        timeline=timeline,
        overlay=overlay,
        judge=judge,
    )


# -- the network -----------------------------------------------------------------------------------


def load_uplink(config: TraceConfig, seed: int, run_s: float) -> BandwidthTrace:
    """The uplink's trace: from its file, or synthetic and as long as a run of `run_s`."""
    if config.path is None:
        if config.mean_mbps is None:
            raise InputError("trace.path: expected a trace file (or trace.mean_mbps for a synthetic one)")
        own_seed = seed if config.seed is None else config.seed
        rounds = math.ceil(run_s / MAX_TRACE_S)  # whole rounds, so that a long run sees the mean, too
        own_s = max(MIN_TRACE_S, run_s / rounds)
        duration_s = own_s if config.duration_s is None else config.duration_s
        made: BandwidthTrace = synthetic_uplink(config.mean_mbps * 1e6, duration_s, own_seed)
        if config.start_s or config.end_s is not None:
            made = made.sliced(config.start_s, made.duration_s if config.end_s is None else config.end_s)
        return made.shifted(config.offset_s) if config.offset_s else made
    return load_trace(
        config.path,
        config.format,
        direction=config.direction,
        column=config.column,
        start_s=config.start_s,
        end_s=config.end_s,
        offset_s=config.offset_s,
        mean_bps=None if config.mean_mbps is None else config.mean_mbps * 1e6,
    )


def _trace_name(config: TraceConfig, trace: BandwidthTrace) -> str:
    """The name that tables show: the configuration's, with where the trace came from."""
    if config.path is None:
        return f"{config.name} (synthetic)"
    return trace.name if config.name == "file" else f"{config.name} ({trace.name})"


def constant_rate(config: RunConfig) -> RateTrace:
    """The downlink's trace."""
    return RateTrace("downlink", np.zeros(1), np.array([config.downlink.mean_mbps * 1e6]), 1.0)


def make_estimator(config: RunConfig, uplink: Link) -> BandwidthEstimator:
    """The estimator that the configuration names, one a camera."""
    chosen = config.estimator
    choose("estimator", chosen.name, ("ewma", "harmonic", "kalman", "oracle"))
    if chosen.name == "ewma":
        return Ewma(chosen.alpha)
    if chosen.name == "harmonic":
        return HarmonicMean(chosen.window)
    if chosen.name == "kalman":
        return Kalman(chosen.process, chosen.measurement)
    env = uplink.env
    return Oracle(lambda size: uplink.would_deliver_s(size, env.now) - env.now, chosen.horizon_s)


def make_scheduler(config: RunConfig) -> Scheduler:
    """The scheduler that the configuration names; it has no state, so all cameras share it."""
    chosen = config.scheduler
    choose("scheduler", chosen.name, ("ea", "latency", "oracle"))
    if chosen.name == "ea":
        return EffectiveAccuracyScheduler(chosen.lambda_per_s, config.accuracy.dense)
    if chosen.name == "latency":
        return LatencyScheduler(chosen.lambda_per_s, config.accuracy.dense)
    return OracleScheduler(chosen.lambda_per_s, config.accuracy.dense)


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


# -- what the cameras see --------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class View:
    """The video as cameras see it; camera c of n begins c/n of the way through it.

    Where accuracy is measured, `truths` are each camera's dense results and `masks` its ground truth, as far
    as results are compared with them.
    """

    name: str
    fps: float
    frames: int
    blocks_total: int
    outside_profile: bool
    content: Callable[[int], Content]
    images: Callable[[int], ImageSource | None]
    truths: Sequence[Dense] = ()
    masks: Sequence[MaskTruth] = ()

    @property
    def judged(self) -> bool:
        return bool(self.truths or self.masks)


def open_view(config: RunConfig, profile: Profile) -> View:
    """Open the video that the configuration names, at the size the model's profile was made for."""
    if config.video.kind == "statistical":
        return _statistical_view(config, profile)
    from sim.content.pixels import PixelContent, PixelOptions

    size_px = _size_px(config, profile)
    video = _open_video(config, size_px)
    fps = video.fps if config.fps is None else config.fps
    if fps > video.fps * (1 + 1e-9):
        warnings.warn(
            f"fps: {fps:g} frames/s from a video of {video.fps:g}: frames repeat, which flatters reuse",
            stacklevel=2,
        )
    closed_loop = config.arrival.policy == "closed_loop"
    step = 1.0 if closed_loop else video.fps / fps
    frames = config.frames or max(1, int((video.frame_count - 1) / step) + 1)
    source = _repeat(video, config, frames, step)
    options = PixelOptions(
        threshold=config.matching.threshold,
        radius_px=config.matching.radius_px,
        aligner=config.matching.aligner,
        codec=config.payload.codec,  # type: ignore[arg-type]
        quality=config.payload.quality,
        block_px=config.payload.block_px,
    )
    if profile.block_px != options.block_px:
        raise InputError(
            f"payload.block_px: expected {profile.block_px} px, which the profile of {profile.model!r} on "
            f"{profile.device!r} was made with, found {options.block_px}"
        )
    outside = (video.height_px, video.width_px) != tuple(profile.resolution_px)
    if outside:
        warnings.warn(
            f"video.size_px: frames of {video.height_px}x{video.width_px} px, profile made at "
            f"{profile.resolution_px[0]}x{profile.resolution_px[1]} px: all frames count as extrapolated",
            stacklevel=2,
        )

    def place(camera: int, index: int) -> int:
        first: int = camera * (video.frame_count // config.cameras)
        return first + int(index * step + 1e-9)

    def images(camera: int) -> ImageSource:
        return lambda index: source.image(place(camera, index))

    def mask(camera: int) -> ImageSource:
        return lambda index: source.mask(place(camera, index))

    height_px, width_px = video.height_px, video.width_px
    truths: Sequence[Dense] = ()
    masks: Sequence[MaskTruth] = ()
    if config.accuracy.mode == "measured":
        from sim.accuracy.inference import Inference, SideNetwork, Truth, open_inference

        @cache
        def inference(policy: str) -> Inference:
            return open_inference(config.accuracy, height_px, width_px, options.block_px, policy)

        def networks(truth: Truth) -> Callable[[str], Network]:
            return lambda policy: SideNetwork(inference(policy), truth)

        if config.accuracy.reference != "dense":
            masks = open_masks(config.accuracy, video, [mask(camera) for camera in range(config.cameras)])
        dense = [Truth(inference("fixed"), images(camera)) for camera in range(config.cameras)]
        contents = [PixelContent(height_px, width_px, options, networks(truth)) for truth in dense]
        if config.accuracy.reference != "masks":
            truths = dense
    else:
        contents = [PixelContent(height_px, width_px, options) for _ in range(config.cameras)]
    blocks_total = contents[0].blocks_total
    return View(video.name, fps, frames, blocks_total, outside, contents.__getitem__, images, truths, masks)


def _size_px(config: RunConfig, profile: Profile) -> int | tuple[int, int]:
    return profile.resolution_px if config.video.size_px is None else config.video.size_px


def _open_video(config: RunConfig, size_px: int | tuple[int, int]) -> Any:
    chosen = config.video
    if chosen.kind == "file":
        from traces.video.loading import load_video

        if chosen.path is None:
            raise InputError("video.path: expected a clip or a folder of images, found none")
        return load_video(Path(chosen.path), size_px=size_px, fit=chosen.fit)
    from traces.video.scenes.scene import Scene

    return Scene(
        preset=chosen.preset,
        seed=config.seed if chosen.seed is None else chosen.seed,
        frame_count=2 * (config.frames or SCENE_FRAMES)
        if config.cameras > 1
        else config.frames or SCENE_FRAMES,
        size_px=size_px,
        noise_sigma=chosen.noise_sigma,
    )


def _repeat(video: Any, config: RunConfig, frames: int, step: float) -> Any:
    """The video, long enough for every camera's last frame."""
    from traces.video.sequence import Repeated

    needed = int((frames - 1) * step) + 1 + (config.cameras - 1) * (video.frame_count // config.cameras)
    if needed <= video.frame_count:
        return video
    mode = "pingpong" if config.cameras > 1 and config.video.repeat == "stop" else config.video.repeat
    return Repeated(video, needed, mode)


def _statistical_view(config: RunConfig, profile: Profile) -> View:
    from sim.content.statistics import open_statistics

    if config.accuracy.mode == "measured":
        raise InputError(
            "accuracy.mode: measured needs pixels: expected video.kind scene or file, found 'statistical'"
        )
    statistics = open_statistics(config, profile)
    return View(
        statistics.name,
        config.fps or statistics.fps,
        config.frames or statistics.frames,
        statistics.blocks_total,
        False,
        statistics.content,
        lambda _: None,
    )


def _overlay(config: RunConfig, view: View, path: Path | None) -> Overlay | None:
    if not config.overlay:
        return None
    if view.images(0) is None:
        raise InputError("overlay: needs pixels: expected video.kind scene or file, found 'statistical'")
    if path is None:
        raise InputError("overlay: expected a file to draw into, found none")
    return Overlay(path, view.fps, config.payload.block_px)


def _arrivals(config: RunConfig, view: View, number: int) -> Arrivals:
    """A camera's arrivals; periodic cameras are spread evenly over one frame interval."""
    offset_s = number / (config.cameras * view.fps)
    if config.arrival.policy == "periodic":
        return PeriodicLatest(view.fps, view.frames, offset_s)
    if config.arrival.policy == "queue":
        return PeriodicQueue(view.fps, view.frames, offset_s, config.arrival.limit)
    return ClosedLoop(view.frames, offset_s)
