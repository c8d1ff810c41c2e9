"""A video file: any container that PyAV reads, decoded to RGB images by frame number."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from traces.errors import InputError
from traces.video.sequence import (
    CACHE_BYTES,
    FrameCache,
    Resizer,
    SizePx,
    check_fps,
    check_index,
    resize_geometry,
)

TAIL_FRAMES = 3  # what a whole clip may lack at its end by rounding


class VideoFile:
    """The first video stream of a file.

    Opening reads the packets once, without decoding, for the presentation times and key frames: frame i is
    the i-th in presentation order. A clip that fits in `cache_bytes` is decoded once and kept; a longer one
    is decoded onward from where it is, or from the nearest key frame after a jump.

    Raises:
        InputError: the file is no video, has no frame, or breaks off; names the file and the frame.
    """

    synthetic = False

    def __init__(
        self,
        path: str | Path,
        size_px: SizePx = 640,
        fit: str = "letterbox",
        fps: float | None = None,
        cache_bytes: int = CACHE_BYTES,
    ) -> None:
        self.path = Path(path)
        self.name = self.path.stem
        index = _scan(self.path)
        rate, height, width = index.fps, index.height_px, index.width_px
        self._packets = index
        self.frame_count = index.frame_count
        self._index_of = {time: number for number, time in enumerate(index.times)}
        self.fps = check_fps(
            rate if fps is None else fps, "fps" if fps is not None else f"{path}: frame rate"
        )
        self._shape = (height, width)
        self._resizer = Resizer(resize_geometry(height, width, size_px, fit))
        self.height_px = self._resizer.placement.height_px
        self.width_px = self._resizer.placement.width_px
        self._cache = FrameCache(cache_bytes)
        self._container: Any = None
        self._frames: Iterator[Any] = iter(())
        self._next = -1  # the frame the decoder gives next; -1 before the first

    def __repr__(self) -> str:
        return f"VideoFile({str(self.path)!r}, {self.frame_count} frames, {self.fps:g} fps)"

    def image(self, index: int) -> NDArray[np.uint8]:
        """Frame `index`, (H, W, 3) RGB, read-only.

        Raises:
            InputError: the file is damaged there.
        """
        check_index(index, self.frame_count, self.name)
        return self._cache.get(index, self._decode_to)

    def mask(self, index: int) -> None:
        """None: a clip has no ground truth."""
        check_index(index, self.frame_count, self.name)

    def vectors(self, index: int, reference: int) -> None:
        """None: the motion is not known."""
        check_index(index, self.frame_count, self.name)
        check_index(reference, self.frame_count, self.name)

    def close(self) -> None:
        """Close the file; a later `image` opens it again."""
        if self._container is not None:
            self._container.close()
        self._container, self._frames, self._next = None, iter(()), -1

    def _decode_to(self, index: int) -> NDArray[np.uint8]:
        """Decode up to frame `index`, holding every frame on the way."""
        import av

        key = self._packets.keys[bisect_right(self._packets.keys, index) - 1]
        if self._container is None or not (max(self._next, key) == self._next <= index):
            self._seek(key)
        while True:
            try:
                frame = next(self._frames)
            except StopIteration:
                raise self._damaged(index, "the stream ends before it") from None
            except av.error.FFmpegError as error:
                raise self._damaged(self._next, str(error.strerror)) from error
            found = self._index_of.get(frame.pts) if self._index_of else self._next
            if found is None or found < self._next:
                continue  # a leading picture of an open group, which an exact seek decodes again
            if found > self._next and found > index:
                raise self._damaged(index, f"the decoder skips to frame {found}")
            self._next = found + 1
            image = self._convert(frame, found)
            if found == index:
                return image
            self._cache.put(found, image)

    def _convert(self, frame: Any, index: int) -> NDArray[np.uint8]:
        if (frame.height, frame.width) != self._shape:
            raise InputError(
                f"{self.path}: frame {index}: expected {self._shape[1]}×{self._shape[0]} px as at the start, "
                f"got {frame.width}×{frame.height}"
            )
        if frame.is_corrupt:
            raise self._damaged(index, "its data are corrupt")
        return self._resizer.image(frame.to_ndarray(format="rgb24"))

    def _seek(self, key: int) -> None:
        import av

        times = self._packets.times
        if self._container is not None and not times:
            self.close()
        if self._container is None:
            self._container = av.open(str(self.path))
            self._container.streams.video[0].codec_context.thread_count = 1
        stream = self._container.streams.video[0]
        if times and (key > 0 or self._next > 0):
            self._container.seek(times[key], stream=stream, backward=True)
        self._frames = self._container.decode(stream)
        self._next = key

    def _damaged(self, index: int, why: str) -> InputError:
        return InputError(
            f"{self.path}: frame {index}: expected {self.frame_count} whole frames, "
            f"the clip is damaged: {why}"
        )


@dataclass(frozen=True, slots=True)
class _PacketIndex:
    """What the packets of a stream tell without decoding.

    times: presentation times in ascending order; empty where the container does not tell them.
    keys: numbers of the frames at which decoding can begin.
    """

    frame_count: int
    times: tuple[int, ...]
    keys: tuple[int, ...]
    fps: float
    height_px: int
    width_px: int


def _scan(path: Path) -> _PacketIndex:
    import av

    times: list[int] = []
    key_times: list[int] = []
    count = end = 0
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise InputError(f"{path}: expected a video stream, found none")
            stream = container.streams.video[0]
            for packet in container.demux(stream):
                if not packet.size or packet.is_discard:
                    continue
                count += 1
                if packet.pts is not None:
                    times.append(packet.pts)
                    end = max(end, packet.pts + (packet.duration or 0))
                    if packet.is_keyframe:
                        key_times.append(packet.pts)
            rate = stream.average_rate or stream.guessed_rate
            height, width = stream.codec_context.height, stream.codec_context.width
            reordered = bool(stream.codec_context.has_b_frames)
            declared = stream.frames
            lone = len(container.streams) == 1  # the header's duration is that of the longest stream
            declared_s = (container.duration or 0) / av.time_base if lone else 0.0
            end_s = float((end - (stream.start_time or 0)) * (stream.time_base or 0))
    except av.error.FFmpegError as error:
        raise InputError(
            f"{path}: expected a video, the file cannot be read as one: {error.strerror}"
        ) from error
    if not count or not height or not width:
        raise InputError(f"{path}: expected a video with at least one frame, found none")
    if declared > count:
        raise InputError(
            f"{path}: frame {count}: expected {declared} frames as the header says, found {count}; "
            "the clip is truncated"
        )
    if times and rate and declared_s > 1.05 * end_s + TAIL_FRAMES / rate:
        raise InputError(
            f"{path}: frame {count}: expected {declared_s:.3f} s of video as the header says, "
            f"found {end_s:.3f} s; the clip is truncated"
        )
    # AVI and raw streams have no presentation times, or the decoding times in their place: count, never seek.
    if len(set(times)) < count or (reordered and times == sorted(times)):
        times, key_times = [], []
    index_of = {time: number for number, time in enumerate(sorted(times))}
    keys = sorted({0} | {index_of[time] for time in key_times})
    return _PacketIndex(count, tuple(sorted(times)), tuple(keys), float(rate) if rate else 0.0, height, width)
