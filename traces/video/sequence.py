"""A video as the simulator sees it: numbered RGB images of one size, with ground truth where there is any.

A sequence has as many frames as its source; `RepeatedVideo` makes it as long as a run needs. Sources are
clips (`traces.video.video_file`), folders of images (`traces.video.image_folder`) and composed scenes
(`traces.video.scenes.scene`).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from traces.errors import InputError

Fit = Literal["letterbox", "stretch", "crop"]
RepeatMode = Literal["pingpong", "loop", "stop"]
SizePx = int | tuple[int, int]

FITS: tuple[str, ...] = ("letterbox", "stretch", "crop")
REPEAT_MODES: tuple[str, ...] = ("pingpong", "loop", "stop")
PAD_GREY = 114  # the grey that letterboxed detectors are trained with
SIZE_MULTIPLE_PX = 16  # one block
FOLDER_FPS = 30.0  # a folder of images does not know its rate
CACHE_BYTES = 512 * 2**20


class VideoSequence(Protocol):
    """Numbered RGB images of one size.

    `image`, `mask` and `vectors` are pure: the same index gives the same bytes, in whatever order they are
    asked. They raise IndexError for an index outside [0, frame_count). Arrays are read-only.
    """

    @property
    def name(self) -> str: ...
    @property
    def fps(self) -> float:
        """Frames a second of the source."""

    @property
    def frame_count(self) -> int:
        """Frames the source has."""

    @property
    def height_px(self) -> int:
        """Height after resizing, a multiple of 16."""

    @property
    def width_px(self) -> int:
        """Width after resizing, a multiple of 16."""

    @property
    def synthetic(self) -> bool:
        """True where the images were composed and not filmed."""

    def image(self, index: int) -> NDArray[np.uint8]:
        """Frame `index`, (H, W, 3) RGB, C-contiguous."""

    def mask(self, index: int) -> NDArray[np.uint8] | None:
        """Object or class ids of frame `index`, (H, W), 0 for background; None without ground truth."""

    def vectors(self, index: int, reference: int) -> NDArray[np.int16] | None:
        """Motion of every pixel of frame `index`, (H, W, 2) as (dx, dy) in px; None where it is not known.

        Position in frame `reference` minus position in frame `index`.
        """


def check_index(index: int, frame_count: int, name: str) -> None:
    """Raise IndexError unless 0 <= index < frame_count."""
    if not 0 <= index < frame_count:
        raise IndexError(
            f"video {name!r}: frame {index} does not exist; it has frames 0 to {frame_count - 1}"
        )


def check_size(size_px: SizePx, key: str = "size_px") -> tuple[int, int]:
    """(height, width) in px of `size_px`, which is one side of a square or (height, width).

    Raises:
        InputError: a side is not a positive multiple of 16.
    """
    height, width = (size_px, size_px) if isinstance(size_px, int) else size_px
    for side in (height, width):
        if side <= 0 or side % SIZE_MULTIPLE_PX:
            raise InputError(f"{key}: expected a positive multiple of {SIZE_MULTIPLE_PX} px, got {side}")
    return height, width


def check_fps(fps: float, key: str = "fps") -> float:
    """`fps` as a float. Raises InputError unless it is a positive, finite number."""
    if not (np.isfinite(fps) and fps > 0):
        raise InputError(f"{key}: expected a positive number of frames a second, got {fps!r}")
    return float(fps)


@dataclass(frozen=True, slots=True)
class ResizeGeometry:
    """Where a source image lands in the resized one.

    The box (left, top, right, bottom) of the source, in px, is scaled to scaled_height_px ×
    scaled_width_px and put at (top_px, left_px) of a height_px × width_px image; the rest is padding.
    """

    height_px: int
    width_px: int
    box: tuple[int, int, int, int]
    scaled_height_px: int
    scaled_width_px: int
    top_px: int
    left_px: int

    @property
    def padded(self) -> bool:
        return (self.scaled_height_px, self.scaled_width_px) != (self.height_px, self.width_px)


def resize_geometry(
    source_height_px: int, source_width_px: int, size_px: SizePx, fit: str, pixel_aspect: float = 1.0
) -> ResizeGeometry:
    """Geometry of one resize.

    Pixels of the source are `pixel_aspect` times as wide as high (the sample aspect ratio of a clip); those
    of the target are square.

    `letterbox` keeps the whole source and its aspect ratio and pads evenly, `stretch` keeps the whole
    source and fills the target, `crop` keeps the aspect ratio and fills the target with the source's middle.

    Raises:
        InputError: `fit` is unknown, or `size_px` is not a multiple of 16.
    """
    height, width = check_size(size_px)
    if fit not in FITS:
        raise InputError(f"fit: expected one of {', '.join(FITS)}, got {fit!r}")
    whole = (0, 0, source_width_px, source_height_px)
    if fit == "stretch":
        return ResizeGeometry(height, width, whole, height, width, 0, 0)
    if fit == "crop":
        scale = max(height / source_height_px, width / (source_width_px * pixel_aspect))
        kept_height = max(1, round(height / scale))
        kept_width = max(1, round(width / (scale * pixel_aspect)))
        left, top = (source_width_px - kept_width) // 2, (source_height_px - kept_height) // 2
        return ResizeGeometry(
            height, width, (left, top, left + kept_width, top + kept_height), height, width, 0, 0
        )
    scale = min(height / source_height_px, width / (source_width_px * pixel_aspect))
    scaled_height = max(1, min(height, round(source_height_px * scale)))
    scaled_width = max(1, min(width, round(source_width_px * pixel_aspect * scale)))
    top_px, left_px = (height - scaled_height) // 2, (width - scaled_width) // 2
    return ResizeGeometry(height, width, whole, scaled_height, scaled_width, top_px, left_px)


class Resizer:
    """Resizes the images of one source size; one object for a sequence, so that the scaler is set up once.

    Images go through libswscale's bilinear filter, which averages when it shrinks; masks keep the nearest id.
    """

    def __init__(self, placement: ResizeGeometry, void: int = 0) -> None:
        from av.video.reformatter import VideoReformatter

        self.placement = placement
        self.void = void  # the id of padding in a mask
        self._reformatter = VideoReformatter()

    def image(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Resize (h, w, 3) RGB to (H, W, 3), C-contiguous and read-only; padding is grey 114."""
        from av import VideoFrame

        place = self.placement
        left, top, right, bottom = place.box
        kept = pixels[top:bottom, left:right]
        if kept.shape[:2] != (place.scaled_height_px, place.scaled_width_px):
            frame = VideoFrame.from_ndarray(np.ascontiguousarray(kept), format="rgb24")
            size = (place.scaled_width_px, place.scaled_height_px)
            scaled = self._reformatter.reformat(frame, *size, "rgb24", interpolation="BILINEAR")
            kept = np.asarray(scaled.to_ndarray(), dtype=np.uint8)
        return _pad(kept, place, PAD_GREY)

    def mask(self, ids: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Resize (h, w) ids to (H, W), read-only; padding is `void`."""
        place = self.placement
        left, top, right, bottom = place.box
        rows = top + _nearest(bottom - top, place.scaled_height_px)
        columns = left + _nearest(right - left, place.scaled_width_px)
        return _pad(ids[rows[:, None], columns], place, self.void)


def _nearest(source: int, target: int) -> NDArray[np.intp]:
    """Source index under the centre of each of `target` pixels."""
    return np.asarray((2 * np.arange(target) + 1) * source // (2 * target), dtype=np.intp)


def _pad(pixels: NDArray[np.uint8], placement: ResizeGeometry, value: int) -> NDArray[np.uint8]:
    if not placement.padded:
        return read_only(np.ascontiguousarray(pixels, dtype=np.uint8))
    padded = np.full((placement.height_px, placement.width_px, *pixels.shape[2:]), value, dtype=np.uint8)
    top, left = placement.top_px, placement.left_px
    padded[top : top + placement.scaled_height_px, left : left + placement.scaled_width_px] = pixels
    return read_only(padded)


def read_only(array: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """`array`, no longer writeable."""
    array.flags.writeable = False
    return array


class FrameCache:
    """The frames used last, up to a number of bytes; the frame used longest ago leaves first."""

    def __init__(self, budget_bytes: int = CACHE_BYTES) -> None:
        self.budget_bytes = budget_bytes
        self.held_bytes = 0
        self._frames: OrderedDict[int, NDArray[np.uint8]] = OrderedDict()

    def __repr__(self) -> str:
        return f"FrameCache({len(self._frames)} frames, {self.held_bytes}/{self.budget_bytes} bytes)"

    def __contains__(self, index: int) -> bool:
        return index in self._frames

    def get(self, index: int, make: Callable[[int], NDArray[np.uint8]]) -> NDArray[np.uint8]:
        """Frame `index`, made by `make` if it is not held."""
        if index not in self._frames:
            self.put(index, make(index))
        self._frames.move_to_end(index)
        return self._frames[index]

    def put(self, index: int, frame: NDArray[np.uint8]) -> None:
        """Hold `frame`. The newest frame stays even where it alone exceeds the budget."""
        if index in self._frames:
            return
        self._frames[index] = frame
        self.held_bytes += frame.nbytes
        while self.held_bytes > self.budget_bytes and len(self._frames) > 1:
            _, oldest = self._frames.popitem(last=False)
            self.held_bytes -= oldest.nbytes


class RepeatedVideo:
    """A sequence stretched to any number of frames.

    `pingpong` plays forward and back without a cut and without showing an end frame twice, `loop` starts
    again with a cut, `stop` refuses more frames than there are.

    Raises:
        InputError: mode is unknown, frame_count is not positive, or `stop` is asked for too many frames.
    """

    def __init__(self, sequence: VideoSequence, frame_count: int, mode: str = "pingpong") -> None:
        if mode not in REPEAT_MODES:
            raise InputError(f"repeat: expected one of {', '.join(REPEAT_MODES)}, got {mode!r}")
        if frame_count <= 0:
            raise InputError(f"frames: expected a positive number of frames, got {frame_count}")
        if mode == "stop" and frame_count > sequence.frame_count:
            raise InputError(
                f"frames: video {sequence.name!r} has {sequence.frame_count} frames, got {frame_count} "
                "with repeat=stop; expected fewer frames, or repeat=pingpong or loop"
            )
        self.sequence = sequence
        self.frame_count = frame_count
        self.mode = mode
        self.name = sequence.name
        self.fps = sequence.fps
        self.height_px = sequence.height_px
        self.width_px = sequence.width_px
        self.synthetic = sequence.synthetic

    def __repr__(self) -> str:
        return f"RepeatedVideo({self.sequence!r}, {self.frame_count}, {self.mode!r})"

    def source_index(self, index: int) -> int:
        """The frame of the source that is shown as frame `index`."""
        check_index(index, self.frame_count, self.name)
        count = self.sequence.frame_count
        if self.mode != "pingpong":
            return index % count
        period = max(1, 2 * (count - 1))
        phase = index % period
        return phase if phase < count else period - phase

    def image(self, index: int) -> NDArray[np.uint8]:
        return self.sequence.image(self.source_index(index))

    def mask(self, index: int) -> NDArray[np.uint8] | None:
        return self.sequence.mask(self.source_index(index))

    def vectors(self, index: int, reference: int) -> NDArray[np.int16] | None:
        return self.sequence.vectors(self.source_index(index), self.source_index(reference))
