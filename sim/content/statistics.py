"""Frames as counts: how many blocks are active and how many bytes they take, drawn from a recording.

Which blocks are active is not known here, only how many. With s stale blocks left over from the last
message and a share q of newly active ones at the reference's age, a frame has s + (n − s)·q active blocks of
n, as if the new ones fell on stale and fresh blocks alike.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from conf.search_path import find_file, group_names
from profiler.latency import Profile
from sim.accuracy.coverage import IDLE
from sim.content.interface import (
    DeltaReceiver,
    DeltaReference,
    Frame,
    FrameHistory,
    Match,
    Message,
    Network,
    QuantisedEncoder,
    SharedImage,
)
from traces.errors import InputError
from traces.video.block_statistics import BlockSampler, BlockStatistics

if TYPE_CHECKING:
    from sim.config import RunConfig

HEADER_BYTES = 24  # of a message without vectors, beside its bitmap (kernels/codecs/block_payload.py)
DEFAULT_FRAMES = 300


@dataclass(slots=True, eq=False)
class CountReference:
    """The age of a reference, and what a frame of that age has to recompute."""

    sampler: BlockSampler
    blocks_total: int
    frame_index: int = -1
    stale: int = 0

    def match(self, frame: Frame) -> Match:
        if self.frame_index < 0:
            return Match(range(self.blocks_total), None, frame.index)
        age = frame.index - self.frame_index
        fraction = self.sampler.active_fraction(frame.index, age) if age > 0 else 0.0
        active = self.stale + (self.blocks_total - self.stale) * fraction
        return Match(range(int(active + 0.5)), None, frame.index)

    def replace(self, frame: Frame) -> None:
        self.frame_index = frame.index
        self.stale = 0


@dataclass(slots=True, eq=False)
class CountSharedImage(CountReference):
    """The server's image as counts: how old, how much of it stale, how much of it dirty since when."""

    version: int = 0
    _dirty: list[tuple[int, int]] = field(default_factory=list)  # (version, blocks)

    def apply(self, message: Message) -> int:
        self.version = 1 if message.whole else self.version + 1
        if message.whole:
            self._dirty.clear()
            self.frame_index = message.frame_index
            self.stale = 0
        elif message.realigned:
            self.frame_index = message.frame_index
            self.stale = message.unsent
        else:
            self.stale = max(0, self.stale - message.blocks)
        if not message.inferred:
            self._dirty.append((self.version, message.blocks))
            if self.dirty_blocks() == self.blocks_total:
                self._dirty = [(self.version, self.blocks_total)]
            return 0
        computed = min(self.blocks_total, message.blocks + self.dirty_blocks())
        self._dirty.clear()
        return computed

    def dirty_blocks(self, match: Match | None = None) -> int:
        return min(self.blocks_total, sum(blocks for _, blocks in self._dirty)) if self._dirty else 0

    def clean(self, version: int) -> None:
        self._dirty = [entry for entry in self._dirty if entry[0] > version]

    def same_as(self, other: SharedImage) -> bool:
        assert isinstance(other, CountSharedImage)
        return (self.frame_index, self.stale, self.dirty_blocks()) == (
            other.frame_index,
            other.stale,
            other.dirty_blocks(),
        )


@dataclass(slots=True, eq=False)
class DrawnFrameEncoder:
    """Sizes of encoded frames, drawn from the recording.

    The first H.264 frame, and the first after a restart, is a keyframe.
    """

    sampler: BlockSampler
    codec: str
    _keyframe: bool = True

    def encode(self, frame: Frame) -> int:
        if self.codec == "h264" and self._keyframe:
            self._keyframe = False
            return int(self.sampler.statistics.keyframe_bytes + 0.5)
        return int(self.sampler.frame_bytes(frame.index, self.codec) + 0.5)

    def decoded(self) -> NDArray[np.uint8]:
        raise _needs_pixels("decoded frames")

    def restart(self) -> None:
        self._keyframe = True


