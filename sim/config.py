"""The configuration of a run, checked: one frozen dataclass a section, each key with its unit and default.

A run is described by plain mappings (YAML, whatever wrote them); :func:`read_config` turns them into these
values or says in one line which key is wrong. The YAML files of ``conf/`` hold the named choices.
"""

from __future__ import annotations

import difflib
import math
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from sim.schedulers import DEFAULT_DECAY_PER_S
from traces.errors import InputError

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class TraceConfig:
    """The uplink's bandwidth: a file, or the synthetic generator where `path` is null.

    A synthetic trace is as long as the run, or a whole part of it of at most a minute (`duration_s` null; at
    least 10 s), so that its mean is what the run sees: ten seconds of a bursty minute may carry half or twice
    as much.
    """

    name: str = "medium"
    path: str | None = None
    format: str | None = None
    direction: str = "uplink"
    column: str | None = None
    mean_mbps: float | None = None
    start_s: float = 0.0
    end_s: float | None = None
    offset_s: float = 0.0
    duration_s: float | None = None
    seed: int | None = None


@dataclass(frozen=True, slots=True)
class VideoConfig:
    """What the camera sees. `kind`: scene (composed), file (clip or folder) or statistical (no pixels)."""

    kind: str = "scene"
    name: str = "scene"
    path: str | None = None
    size_px: int | None = None
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
    """The uplink beside its trace. `sharing`: fifo or fair."""

    sharing: str = "fifo"
    delay_s: float = 0.01
    loss: float = 0.0
    retransmission_delay_s: float = 0.008
    outages_s: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True, slots=True)
class DownlinkConfig:
    """The way back: a constant rate, since results are small."""

    mean_mbps: float = 100.0
    delay_s: float = 0.01


@dataclass(frozen=True, slots=True)
class ServerConfig:
    """`crashes_s`: [start, end] pairs during which the server is down; its state is lost."""

    crashes_s: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True, slots=True)
class MatchingConfig:
    """Motion search and miss classification. `aligner`: search, h264 or none."""

    threshold: float = 0.025
    radius_px: int = 16
    aligner: str = "search"


@dataclass(frozen=True, slots=True)
class PayloadConfig:
    """How blocks are encoded. `codec`: raw, png or jpeg."""

    codec: str = "jpeg"
    quality: int = 85
    block_px: int = 16


@dataclass(frozen=True, slots=True)
class RefreshConfig:
    """A dense refresh gives way between `operators` equal steps; YOLO11n-seg has 100 convolutions."""

    operators: int = 100


@dataclass(frozen=True, slots=True)
class EstimatorConfig:
    """`name`: ewma, harmonic, kalman or oracle."""

    name: str = "ewma"
    alpha: float = 0.3
    window: int = 5
    process: float = 0.1
    measurement: float = 0.3
    horizon_s: float = 0.1


@dataclass(frozen=True, slots=True)
class SchedulerConfig:
    """`name`: ea, latency or oracle. λ also values every run's effective accuracy."""

    name: str = "ea"
    lambda_per_s: float = DEFAULT_DECAY_PER_S


@dataclass(frozen=True, slots=True)
class AccuracyConfig:
    """`mode`: coverage or measured. `dense`: accuracy of dense inference, 1 where normalised by it.

    The rest says what really runs where accuracy is measured: `model` default (the small network of the
    embedded scenes) or a yolo11 with its `weights` in a safetensors file; `policy` fixed, truncate or exact,
    how computed blocks go through it (null: as the system has it); `sampling` bilinear or nearest, how maps
    are read along vectors. Latencies are those of the run's `model` either way.

    `reference` says what results are compared with: dense inference on the true frame, the video's masks, or
    both. Against masks, `classes` are the names of the network's classes and `mask_ids` the masks' ids that
    count as foreground (null: all, but for id 0).
    """

    mode: str = "coverage"
    dense: float = 1.0
    model: str = "default"
    weights: str | None = None
    policy: str | None = None
    sampling: str = "bilinear"
    reference: str = "dense"
    classes: tuple[str, ...] | None = None
    mask_ids: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True)
