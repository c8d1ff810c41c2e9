"""A small world for one system: round latencies, a link of known rate, images by Hypothesis."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray
from simpy import Environment

from kernels.codecs.block_codecs import JpegAtlas, block_codec
from profiler.latency import CodecTable, CodecTimes, Cut, Profile, Quadratic
from sim.accuracy.coverage import CoverageRuler
from sim.components.context import SystemContext
from sim.physics.arrivals import PeriodicLatest
from sim.physics.estimators import Ewma
from sim.physics.link import Link, LinkConditions
from sim.physics.processor import Processor
from sim.physics.trace_replay import replay
from sim.records.frame_table import FrameTable
from sim.schedulers import DEFAULT_DECAY_PER_S, EffectiveAccuracyScheduler
from sim.systems.full_offload import FullOffload, FullOffloadStream
from sim.world.admission import Admission
from sim.world.camera import Camera
from sim.world.camera_world import CameraWorld
from sim.world.device import Device
from sim.world.frame import FrameGeometry
from sim.world.simulation import Simulation
from sim.world.system import System
from tests.strategies.images import images
from traces.bandwidth.trace import RateTrace

SIDE_PX = 64  # 16 blocks
RULER = CoverageRuler(0.025, 16)
FPS = 10.0
UPLINK_BPS = 8e6  # a byte a microsecond
DOWNLINK_BPS = 80e6
PROBE_S = 1.0
DELAY_S = 0.004


# Input, three cuts inside, output: features shrink as the edge's share grows.
CUTS = (
    Cut("input", 1, 12_288, 0.0),
    Cut("stem", 1, 20_000, 0.1),
    Cut("middle", 2, 5_000, 0.4),
    Cut("neck", 3, 1_000, 0.8),
    Cut("head", 3, 900, 1.0),
)


def profile(device: str, dense_s: float, per_block_s: float, side_px: int = SIDE_PX) -> Profile:
    """T(k) = per_block_s · k + 2 ms, without scatter."""
    return Profile(
        device=device,
        model="invented",
        resolution_px=(side_px, side_px),
        block_px=16,
        dense_s=dense_s,
        quadratic=Quadratic(0.0, per_block_s, 0.002),
        provenance={"kind": "derived", "source": "tests"},
    )


def with_codecs(given: Profile, times: Mapping[str, CodecTimes]) -> Profile:
    """The profile with a table of codecs."""
    return replace(given, codecs=CodecTable({"kind": "assumed", "source": "tests"}, times))


EDGE = profile("edge", 0.060, 0.005)  # sparse is slower from 12 of 16 blocks on
CLOUD = profile("cloud", 0.020, 0.001)  # sparse is always faster


class Run(NamedTuple):
    """What is left of a run: the rows as columns, and the world."""

    rows: dict[str, NDArray[np.float64]]
    world: CameraWorld


#: What a run is made with: whatever makes a system, or a class and its options.
SystemMaker: TypeAlias = Callable[[SystemContext], System] | tuple[Callable[..., System], Any]


def context(
    height_px: int = SIDE_PX,
    width_px: int = SIDE_PX,
    cuts: Sequence[Cut] = CUTS,
    edge: Profile = EDGE,
    cloud: Profile = CLOUD,
) -> SystemContext:
    """The context of a camera whose frames have pixels; no network runs."""
    return SystemContext(
        geometry=FrameGeometry(height_px, width_px),
        edge=edge,
        cloud=cloud,
        scheduler=EffectiveAccuracyScheduler(),
        codec=JpegAtlas(JpegAtlas.Options()),
        codecs=lambda name, quality: block_codec(name or "jpeg", 85 if quality is None else quality),
        cuts=lambda: tuple(cuts),
    )


def make(system_of: SystemMaker, given: SystemContext) -> System:
    """The system, as the assembly makes it: `Class(context, options)`."""
    if isinstance(system_of, tuple):
        kind, options = system_of
        return kind(given, options)
    if isinstance(system_of, type) and hasattr(system_of, "Options"):
        return system_of(given, system_of.Options())
    return system_of(given)


def rate(rates_bps: Sequence[tuple[float, float]], period_s: float = 1000.0) -> RateTrace:
    """A trace of (from when, bit/s)."""
    times_s, values_bps = zip(*rates_bps, strict=True)
    return RateTrace("invented", np.array(times_s), np.array(values_bps), period_s)


def whole_frames(codec: str) -> tuple[type, Any]:
    """Full offload with a codec: its class and options."""
    if codec == "h264":
        return FullOffloadStream, FullOffloadStream.Options()
    return FullOffload, FullOffload.Options(codec)


def run(
    system_of: SystemMaker,
    frames: Sequence[NDArray[np.uint8]],
    uplink: Sequence[tuple[float, float]] = ((0.0, UPLINK_BPS),),
    crashes_s: Sequence[tuple[float, float]] = (),
    patience_s: float = 5.0,
    arrivals: Any = None,
    edge: Profile = EDGE,
    cloud: Profile = CLOUD,
    codec_time: bool = False,
    in_flight: int = 1,
    finder: Any = None,
) -> Run:
    """Have a system deal with `frames`, FPS a second, over a link that starts again after 1000 s.

    Codecs take time only where `codec_time`, and the profiles, say so. Up to `in_flight` frames may be under
    way at once. `finder` finds regions, for systems that want one.
    """
    env = Environment()
    conditions = LinkConditions(delay_s=DELAY_S)
    up = Link(env, replay(rate(uplink)), conditions)
    down = Link(env, replay(rate([(0.0, DOWNLINK_BPS)])), conditions)
    near, far = Processor(env, "edge"), Processor(env, "cloud", crashes_s)
    estimator = Ewma()
    world = CameraWorld(
        env,
        Device(near, edge),
        Device(far, cloud),
        up,
        down,
        estimator,
        patience_s,
        codec_time=codec_time,
        probe_s=PROBE_S,
    )
    height, width = frames[0].shape[:2]
    given = replace(context(height, width, edge=edge, cloud=cloud), estimator=estimator)
    if finder is not None:
        given = replace(given, finders=lambda request: finder)
    system = make(system_of, given)
    table = FrameTable()
    arrivals = arrivals or PeriodicLatest(FPS, len(frames))
    camera = Camera(
        0,
        arrivals,
        system,
        world,
        table,
        lambda index: frames[index],
        ruler=RULER.valued,
        admission=Admission(in_flight, DEFAULT_DECAY_PER_S, 1) if in_flight > 1 else None,
    )
    Simulation(env, [camera], up, down, [near], far, table).run(drain=True)
    return Run(table.columns(), world)


class KnownRegions:
    """A finder that is told what it finds: boxes (n, 4) of each frame, by the order of asking."""

    def __init__(self, boxes: Sequence[Sequence[Sequence[float]]], seconds: float = 0.01) -> None:
        self.boxes = [np.array(found, np.float64).reshape(-1, 4) for found in boxes]
        self.taken_s = seconds
        self.asked = 0

    def seconds(self) -> float:
        """What a detection takes."""
        return self.taken_s

    def find(self, image: NDArray[np.uint8]) -> NDArray[np.float64]:
        """The boxes of the next frame; the last ones again once there are no more."""
        self.asked += 1
        return self.boxes[min(self.asked, len(self.boxes)) - 1]


def clips(frames: int, side_px: int = SIDE_PX) -> st.SearchStrategy[list[NDArray[np.uint8]]]:
    """Colour images that share much with each other, as frames of a video do."""
    return images(side_px, side_px, True, frames)


@st.composite
def outages(draw: st.DrawFn, until_s: float) -> list[tuple[float, float]]:
    """The uplink's rate with up to two gaps: segments (from when, bit/s)."""
    edges = sorted(draw(st.lists(st.integers(1, int(until_s * 20)), max_size=4, unique=True)))
    edges = edges[: len(edges) // 2 * 2]
    return [(0.0, UPLINK_BPS)] + [(at / 20, 0.0 if i % 2 == 0 else UPLINK_BPS) for i, at in enumerate(edges)]


def crashes(until_s: float) -> st.SearchStrategy[list[tuple[float, float]]]:
    """None, or one time during which the server is down."""
    interval = st.tuples(st.integers(1, int(until_s * 20)), st.integers(1, 12))
    return st.lists(interval.map(lambda at: (at[0] / 20, (at[0] + at[1]) / 20)), max_size=1)


def differing_blocks(frame: NDArray[np.uint8], seen: NDArray[np.uint8], threshold: float = 0.025) -> int:
    """Blocks of 16 px whose mean absolute difference on [0, 1] is `threshold` or more, by the definition."""
    apart = np.abs(frame.astype(np.int64) - seen.astype(np.int64))
    rows, columns = (side // 16 for side in frame.shape[:2])
    sums = apart.reshape(rows, 16, columns, 16, 3).sum(axis=(1, 3, 4))
    return int(np.count_nonzero((sums / (255.0 * 16 * 16 * 3)).astype(np.float32) >= np.float32(threshold)))


DEGRADATIONS = ((0.5, 2, 12), (0.5, 0, 12), (0.75, 0, 12), (1.0, 0, 12))  # side, frames left out, quantiser


@cache
def invented_profile(
    rates_bps: Sequence[float] = (20e3, 50e3, 200e3, 1e6), side_px: int = SIDE_PX, fps: float = FPS
) -> str:
    """A profile of degradations, as a file: four levels, whose accuracies are invented."""
    from sim.systems.awstream.degradation import Conditions, Degradation, DegradationProfile, Measured

    levels = tuple(
        Measured(Degradation(*given), rate_bps, accuracy)
        for given, rate_bps, accuracy in zip(DEGRADATIONS, rates_bps, (0.2, 0.4, 0.6, 0.9), strict=True)
    )
    made = DegradationProfile(Conditions("invented", side_px, side_px, fps, "none", 1), levels)
    path = Path(mkdtemp()) / "profile.csv"
    path.write_text(made.text(), encoding="utf-8")
    return str(path)
