"""A run's video with its decisions drawn on it: blocks that were processed or left stale, and what was found.

Blocks that were processed have a frame in the colour of their path, stale ones are tinted. Where a network
runs, the masks, boxes or keypoints of its result are drawn in a colour a class; labels of the whole frame are
written into its corner. A header says which frame it is, where its result came from, how late it was, and
what the colours mean. Frames without a result are left out; the one before stands until the next result's
frame was captured.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sim.records.account import ShownBlocks
from sim.records.outcome import Outcome

COLOURS = {"cloud": (0, 114, 178), "edge": (230, 159, 0), "split": (0, 158, 115), "reused": (86, 180, 233)}
STALE = (122, 31, 92)
LEAST_PX = 560  # width that the header needs; smaller frames are enlarged
LINE_PX = 20  # height of a line of the header
LABELS_PX = 130  # width of the corner in which labels of the whole frame are written
INK, PAPER = (255, 255, 255), (24, 24, 24)
_SMALLEST_PX = 16  # of a region that gets a box, in area
_HUE_STEP = 0.381966  # the golden section spreads the hues of neighbouring classes


@dataclass(frozen=True, slots=True)
class ShownFrame:
    """A finished frame to draw.

    Args:
        index: its number.
        captured_s, latency_s: when it was captured, and how long its result took.
        image: (H, W, 3) uint8.
        outcome: what became of it.
        blocks: what the system says of its blocks; None: nothing.
    """

    index: int
    captured_s: float
    latency_s: float
    image: NDArray[np.uint8]
    outcome: Outcome
    blocks: ShownBlocks | None = None


@dataclass(slots=True, eq=False)
class Overlay:
    """Draws camera 0's frames into a video as they are finished.

    Args:
        path: the MP4 to write.
        fps: captured frames a second.
        block_px: side of a block.
        unpack: makes a result of what an outcome holds; None where no network runs.
        class_names: of the network, for labels; a class without a name is its number.
    """

    path: Path
    fps: float
    block_px: int = 16
    unpack: Callable[[Any], Any] | None = None
    class_names: Sequence[str] = ()
    _container: Any = field(default=None)
    _stream: Any = field(default=None)

    def draw(self, frame: ShownFrame) -> NDArray[np.uint8]:
        """The frame with its header and all that is drawn on it, (H', W', 3) uint8 with even sides."""
        width_px = frame.image.shape[1]
        scale = max(1, -(-LEAST_PX // width_px))
        drawn = np.repeat(np.repeat(frame.image, scale, axis=0), scale, axis=1)
        if self.unpack is not None and frame.outcome.result is not None:
            drawn = _with_result(drawn, self.unpack(frame.outcome.result), scale, self.class_names)
        columns, side = width_px // self.block_px, self.block_px * scale
        colour = np.array(COLOURS[frame.outcome.path], np.uint8)
        active: Any = None if frame.blocks is None else frame.blocks.active
        for rank, block in enumerate(() if active is None else active):
            row, column = divmod(int(block), columns)
            cell = drawn[row * side : (row + 1) * side, column * side : (column + 1) * side]
            if rank >= frame.outcome.processed:
                cell[:] = (cell.astype(np.uint16) + np.array(STALE, np.uint16)) // 2
            else:
                cell[0], cell[-1], cell[:, 0], cell[:, -1] = colour, colour, colour, colour
        whole = np.concatenate([self._header(frame, drawn.shape[1]), drawn])
        return np.pad(whole, ((0, whole.shape[0] % 2), (0, whole.shape[1] % 2), (0, 0)))

    def add(self, frame: ShownFrame) -> None:
        """Draw a frame and append it; it is shown from its capture on."""
        import av

        drawn = self.draw(frame)
        rate = Fraction(self.fps).limit_denominator(1000)
        if self._container is None:
            self._container = av.open(str(self.path), "w")
            self._stream = self._container.add_stream("libx264", rate=rate)
            self._stream.height, self._stream.width = drawn.shape[:2]
            self._stream.pix_fmt = "yuv420p"
            self._stream.options = {"crf": "20", "preset": "veryfast"}
        picture = av.VideoFrame.from_ndarray(drawn, format="rgb24")
        picture.pts, picture.time_base = frame.index, 1 / rate
        self._container.mux(self._stream.encode(picture))

    def close(self) -> None:
        """Finish the file."""
        if self._container is not None:
            self._container.mux(self._stream.encode(None))
            self._container.close()
            self._container = None

    def _header(self, frame: ShownFrame, width_px: int) -> NDArray[np.uint8]:
        """Two lines: the frame, and what the colours mean; (2 · LINE_PX, width_px, 3)."""
        from PIL import Image, ImageDraw

        outcome = frame.outcome
        picture = Image.new("RGB", (width_px, 2 * LINE_PX), PAPER)
        pen, font = ImageDraw.Draw(picture), _font()
        parts = [
            f"frame {frame.index}, captured at {frame.captured_s:.3f} s",
            f"{outcome.path}, {1e3 * frame.latency_s:.1f} ms",
        ]
        if outcome.active is not None:
            parts.append(f"{outcome.processed} blocks processed, {outcome.stale} stale")
        pen.text((6, 3), "    ".join(parts), fill=INK, font=font)
        found = "  found: a colour a class" if self.unpack is not None else ""
        at_px = 6
        for name, colour in (*COLOURS.items(), ("stale", STALE)):
            chosen = name in (outcome.path, "stale")
            box = (at_px, LINE_PX + 5, at_px + 10, LINE_PX + 15)
            pen.rectangle(box, fill=colour if name == "stale" else None, outline=colour, width=2)
            pen.text((at_px + 15, LINE_PX + 3), name, fill=INK if chosen else (150, 150, 150), font=font)
            at_px += 30 + round(pen.textlength(name, font=font))
        pen.text((at_px, LINE_PX + 3), found, fill=INK, font=font)
        return np.asarray(picture)


def _font() -> Any:
    from PIL import ImageFont

    try:
        return ImageFont.load_default(12)
    except TypeError:  # Pillow 10.0 has one size
        return ImageFont.load_default()


def class_colour(label: int) -> tuple[int, int, int]:
    """The colour of a class."""
    import colorsys

    red, green, blue = colorsys.hsv_to_rgb(label * _HUE_STEP % 1.0, 0.9, 1.0)
    return round(255 * red), round(255 * green), round(255 * blue)


def _with_result(
    image: NDArray[np.uint8], result: Any, scale: int, class_names: Sequence[str]
) -> NDArray[np.uint8]:
    """An image with what a network found: masks and boxes around their regions, boxes, keypoints, labels."""
    from PIL import Image, ImageDraw

    classes = getattr(result, "classes", None)
    if classes is not None and np.ndim(classes) == 2:
        image = _with_masks(image, np.asarray(classes), scale)
    picture = Image.fromarray(image)
    pen = ImageDraw.Draw(picture)
    for x1, y1, x2, y2, label in found_boxes(result):
        corners = (x1 * scale, y1 * scale, max(x1, x2) * scale, max(y1, y2) * scale)
        pen.rectangle(corners, outline=class_colour(label), width=2)
    points = np.asarray(getattr(result, "points", np.zeros((0, 3))))
    kinds = getattr(result, "kinds", np.zeros(len(points), int))  # of one pose all in one colour
    for (x, y, *_), kind in zip(points.tolist(), np.asarray(kinds).tolist(), strict=True):
        place = (x * scale - 3, y * scale - 3, x * scale + 3, y * scale + 3)
        pen.ellipse(place, fill=class_colour(kind + 1))
    if getattr(result, "scores", None) is not None:
        said = zip(np.asarray(classes).tolist(), np.asarray(result.scores).tolist(), strict=True)
        _write_labels(pen, [(_name(label, class_names), score) for label, score in said])
    return np.array(picture)


def _write_labels(pen: Any, said: Sequence[tuple[str, float]]) -> None:
    """Names and scores in the upper left corner, a line each."""
    pen.rectangle((0, 0, LABELS_PX, len(said) * LINE_PX), fill=PAPER)
    for line, (name, score) in enumerate(said):
        pen.text((6, 3 + line * LINE_PX), f"{name}  {score:.2f}", fill=INK, font=_font())


def _name(label: int, class_names: Sequence[str]) -> str:
    return class_names[label] if label < len(class_names) else f"class {label}"


def _with_masks(image: NDArray[np.uint8], classes: NDArray[np.uint8], scale: int) -> NDArray[np.uint8]:
    """An image, `scale` times as large as the frame, with tinted masks."""
    blended = image.astype(np.uint16)
    for value in np.unique(classes[classes > 0]).tolist():
        large = np.repeat(np.repeat(classes == value, scale, axis=0), scale, axis=1)
        blended[large] = (blended[large] + np.array(class_colour(value), np.uint16)) // 2
    return blended.astype(np.uint8)


def found_boxes(result: Any) -> list[tuple[float, float, float, float, int]]:
    """(x1, y1, x2, y2, class + 1) in frame pixels of each box of a result, or each region of its masks."""
    classes = getattr(result, "classes", None)
    if getattr(result, "boxes", None) is not None:
        pairs = zip(np.asarray(result.boxes).tolist(), np.asarray(classes).tolist(), strict=True)
        return [(x1, y1, x2, y2, int(label) + 1) for (x1, y1, x2, y2), label in pairs]
    if classes is None or np.ndim(classes) != 2:
        return []
    from scipy.ndimage import find_objects, label

    boxes = []
    for value in np.unique(classes[classes > 0]).tolist():
        regions, _ = label(classes == value)
        for rows, columns in find_objects(regions):
            if (rows.stop - rows.start) * (columns.stop - columns.start) >= _SMALLEST_PX:
                boxes.append((columns.start, rows.start, columns.stop - 1, rows.stop - 1, value))
    return boxes