@dataclass(frozen=True, slots=True)
class StatisticalContent:
    """Frames drawn from a recording, for one camera."""

    sampler: BlockSampler
    blocks_total: int
    codec: str

    def reference(self) -> CountReference:
        """An empty reference."""
        return CountReference(self.sampler, self.blocks_total)

    def shared_image(self) -> CountSharedImage:
        """An empty shared image."""
        return CountSharedImage(self.sampler, self.blocks_total)

    def message(
        self, frame: Frame, blocks: Any, match: Match, epoch: int, *, inferred: bool, realign: bool
    ) -> Message:
        """Size a message of blocks, with all vectors if `realign`."""
        overhead = HEADER_BYTES
        if realign:
            overhead = int(self.sampler.overhead_bytes(frame.index) + 0.5)
        else:
            overhead += -(-self.blocks_total // 8)
        count = len(blocks)
        pixels = int(count * self.sampler.block_bytes(frame.index, self.codec) + 0.5)
        return Message(
            epoch=epoch,
            frame_index=frame.index,
            size_bytes=overhead + pixels,
            overhead_bytes=overhead,
            blocks=count,
            whole=False,
            inferred=inferred,
            realigned=realign,
            unsent=len(match.active) - count,
        )

    def whole_message(self, frame: Frame, epoch: int, *, inferred: bool = True) -> Message:
        """Size a message of all blocks: the start of an epoch."""
        everything = Match(range(self.blocks_total), None, frame.index)
        message = self.message(frame, everything.active, everything, epoch, inferred=inferred, realign=False)
        message.whole = True
        return message

    def block_bytes(self) -> float:
        """Typical bytes of a block: the recording's median."""
        row = self.sampler.statistics.block_bytes[self.codec]
        return row[len(row) // 2]

    def frame_encoder(
        self, codec: str, *, quality: int = 85, crf: float = 23.0, keyframe_interval: int = 250
    ) -> DrawnFrameEncoder:
        """Sizes of whole frames as they were recorded, with the recording's quality and interval."""
        return DrawnFrameEncoder(self.sampler, codec)

    def quantised_encoder(self) -> QuantisedEncoder:
        """Not recorded."""
        raise _needs_pixels("quantised frames")

    def delta_reference(self, threshold: float, dilation_px: int) -> DeltaReference:
        """Not recorded."""
        raise _needs_pixels("pixel deltas")

    def delta_receiver(self) -> DeltaReceiver:
        """Not recorded."""
        raise _needs_pixels("pixel deltas")

    def frame_history(self, frames: int) -> FrameHistory:
        """Not recorded."""
        raise _needs_pixels("comparisons with a history of frames")

    def network(self, policy: str = "fixed") -> Network:
        """None that runs."""
        return IDLE


def _needs_pixels(what: str) -> InputError:
    return InputError(
        f"video.kind: this system needs {what}, which recorded statistics do not hold: expected scene or "
        "file, found 'statistical'"
    )


@dataclass(frozen=True, slots=True)
class OpenedStatistics:
    """A recording as a video source."""

    statistics: BlockStatistics
    fps: float
    codec: str
    seed: int

    @property
    def name(self) -> str:
        """What tables call it."""
        return f"{self.statistics.name} (statistical)"

    @property
    def frames(self) -> int:
        """Frames of a run that names no number."""
        return DEFAULT_FRAMES

    @property
    def blocks_total(self) -> int:
        """Blocks of a frame."""
        return self.statistics.blocks_total

    def content(self, camera: int) -> StatisticalContent:
        """One camera's frames."""
        sampler = self.statistics.sampler(self.seed, camera, self.fps)
        return StatisticalContent(sampler, self.blocks_total, self.codec)


def _check_recorded(config: RunConfig) -> None:
    """Refuse what a recording has fixed: it would be ignored, and a sweep over it would show no effect."""
    recorded = {
        "matching.aligner": (config.matching.aligner, "search"),
        "matching.threshold": (config.matching.threshold, 0.025),
        "matching.radius_px": (config.matching.radius_px, 16),
        "payload.quality": (config.payload.quality, 85),
        "payload.block_px": (config.payload.block_px, 16),
    }
    for key, (found, fixed) in recorded.items():
        if found != fixed:
            raise InputError(
                f"{key}: statistics are recorded with {fixed}, found {found}; use video=scene or video=file"
            )


def open_statistics(config: RunConfig, profile: Profile) -> OpenedStatistics:
    """Open the recording that `video.statistics` names: a file, or a name of the group statistics.

    Raises:
        InputError: there is none, or its frames have more or fewer blocks than the model's.
    """
    named = config.video.statistics
    known = group_names("statistics")
    if named is None:
        raise InputError(f"video.statistics: expected a file or one of {', '.join(known)}, found none")
    path = find_file("statistics", named) or Path(named)
    if not path.is_file():
        raise InputError(f"video.statistics: expected a file or one of {', '.join(known)}, found {named!r}")
    statistics = BlockStatistics.load(path)
    _check_recorded(config)
    if statistics.blocks_total != profile.block_count:
        raise InputError(
            f"video.statistics: frames of model {profile.model!r} have {profile.block_count} blocks, found a "
            f"recording of {statistics.blocks_total} in {path}; record one at the model's resolution, or "
            f"choose a model of that many blocks"
        )
    fps = statistics.fps if config.fps is None else config.fps
    seed = config.seed if config.video.seed is None else config.video.seed
    return OpenedStatistics(statistics, fps, config.payload.codec, seed)
