"""What a clip's packets tell without decoding: which stream to read, its frames, their times and key frames.

Only the first frame is decoded, for what it alone tells: its size, and how it is turned.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

from traces.errors import InputError
from traces.notices import warn_once
from traces.video.frame_rate import FrameRate, frame_rate
from traces.video.orientation import UPRIGHT, Orientation, orientation
from traces.video.sequence import FOLDER_FPS

TAIL_FRAMES = 3  # what a whole clip may lack at its end by rounding
PREDICTED = 2  # AV_PICTURE_TYPE_P: before a key frame, it is a guess


@dataclass(frozen=True, slots=True)
class PacketIndex:
    """The frames of one stream.

    stream: its number among all streams of the container.
    times: presentation times in ascending order, in the stream's time base; empty where the container does
        not tell them: frames can then only be counted.
    keys: numbers of the frames at which decoding can begin, the first always among them.
    key_times: of each of `keys` but the first, the times by which a seek may find it: of presentation, of
        decoding.
    height_px, width_px: as stored, before `orientation`.
    pixel_aspect: width of a stored pixel over its height.
    """

    stream: int
    frame_count: int
    times: tuple[int, ...]
    keys: tuple[int, ...]
    key_times: dict[int, tuple[int, int]]
    fps: float
    height_px: int
    width_px: int
    orientation: Orientation
    pixel_aspect: float


def scan(path: Path, fps: float | None = None) -> PacketIndex:
    """Read the packets of a clip, and its first frame.

    Args:
        path: the file.
        fps: frames a second that the caller will use; the clip's own rate by default.

    Warns:
        InputWarning: the file has several videos, begins with frames that nothing can decode, or its frames
            are not evenly spaced in time.

    Raises:
        InputError: the file is no video, has no frame, is shorter than its header says, or is turned by
            anything but quarter turns.
    """
    import av

    try:
        with av.open(str(path)) as container:
            stream, packets = _chosen(path, container)
            _check_length(path, container, stream, packets)
        first = _first_frame(path, packets)
    except av.error.FFmpegError as error:
        raise InputError(
            f"{path}: expected a video, the file cannot be read as one: {error.strerror}"
        ) from error
    times = _times(path, packets, first)
    rate = _rate(packets, times)
    count = len(times) or len(packets.pts)
    if rate.varies_s and fps is None:
        shortest, longest = (1000 * interval for interval in rate.varies_s)
        warn_once(
            f"{path}: the frame rate varies, intervals are {shortest:.4g} to {longest:.4g} ms: the {count} "
            f"frames are taken as evenly spaced at their mean rate, {rate.fps:.4g} fps"
        )
    number_of = {time: number for number, time in enumerate(times)}
    key_times = {}
    for place in packets.keys:
        shown, decoded = packets.pts[place], packets.dts[place]
        if shown is not None and number_of.get(shown, 0) > 0:
            key_times[number_of[shown]] = (shown, shown if decoded is None else decoded)
    return PacketIndex(
        stream=packets.stream,
        frame_count=count,
        times=times,
        keys=(0, *sorted(key_times)),
        key_times=key_times,
        fps=rate.fps,
        height_px=first.height_px if first else packets.height_px,
        width_px=first.width_px if first else packets.width_px,
        orientation=first.orientation if first else UPRIGHT,
        pixel_aspect=first.pixel_aspect if first else 1.0,
    )


# -- packets ---------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Packets:
    """A stream and its packets in the order of decoding; times are None where the container has none."""

    stream: int
    tick_s: Fraction
    pts: list[int | None] = field(default_factory=list)
    dts: list[int | None] = field(default_factory=list)
    keys: list[int] = field(default_factory=list)  # places in `pts` and `dts`
    end: int = 0
    stored: int = 0  # with those that an edit list leaves out
    first_key: tuple[int, int | None] | None = None  # its place among those stored, and its time
    height_px: int = 0
    width_px: int = 0
    reordered: bool = False
    rates: tuple[Fraction | None, ...] = ()  # that the container states or guesses

    def add(self, packet: Any) -> None:
        if packet.is_keyframe and self.first_key is None:
            self.first_key = (self.stored, packet.pts)
        self.stored += 1
        if packet.is_discard:
            return
        if packet.is_keyframe:
            self.keys.append(len(self.pts))
        self.pts.append(packet.pts)
        self.dts.append(packet.dts)
        if packet.pts is not None:
            self.end = max(self.end, packet.pts + (packet.duration or 0))


def _chosen(path: Path, container: Any) -> tuple[Any, _Packets]:
    """The first stream of more than one frame, since a cover picture or a thumbnail has one."""
    streams = [stream for stream in container.streams.video if stream.codec_context is not None]
    if not streams:
        found = "none that can be decoded" if container.streams.video else "none"
        raise InputError(f"{path}: expected a video stream, found {found}")
    held = {stream.index: _Packets(stream.index, stream.time_base or Fraction(0)) for stream in streams}
    for packet in container.demux(*streams):
        if packet.size:
            held[packet.stream.index].add(packet)
    moving = [stream for stream in streams if len(held[stream.index].pts) > 1]
    if len(moving) > 1:
        context = moving[0].codec_context
        warn_once(
            f"{path}: has {len(moving)} videos; the first is used, {context.width}×{context.height} px, "
            f"{len(held[moving[0].index].pts)} frames"
        )
    shown = moving or [stream for stream in streams if held[stream.index].pts] or streams
    stream, packets = shown[0], held[shown[0].index]
    context = stream.codec_context
    packets.height_px, packets.width_px = context.height, context.width
    packets.reordered = bool(context.has_b_frames)
    packets.rates = (stream.average_rate, stream.base_rate, stream.guessed_rate)
    if not packets.pts or not packets.height_px or not packets.width_px:
        raise InputError(f"{path}: expected a video with at least one frame, found none")
    return stream, packets


def _check_length(path: Path, container: Any, stream: Any, packets: _Packets) -> None:
    """Raise InputError where the header tells of more than the file holds."""
    import av

    found, count = packets.stored, len(packets.pts)
    if container.format.name == "avi":  # counts frames that were dropped, too: they have no packet
        times = sorted(time for time in packets.dts if time is not None)
        last = max((b - a for a, b in pairwise(times)), default=1)  # how long the last frame may be shown
        found = max(found, times[-1] + last if times else 0)
    if stream.frames > found:
        raise InputError(
            f"{path}: frame {found}: expected {stream.frames} frames as the header says, found {found}; "
            "the clip is truncated"
        )
    rate = next((rate for rate in packets.rates if rate), None)
    if len(container.streams) > 1 or not rate or None in packets.pts:
        return  # the header's duration is that of the longest stream
    stated_s = (container.duration or 0) / av.time_base
    start_s, end_s = (float(time * packets.tick_s) for time in (stream.start_time or 0, packets.end))
    found_s = end_s - start_s
    # Matroska states when the last frame ends, which is no duration where the first one is not at 0.
    if stated_s - max(found_s, end_s) > 0.05 * found_s + TAIL_FRAMES / rate:
        raise InputError(
            f"{path}: frame {count}: expected {stated_s:.3f} s of video as the header says, "
            f"found {found_s:.3f} s; the clip is truncated"
        )


def _times(path: Path, packets: _Packets, first: _FirstFrame | None) -> tuple[int, ...]:
    """Presentation times in ascending order; none where the packets do not tell them all."""
    times = [time for time in packets.pts if time is not None]
    if len(set(times)) < len(packets.pts):
        return ()
    if packets.reordered and times == sorted(times):
        return ()  # AVI has the times of decoding in their place
    times.sort()
    key = packets.first_key[1] if packets.first_key else None
    if first is None or first.time is None or key is None or not times[0] < first.time <= key:
        return tuple(times)
    # A recording of a broadcast begins anywhere: before its first key frame nothing can be decoded.
    kept = tuple(time for time in times if time >= first.time)
    warn_once(
        f"{path}: begins with {len(times) - len(kept)} frames that cannot be decoded, for their key frame is "
        "not in the file: they are left out"
    )
    return kept


def _rate(packets: _Packets, times: tuple[int, ...]) -> FrameRate:
    steps = [b - a for a, b in pairwise(times)]
    if not times:  # frames are decoded at the rate at which they are shown
        steps = [b - a for a, b in pairwise(packets.dts) if a is not None and b is not None and b > a]
    measured = frame_rate(steps, packets.tick_s, packets.rates) if packets.tick_s else None
    if measured is not None:
        return measured
    return FrameRate(next((float(rate) for rate in packets.rates if rate), FOLDER_FPS))


# -- the first frame -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _FirstFrame:
    time: int | None
    height_px: int
    width_px: int
    orientation: Orientation
    pixel_aspect: float


def _first_frame(path: Path, packets: _Packets) -> _FirstFrame | None:
    """The first frame that can be decoded; None where there is none: reading it will tell why."""
    import av

    try:
        with av.open(str(path)) as container:
            stream: Any = container.streams[packets.stream]
            stream.codec_context.thread_count = 1
            frames: Iterator[Any] = container.decode(stream)
            whole = packets.first_key is None or packets.first_key[0] == 0
            frame = next((frame for frame in frames if whole or frame.pict_type != PREDICTED), None)
            if frame is None:
                return None
            aspect = stream.sample_aspect_ratio or stream.codec_context.sample_aspect_ratio or 1
            turned = orientation(frame, f"{path}: frame 0") or UPRIGHT
            return _FirstFrame(frame.pts, frame.height, frame.width, turned, float(aspect))
    except av.error.FFmpegError:
        return None
