"""The configuration of a run, checked: one frozen dataclass a section, each key with its unit and default.

A run is described by plain mappings (YAML, whatever wrote them); :func:`read_config` turns them into these
values or says in one line which key is wrong. The YAML files of ``conf/`` hold the named choices.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any, get_type_hints

from sim.configuration.reading import choose, read_section
from sim.schedulers import DEFAULT_DECAY_PER_S
from traces.errors import InputError

#: Sections whose keys are the options of a class that they name (`sim.configuration.plugins`).
OPEN_SECTIONS = ("system", "scheduler", "estimator")
NAMED = (*OPEN_SECTIONS, "model")  # known by the name of their YAML
RECORDED_QUALITY = 85  # of the JPEG blocks in statistics of videos
DEFAULT_WARMUP_S = 1.0  # `conf/config.yaml` says why
#: The papers' levels: means of synthetic traces (`conf/trace/`), to which no file is scaled by accident.
LEVELS_MBPS = {"low": 25.0, "medium": 56.0, "high": 130.0}


@dataclass(frozen=True, slots=True)
class TraceConfig:
    """The uplink's bandwidth: a file, or the synthetic generator where `path` is null.

    A synthetic trace goes on for as long as the run does, and depends on its `seed` alone: runs of other
    lengths and frame rates are on the same network. Ten minutes of it carry the mean; the part that a run
    sees may carry less or more. With `duration_s` it is a loop of that length. `seed` null follows the run's.

    `column`, `time_column`, `time_unit` and `rate_unit` say what the header of a table does not
    (:func:`traces.bandwidth.loading.load_trace`). `radio` is the modem at the edge's end, for its energy;
    None is not known.
    """

    name: str = "medium"
    path: str | None = None
    format: str | None = None
    direction: str = "uplink"
    column: str | None = None
    time_column: str | None = None
    time_unit: str | None = None
    rate_unit: str | None = None
    mean_mbps: float | None = None
    start_s: float = 0.0
    end_s: float | None = None
    offset_s: float = 0.0
    duration_s: float | None = None
    seed: int | None = None
    radio: str | None = None


@dataclass(frozen=True, slots=True)
class VideoConfig:
    """What the camera sees. `kind`: scene (composed), file (clip or folder) or statistical (no pixels).

    `fps` is how fast a folder of images was filmed, which it does not say itself (None: 24 for DAVIS, else
    30); how often a camera captures a frame of it is the run's `fps`.
    """

    kind: str = "scene"
    name: str = "scene"
    path: str | None = None
    size_px: int | None = None
    fps: float | None = None
    fit: str = "letterbox"
    repeat: str = "pingpong"
    preset: str = "walk"
    noise_sigma: float = 2.0
    seed: int | None = None
    statistics: str | None = None


@dataclass(frozen=True, slots=True)
class ArrivalConfig:
    """`policy`: periodic (the newest replaces what waits), queue (of `limit` frames) or closed_loop."""

    policy: str = "periodic"
    limit: int = 8


@dataclass(frozen=True, slots=True)
class LinkConfig:
    """The uplink beside its trace. `sharing`: fifo or fair; `probe_s`: None never probes."""

    sharing: str = "fifo"
    delay_s: float = 0.025
    loss: float = 0.0
    retransmission_delay_s: float = 0.008
    outages_s: tuple[tuple[float, float], ...] = ()
    probe_s: float | None = 1.0  # half of the two seconds in which a step is to be followed


@dataclass(frozen=True, slots=True)
class DownlinkConfig:
    """The way back: a constant rate, since results are small."""

    mean_mbps: float = 100.0
    delay_s: float = 0.025


@dataclass(frozen=True, slots=True)
class ServerConfig:
    """`crashes_s`: [start, end] pairs during which the server is down; its state is lost."""

    crashes_s: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True, slots=True)
class FaultsConfig:
    """What goes wrong on the edge, unknown to it (`sim.physics.faults`).

    Args:
        edge_slowdown: how many times as long the edge's accelerator takes as its profile says.
        edge_slow_s: [start, end] pairs during which it does; none: throughout.
        estimate_factor: what the believed rate of the uplink is multiplied by.
        estimate_delay_s: how late it is known.
    """

    edge_slowdown: float = 1.0
    edge_slow_s: tuple[tuple[float, float], ...] = ()
    estimate_factor: float = 1.0
    estimate_delay_s: float = 0.0


@dataclass(frozen=True, slots=True)
class MatchingConfig:
    """Motion search and miss classification. `aligner`: search, h264 or none."""

    threshold: float = 0.025
    radius_px: int = 16
    aligner: str = "search"


@dataclass(frozen=True, slots=True)
class PayloadConfig:
    """How every system that sends pixels codes them, unless its own `system.codec` says otherwise.

    `codec`: raw, png, jpeg, jpeg_420, residual or one's own; `quality`: None leaves it to the codec's YAML.
    """

    codec: str = "jpeg"
    quality: int | None = None
    block_px: int = 16


@dataclass(frozen=True, slots=True)
class RefreshConfig:
    """A dense refresh gives way between `operators` equal steps; YOLO11n-seg has 100 convolutions."""

    operators: int = 100


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """A model card (`conf/model/<name>.yaml`): everything that follows from which network is meant.

    Args:
        name: the card's file name; what tables call the model.
        profile: latency profile of each device, `profile/<device>/<profile>.yaml`.
        resolution_px: height and width of the frames that the network takes.
        split: where the network can be cut, `model/split/<split>.yaml`; None: nowhere.
        network: what runs where accuracy is measured, `model/network/<network>.yaml`.
        weights: a safetensors file for it; None: its own, if it brings any.
        stand_in: the network that runs in its place where it has no weights; None: none does.
    """

    name: str
    profile: str
    resolution_px: tuple[int, int]
    split: str | None = None
    network: str | None = None
    weights: str | None = None
    stand_in: str | None = None


@dataclass(frozen=True, slots=True)
class AccuracyConfig:
    """`mode`: auto, coverage or measured. `dense`: accuracy of dense inference, 1 where normalised by it.

    "auto" measures wherever a network can run, and else is coverage. `coverage_threshold` is τ₀: a block is
    stale if what its system's result rests on differs by so much from the frame, whatever threshold the
    system has.

    The rest says how the model's network really runs where accuracy is measured: `policy` fixed, truncate or
    exact, how computed blocks go through it; `sampling` bilinear or nearest, how maps are read along vectors
    (null: as the system has it, either). Latencies are those of the model's profile either way.

    `reference` says what results are compared with: dense inference on the true frame, the video's masks, or
    both. Against masks, `classes` are the names of the network's classes and `mask_ids` the masks' ids that
    count as foreground (null: all, but for id 0).
    """

    mode: str = "auto"
    dense: float = 1.0
    coverage_threshold: float = 0.025
    policy: str | None = None
    sampling: str | None = None
    reference: str = "dense"
    classes: tuple[str, ...] | None = None
    mask_ids: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True)
class CacheConfig:
    """Results that do not depend on a run and are shared with others, in the project's cache folder.

    `enabled` false computes everything anew, to the same bytes. `max_bytes` bounds the folder; what was used
    least recently goes.
    """

    enabled: bool = True
    max_bytes: int = 2_000_000_000


@dataclass(frozen=True, slots=True)
class InspectionConfig:
    """What `inspect` records: the first `frames` of camera 0, in pictures of `width_px`."""

    frames: int = 100
    width_px: int = 320

    def __post_init__(self) -> None:
        if self.frames < 1:
            raise InputError(f"inspection.frames: expected at least 1 frame, found {self.frames}")
        if self.width_px < 16:
            raise InputError(f"inspection.width_px: expected at least 16 px, found {self.width_px}")


@dataclass(frozen=True, slots=True)
class RunConfig:
    """One run.

    `system`, `scheduler` and `estimator` name a class and hold its options: a YAML's content, or no more than
    its `name`. λ, `scheduler.lambda_per_s`, also values every run's effective accuracy. `model` is a card, or
    the name of one. `config_folders` are searched before `conf/` for whatever has a name.
    """

    system: Mapping[str, Any]
    trace: TraceConfig = TraceConfig(mean_mbps=56.0, radio="lte")
    video: VideoConfig = VideoConfig()
    arrival: ArrivalConfig = ArrivalConfig()
    link: LinkConfig = LinkConfig()
    downlink: DownlinkConfig = DownlinkConfig()
    server: ServerConfig = ServerConfig()
    faults: FaultsConfig = FaultsConfig()
    matching: MatchingConfig = MatchingConfig()
    payload: PayloadConfig = PayloadConfig()
    refresh: RefreshConfig = RefreshConfig()
    estimator: Mapping[str, Any] = field(default_factory=lambda: {"name": "kalman"})
    scheduler: Mapping[str, Any] = field(default_factory=lambda: {"name": "ea"})
    accuracy: AccuracyConfig = AccuracyConfig()
    cache: CacheConfig = CacheConfig()
    edge: str = "jetson_xavier_nx"
    cloud: str = "rtx_3080"
    model: Mapping[str, Any] = field(default_factory=lambda: {"name": "yolo11m-seg"})
    config_folders: tuple[str, ...] = ()
    frames: int | None = None
    fps: float | None = None
    cameras: int = 1
    in_flight: int | None = None
    seed: int = 0
    replicates: int = 1
    replicate: int | None = None
    warmup_s: float = DEFAULT_WARMUP_S
    patience_s: float = 5.0
    codec_time: str = "profile"
    deterministic: bool = False
    regret: bool = False
    timeline: bool = False
    overlay: bool = False
    inspect: bool = False
    inspection: InspectionConfig = InspectionConfig()

    def __post_init__(self) -> None:
        if self.cameras < 1:
            raise InputError(f"cameras: expected at least 1 camera, found {self.cameras}")
        if self.in_flight is not None and self.in_flight < 1:
            raise InputError(f"in_flight: expected at least 1 frame, found {self.in_flight}")
        if self.frames is not None and self.frames < 1:
            raise InputError(f"frames: expected at least 1 frame, found {self.frames}")
        if self.fps is not None and not (math.isfinite(self.fps) and self.fps > 0):
            raise InputError(f"fps: expected a frame rate > 0 frames/s, found {self.fps}")
        if not self.patience_s > 0:
            raise InputError(f"patience_s: expected a time > 0 s, found {self.patience_s}")
        if self.replicates < 1:
            raise InputError(f"replicates: expected at least 1 run, found {self.replicates}")
        if self.replicate is not None and self.replicate < 0:
            raise InputError(f"replicate: expected a number >= 0, found {self.replicate}")
        if self.replicates > 1 and self.replicate is None:
            raise InputError(
                f"replicates: expected 1 in a single run, found {self.replicates}: python -m sim -m "
                f"replicates={self.replicates} makes them all, replicate=0 to {self.replicates - 1} one"
            )
        if not (math.isfinite(self.warmup_s) and self.warmup_s >= 0):
            raise InputError(f"warmup_s: expected a time >= 0 s, found {self.warmup_s}")
        if self.seed < 0:
            raise InputError(f"seed: expected a whole number >= 0, found {self.seed}")
        if "_target_" in self.scheduler and "lambda_per_s" not in self.scheduler:
            raise InputError(
                "scheduler.lambda_per_s: expected λ in the YAML of every scheduler, since it values the "
                f"results of a run, found none in that of {self.scheduler.get('name')!r}"
            )
        if not (math.isfinite(self.decay_per_s) and self.decay_per_s >= 0):
            raise InputError(
                f"scheduler.lambda_per_s: expected a decay >= 0 per second, found {self.decay_per_s}"
            )
        if not 0.0 < self.accuracy.dense <= 1.0:
            raise InputError(f"accuracy.dense: expected an accuracy in (0, 1], found {self.accuracy.dense}")
        if self.cache.max_bytes < 1:
            raise InputError(f"cache.max_bytes: expected at least 1 byte, found {self.cache.max_bytes}")
        if not 0.0 <= self.accuracy.coverage_threshold <= 1.0:
            raise InputError(
                "accuracy.coverage_threshold: expected a mean difference in [0, 1], "
                f"found {self.accuracy.coverage_threshold}"
            )
        if not (math.isfinite(self.downlink.mean_mbps) and self.downlink.mean_mbps > 0):
            raise InputError(
                f"downlink.mean_mbps: expected a rate > 0 Mbit/s, found {self.downlink.mean_mbps}"
            )
        if self.link.probe_s is not None and not self.link.probe_s > 0:
            raise InputError(f"link.probe_s: expected a time > 0 s, found {self.link.probe_s}")
        if not (math.isfinite(self.downlink.delay_s) and self.downlink.delay_s >= 0):
            raise InputError(
                f"downlink.delay_s: expected a finite delay >= 0 s, found {self.downlink.delay_s}"
            )
        choose("arrival.policy", self.arrival.policy, ("periodic", "queue", "closed_loop"))
        choose("video.kind", self.video.kind, ("scene", "file", "statistical"))
        for key, kind in (("path", "file"), ("statistics", "statistical")):
            if getattr(self.video, key) is not None and self.video.kind != kind:
                raise InputError(
                    f"video.{key}: expected video={kind} beside it, found video={self.video.kind}, "
                    "which reads none"
                )
        choose("codec_time", self.codec_time, ("profile", "none"))
        choose("link.sharing", self.link.sharing, ("fifo", "fair"))
        choose("accuracy.mode", self.accuracy.mode, ("auto", "coverage", "measured"))
        choose("accuracy.policy", self.accuracy.policy or "fixed", ("fixed", "truncate", "exact"))
        choose("accuracy.sampling", self.accuracy.sampling or "bilinear", ("bilinear", "nearest"))
        choose("accuracy.reference", self.accuracy.reference, ("dense", "masks", "both"))
        mean_mbps = self.trace.mean_mbps
        if mean_mbps is not None and not (math.isfinite(mean_mbps) and mean_mbps > 0):
            raise InputError(f"trace.mean_mbps: expected a rate > 0 Mbit/s, found {mean_mbps}")
        name = self.trace.name
        if self.trace.path is not None and mean_mbps is not None and LEVELS_MBPS.get(name) == mean_mbps:
            raise InputError(
                f"trace.path: expected trace=file beside it, found trace={name}, which would scale the file "
                f"to {mean_mbps:g} Mbit/s (trace=file trace.mean_mbps={mean_mbps:g} does so)"
            )

    @property
    def replicate_number(self) -> int:
        """Which replicate this is; a run alone is replicate 0."""
        return self.replicate or 0

    @property
    def decay_per_s(self) -> float:
        """λ: how fast an accuracy loses its worth."""
        value = self.scheduler.get("lambda_per_s", DEFAULT_DECAY_PER_S)
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise InputError(f"scheduler.lambda_per_s: expected a number, found {value!r}")
        return float(value)


def read_config(content: Mapping[str, Any]) -> RunConfig:
    """Turn plain mappings into a checked configuration.

    Raises:
        InputError: an unknown key (with the nearest one), a value of the wrong type or out of range.
    """
    named = {
        key: {"name": value} for key, value in content.items() if key in NAMED and isinstance(value, str)
    }
    return read_section(RunConfig, {**content, **named}, "")


def key_paths() -> list[str]:
    """Every key of a configuration as a dotted path, but for the options of classes that YAMLs name."""
    paths: list[str] = []
    for entry in fields(RunConfig):
        hint = get_type_hints(RunConfig)[entry.name]
        paths.append(entry.name)
        if is_dataclass(hint):
            paths.extend(f"{entry.name}.{inner.name}" for inner in fields(hint))
    return paths
