"""A video file: any container that PyAV reads, decoded to RGB images by frame number."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from traces.errors import InputError
from traces.video.orientation import orientation
from traces.video.packet_index import scan
from traces.video.sequence import (
    CACHE_BYTES,
    FrameCache,
    Resizer,
    SizePx,
    check_fps,
    check_index,
    resize_geometry,
)

INEXACT = (2, 3)  # AV_PICTURE_TYPE_P and _B


class VideoFile:
    """The first video stream of a file that has more than one frame, as it is meant to be seen.

    Pictures are turned and mirrored by the container's display matrix, and pixels that are not square are
    made so. Opening reads the packets once, without decoding, for the presentation times and key frames:
    frame i is the i-th in presentation order. A clip that fits in `cache_bytes` is decoded once and kept; a
    longer one is decoded onward from where it is, or from the nearest key frame after a jump.

    Warns:
        InputWarning: as `traces.video.packet_index.scan`: a rate that varies, several videos in the file.

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
        index = scan(self.path, fps)
        self._packets = index
        self.frame_count = index.frame_count
        self._index_of = {time: number for number, time in enumerate(index.times)}
        self.fps = check_fps(
            index.fps if fps is None else fps, "fps" if fps is not None else f"{path}: frame rate"
        )
        height, width, aspect = index.height_px, index.width_px, index.pixel_aspect
        if index.orientation.transposed:
            height, width, aspect = width, height, 1 / aspect
        self._resizer = Resizer(resize_geometry(height, width, size_px, fit, aspect))
        self.height_px = self._resizer.placement.height_px
        self.width_px = self._resizer.placement.width_px
        self._cache = FrameCache(cache_bytes)
        self._container: Any = None
        self._frames: Iterator[Any] = iter(())
        self._next = -1  # the frame the decoder gives next; -1 before the first
        self._way = 0  # of `_seeks`, the one that found its frame last
        self._sealed: set[int] = set()  # key frames at which no seek arrives

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
        keys = self._packets.keys
        key = keys[bisect_right(keys, index) - 1]
        ahead = None
        if self._container is None or not key <= self._next <= index:
            ahead = self._land(key, index)
        while True:
            found, frame = ahead or self._following(index)
            ahead = None
            if found < self._next:
                continue  # a leading picture of an open group, which an exact seek decodes again
            if found > self._next and found > index:
                raise self._damaged(index, f"the decoder skips to frame {found}")
            self._next = found + 1
            image = self._convert(frame, found)
            if found == index:
                return image
            self._cache.put(found, image)

    def _following(self, index: int) -> tuple[int, Any]:
        """The next frame that the decoder gives, and its number."""
        import av

        while True:
            try:
                frame = next(self._frames)
            except StopIteration:
                raise self._damaged(index, "the stream ends before it") from None
            except av.error.FFmpegError as error:
                raise self._damaged(max(self._next, 0), str(error.strerror)) from error
            found = self._index_of.get(frame.pts) if self._index_of else self._next
            if found is not None:
                return found, frame

    # -- seeking -----------------------------------------------------------------------------------

    def _land(self, key: int, index: int) -> tuple[int, Any] | None:
        """Set the decoder to give key frame `key`, or an earlier one; the frame that was read to see so.

        Where a seek arrives is for the container to say: some know the times of presentation, some those of
        decoding, some take the next packet at hand. So it is tried, and earlier if it comes too late.
        """
        if key > 0 and key not in self._sealed:
            seeks = self._seeks(key)
            for way in (*range(self._way, len(seeks)), *range(min(self._way, len(seeks)))):
                time, sought = seeks[way]
                landed = self._try_seek(time, sought, index)
                if landed is not None:
                    self._way = way
                    return landed
            self._sealed.add(key)
        self._open()
        self._next = 0
        return None

    def _seeks(self, key: int) -> list[tuple[int, int]]:
        """(time, key frame) of the seeks that may reach `key` or, further down the list, one before it."""
        packets = self._packets
        place = bisect_right(packets.keys, key) - 1
        shown, decoded = packets.key_times[key]
        seeks = [(shown, key), (decoded, key)]
        back = 1
        while place - back > 0:
            earlier = packets.keys[place - back]
            seeks.append((packets.key_times[earlier][1], earlier))
            back *= 2
        return seeks

    def _try_seek(self, time: int, key: int, index: int) -> tuple[int, Any] | None:
        """Seek; the first frame from `key` on, if it is a key frame and not beyond `index`."""
        import av

        if self._container is None:
            self._open()
        try:
            self._container.seek(time, stream=self._stream(), backward=True)
            self._frames = self._container.decode(self._stream())
            for frame in self._frames:
                found = self._index_of.get(frame.pts)
                if found is None or found < key:
                    continue
                # A stream that is refreshed by and by has key "frames" from which decoding is not exact.
                exact = found in self._packets.key_times and frame.pict_type not in INEXACT
                if not exact or found > index or not self._goes_on(found):
                    return None
                self._next = found
                return found, frame
        except av.error.FFmpegError:
            pass  # of a place between two key frames: not yet a damage
        return None

    def _goes_on(self, found: int) -> bool:
        """Whether the frame that follows is the one after `found`; it stays the next that the decoder gives.

        A program stream gives the first frame behind a seek the time of another one where its packet began
        before the place that was sought.
        """
        for frame in self._frames:
            following = self._index_of.get(frame.pts)
            if following is not None:
                self._frames = chain((frame,), self._frames)
                return following == found + 1
        return found == self.frame_count - 1

    def _open(self) -> None:
        """Open the file, or open it again: decoding begins with the first frame."""
        import av

        self.close()
        self._container = av.open(str(self.path))
        self._stream().codec_context.thread_count = 1
        self._frames = self._container.decode(self._stream())

    def _stream(self) -> Any:
        return self._container.streams[self._packets.stream]

    # -- pictures ----------------------------------------------------------------------------------

    def _convert(self, frame: Any, index: int) -> NDArray[np.uint8]:
        packets = self._packets
        if (frame.height, frame.width) != (packets.height_px, packets.width_px):
            raise InputError(
                f"{self.path}: frame {index}: expected {packets.width_px}×{packets.height_px} px as at the "
                f"start, got {frame.width}×{frame.height}"
            )
        if frame.is_corrupt:
            raise self._damaged(index, "its data are corrupt")
        where = f"{self.path}: frame {index}"
        if (orientation(frame, where) or packets.orientation) != packets.orientation:
            raise InputError(f"{where}: expected the orientation of the first frame, found another")
        return self._resizer.image(packets.orientation.upright(frame.to_ndarray(format="rgb24")))

    def _damaged(self, index: int, why: str) -> InputError:
        return InputError(
            f"{self.path}: frame {index}: expected {self.frame_count} whole frames, "
            f"the clip is damaged: {why}"
        )