class RunConfig:
    """One run. `system` holds its name and whatever options that system has."""

    system: Mapping[str, Any] = field(default_factory=lambda: {"name": "fluxshard_ea"})
    trace: TraceConfig = TraceConfig(mean_mbps=56.0)
    video: VideoConfig = VideoConfig()
    arrival: ArrivalConfig = ArrivalConfig()
    link: LinkConfig = LinkConfig()
    downlink: DownlinkConfig = DownlinkConfig()
    server: ServerConfig = ServerConfig()
    matching: MatchingConfig = MatchingConfig()
    payload: PayloadConfig = PayloadConfig()
    refresh: RefreshConfig = RefreshConfig()
    estimator: EstimatorConfig = EstimatorConfig()
    scheduler: SchedulerConfig = SchedulerConfig()
    accuracy: AccuracyConfig = AccuracyConfig()
    edge: str = "jetson_xavier_nx"
    cloud: str = "rtx_3080"
    model: str = "yolo11m-seg"
    profile_folders: tuple[str, ...] = ()
    frames: int | None = None
    fps: float | None = None
    cameras: int = 1
    in_flight: int | None = None
    seed: int = 0
    patience_s: float = 5.0
    deterministic: bool = False
    regret: bool = False
    timeline: bool = False
    overlay: bool = False

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
        if self.seed < 0:
            raise InputError(f"seed: expected a whole number >= 0, found {self.seed}")
        if not (math.isfinite(self.scheduler.lambda_per_s) and self.scheduler.lambda_per_s >= 0):
            raise InputError(
                "scheduler.lambda_per_s: expected a decay >= 0 per second, "
                f"found {self.scheduler.lambda_per_s}"
            )
        if not 0.0 < self.accuracy.dense <= 1.0:
            raise InputError(f"accuracy.dense: expected an accuracy in (0, 1], found {self.accuracy.dense}")
        if not (math.isfinite(self.downlink.mean_mbps) and self.downlink.mean_mbps > 0):
            raise InputError(
                f"downlink.mean_mbps: expected a rate > 0 Mbit/s, found {self.downlink.mean_mbps}"
            )
        if not (math.isfinite(self.downlink.delay_s) and self.downlink.delay_s >= 0):
            raise InputError(
                f"downlink.delay_s: expected a finite delay >= 0 s, found {self.downlink.delay_s}"
            )
        if not (math.isfinite(self.estimator.horizon_s) and self.estimator.horizon_s > 0):
            raise InputError(f"estimator.horizon_s: expected a time > 0 s, found {self.estimator.horizon_s}")
        choose("arrival.policy", self.arrival.policy, ("periodic", "queue", "closed_loop"))
        choose("video.kind", self.video.kind, ("scene", "file", "statistical"))
        choose("link.sharing", self.link.sharing, ("fifo", "fair"))
        choose("accuracy.mode", self.accuracy.mode, ("coverage", "measured"))
        choose("accuracy.policy", self.accuracy.policy or "fixed", ("fixed", "truncate", "exact"))
        choose("accuracy.sampling", self.accuracy.sampling, ("bilinear", "nearest"))
        choose("accuracy.reference", self.accuracy.reference, ("dense", "masks", "both"))
        mean_mbps = self.trace.mean_mbps
        if mean_mbps is not None and not (math.isfinite(mean_mbps) and mean_mbps > 0):
            raise InputError(f"trace.mean_mbps: expected a rate > 0 Mbit/s, found {mean_mbps}")


def choose(key: str, value: str, choices: Sequence[str]) -> str:
    """`value` if it is one of `choices`.

    Raises:
        InputError: it is not; names the choices and the nearest one.
    """
    if value in choices:
        return value
    near = difflib.get_close_matches(str(value), choices, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    raise InputError(f"{key}: expected one of {', '.join(choices)}, found {value!r}{hint}")


def read_config(content: Mapping[str, Any]) -> RunConfig:
    """Turn plain mappings into a checked configuration.

    Raises:
        InputError: an unknown key (with the nearest one), a value of the wrong type or out of range.
    """
    return read_section(RunConfig, content, "")


def read_section(kind: type[T], content: Any, key: str) -> T:
    """Read one section into its dataclass; `key` is its path in the configuration, for messages."""
    if not isinstance(content, Mapping):
        raise InputError(f"{key or 'configuration'}: expected a section of keys, found {content!r}")
    hints = get_type_hints(kind)
    names = [entry.name for entry in fields(kind) if entry.init]  # type: ignore[arg-type]
    values: dict[str, Any] = {}
    for name, value in content.items():
        path = f"{key}.{name}" if key else str(name)
        if name not in names:
            near = difflib.get_close_matches(str(name), names, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise InputError(f"{path}: expected one of the keys {', '.join(sorted(names))}{hint}")
        values[name] = _read_value(hints[name], value, path)
    for entry in fields(kind):  # type: ignore[arg-type]
        required = entry.default is MISSING and entry.default_factory is MISSING
        if entry.init and required and entry.name not in values:
            raise InputError(f"{key}.{entry.name}: expected a value, found none")
    return kind(**values)


def _read_value(hint: Any, value: Any, path: str) -> Any:
    origin = get_origin(hint)
    if origin in (Union, types.UnionType):
        options = get_args(hint)
        if value is None and type(None) in options:
            return None
        inner = [option for option in options if option is not type(None)]
        return _read_value(inner[0], value, path)
    if is_dataclass(hint):
        return read_section(typing.cast("type[Any]", hint), value, path)
    if origin is tuple:
        if not isinstance(value, Sequence) or isinstance(value, str):
            raise InputError(f"{path}: expected a list, found {value!r}")
        args = get_args(hint)
        if args[-1] is Ellipsis:
            return tuple(_read_value(args[0], item, f"{path}[{i}]") for i, item in enumerate(value))
        if len(value) != len(args):
            raise InputError(f"{path}: expected {len(args)} numbers, found {list(value)}")
        return tuple(
            _read_value(arg, item, f"{path}[{i}]")
            for i, (arg, item) in enumerate(zip(args, value, strict=True))
        )
    if origin is typing.Literal:
        return choose(path, value, get_args(hint))
    if hint is float:
        if isinstance(value, bool) or not isinstance(value, (int, float)) or math.isnan(value):
            raise InputError(f"{path}: expected a number, found {value!r}")
        return float(value)
    if hint is int:
        if isinstance(value, bool) or not isinstance(value, int):
            raise InputError(f"{path}: expected a whole number, found {value!r}")
        return value
    if hint is bool:
        if not isinstance(value, bool):
            raise InputError(f"{path}: expected true or false, found {value!r}")
        return value
    if hint is str:
        if isinstance(value, int) and not isinstance(value, bool):
            return str(value)  # a layer called "3" is written as 3
        if not isinstance(value, str):
            raise InputError(f"{path}: expected a text, found {value!r}")
        return value
    return value  # a mapping that its owner reads


def key_paths() -> list[str]:
    """Every key of a configuration as a dotted path, but for the options of systems."""
    paths: list[str] = []
    for entry in fields(RunConfig):
        hint = get_type_hints(RunConfig)[entry.name]
        paths.append(entry.name)
        if is_dataclass(hint):
            paths.extend(f"{entry.name}.{inner.name}" for inner in fields(hint))
    return paths
