"""What can be looked at of a run's first frames: pictures, the state of each block, vectors, what was found.

`inspect=true` leaves a folder ``inspection/`` beside frames.parquet, of camera 0's first frames that gave a
result:

- ``inspection.json``: which frames, their sizes, boxes, points and labels that were found, names of classes;
- ``frame-00012.jpg``: the frame as it was captured, made smaller;
- ``blocks.npz``: `states` (frames, rows, columns) uint8, of each block the sum of what of :data:`STATES` it
  is; `known` (frames,) uint8, the sum of those that are known at all; `vectors` (frames, rows, columns, 2)
  int16, position in the reference minus position in the frame, px, and `has_vectors` (frames,) bool;
- ``results.npz``: `shown` and `dense`, (frames, height, width) uint8 class maps at the pictures' size, 0
  where nothing was found and class c as c + 1, of what the client was shown and of dense inference on the
  true frame; only of networks that draw masks;
- ``link.csv``: the uplink's rate, a mean over each tenth of a second.

Nothing is guessed: a system that knows no blocks, or does not say which it computed, leaves that state
unknown. A set that a system names is taken only if it has as many blocks as the frame's row in frames.parquet
says.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sim.records.account import ShownBlocks
from sim.records.outcome import Outcome, RestsOn
from sim.records.overlay import ShownFrame, found_boxes

#: What a block can be, each a bit: `active` must be recomputed, `reused` is not and was not computed either
#: (its features are of an earlier frame), `stale` differs by τ₀ or more in what the result rests on, `sent`
#: crossed the uplink before the result, `computed` was given to inference.
STATES = {"active": 1, "reused": 2, "stale": 4, "sent": 8, "computed": 16}
FOLDER = "inspection"
JPEG_QUALITY = 72

BlockMap = NDArray[np.bool_]
StaleMap = Callable[[NDArray[np.uint8], RestsOn, str], BlockMap]


@dataclass(slots=True, eq=False)
class Inspection:
    """Records what camera 0's first frames looked like; writes it once the run is over.

    Args:
        rows, columns: blocks of a frame.
        block_px: their side.
        frames: those captured before this number are recorded.
        width_px: of the pictures; smaller frames stay as they are.
        stale_map: which blocks of what a result rests on are stale, (rows, columns), of the frame's image and
            the place of the system's code.
        unpack: makes a result of what an outcome holds; None where no network runs.
        truth: the packed result of dense inference by frame; None where results are not compared with it. It
            is asked once the run is over: asking earlier would change in which order networks see frames.
        class_names: what c of a class map's c + 1, and of boxes, stands for.
    """

    rows: int
    columns: int
    block_px: int
    frames: int
    width_px: int
    stale_map: StaleMap
    unpack: Callable[[Any], Any] | None = None
    truth: Callable[[int], bytes] | None = None
    class_names: Sequence[str] = ()
    _stale: BlockMap | None = None  # of the frame that is being booked
    _seen: list[_SeenFrame] = field(default_factory=list)

    def valued(self, outcome: Outcome, image: NDArray[np.uint8], place: str) -> Outcome:
        """The outcome with its stale blocks counted, as the run's ruler counts them; which they are is kept.

        Raises:
            InputError: it rests on what is no image of the frame's size.
        """
        if outcome.rests_on is None:
            return outcome
        self._stale = self.stale_map(image, outcome.rests_on, place)
        return outcome._replace(stale=int(np.count_nonzero(self._stale)), rests_on=None)

    def add(self, frame: ShownFrame) -> None:
        """Record a finished frame, if it is one of the first."""
        stale, self._stale = self._stale, None
        if frame.index >= self.frames:
            return
        states, known = self._states(frame.outcome, frame.blocks, stale)
        vectors = None if frame.blocks is None else frame.blocks.vectors
        self._seen.append(
            _SeenFrame(
                frame.index,
                self._picture(frame.image),
                frame.image.shape[:2],
                states,
                known,
                None if vectors is None else vectors.copy(),
                None if self.unpack is None else frame.outcome.result,
            )
        )

    def write(self, folder: Path, link_rates_bps: Sequence[tuple[float, float]]) -> None:
        """Write everything into a folder, which is made.

        Args:
            folder: ``inspection/`` of a run.
            link_rates_bps: (time, rate) of the uplink.
        """
        folder.mkdir(parents=True, exist_ok=True)
        seen = sorted(self._seen, key=lambda frame: frame.index)
        for frame in seen:
            (folder / _picture_name(frame.index)).write_bytes(frame.picture)
        blank = np.zeros((self.rows, self.columns, 2), np.int16)
        np.savez_compressed(
            folder / "blocks.npz",
            states=_stacked([frame.states for frame in seen], (self.rows, self.columns), np.uint8),
            known=np.array([frame.known for frame in seen], np.uint8),
            vectors=_stacked(
                [blank if frame.vectors is None else frame.vectors for frame in seen], blank.shape, np.int16
            ),
            has_vectors=np.array([frame.vectors is not None for frame in seen], np.bool_),
        )
        shown = [self._found(frame.result) for frame in seen]
        dense = [self._found(None if self.truth is None else self.truth(frame.index)) for frame in seen]
        maps = {
            name: np.stack([_smaller(found.classes, self.width_px) for found in results])
            for name, results in (("shown", shown), ("dense", dense))
            if results and all(_is_map(found) for found in results)
        }
        if maps:
            np.savez_compressed(folder / "results.npz", **maps)  # type: ignore[arg-type]
        height_px, width_px = seen[0].size_px if seen else (0, 0)
        content = {
            "camera": 0,
            "height_px": height_px,
            "width_px": width_px,
            "block_px": self.block_px,
            "rows": self.rows,
            "columns": self.columns,
            "states": STATES,
            "classes": list(self.class_names),
            "frames": [
                {
                    "frame": frame.index,
                    "picture": _picture_name(frame.index),
                    "shown": _outlined(result),
                    "dense": _outlined(truth),
                }
                for frame, result, truth in zip(seen, shown, dense, strict=True)
            ],
        }
        (folder / "inspection.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        rates = "".join(f"{time_s:.1f},{rate_bps:.0f}\n" for time_s, rate_bps in link_rates_bps)
        (folder / "link.csv").write_text("time_s,rate_bps\n" + rates, encoding="utf-8")

    def _found(self, packed: Any) -> Any:
        return None if packed is None or self.unpack is None else self.unpack(packed)

    def _picture(self, image: NDArray[np.uint8]) -> bytes:
        from PIL import Image

        picture = Image.fromarray(image)
        if picture.width > self.width_px:
            height_px = max(1, round(picture.height * self.width_px / picture.width))
            picture = picture.resize((self.width_px, height_px), Image.Resampling.BOX)
        buffer = io.BytesIO()
        picture.save(buffer, "JPEG", quality=JPEG_QUALITY)
        return buffer.getvalue()

    def _states(
        self, outcome: Outcome, blocks: ShownBlocks | None, stale: BlockMap | None
    ) -> tuple[NDArray[np.uint8], int]:
        """The state of each block, and which states are known."""
        named = ShownBlocks() if blocks is None else blocks
        computed = self._map(named.computed)
        if computed is not None and named.margin_px:
            computed = _within(computed, -(-named.margin_px // self.block_px))
        computed = self._counted(computed, outcome.computed)
        # Who recomputes whole frames calls all of it active, and has no state to reuse anything of.
        active = None if blocks is None else self._counted(self._map(named.active), outcome.active)
        found = {
            "active": active,
            "reused": None if active is None else ~active if computed is None else ~(active | computed),
            "stale": stale,
            "sent": self._counted(self._map(named.sent), outcome.sent),
            "computed": computed,
        }
        states = np.zeros((self.rows, self.columns), np.uint8)
        known = 0
        for name, chosen in found.items():
            if chosen is not None:
                known |= STATES[name]
                states[chosen] |= STATES[name]
        return states, known

    def _map(self, indices: Any) -> BlockMap | None:
        """Flat indices as a map of blocks."""
        if indices is None:
            return None
        chosen = np.zeros(self.rows * self.columns, np.bool_)
        chosen[np.asarray(indices, np.intp)] = True
        return chosen.reshape(self.rows, self.columns)

    def _counted(self, chosen: BlockMap | None, count: int | None) -> BlockMap | None:
        """The blocks of a state, if they are as many as the outcome says; none and all need no list."""
        if count is None:
            return None
        if count in (0, self.rows * self.columns):
            return np.full((self.rows, self.columns), count > 0)
        return chosen if chosen is not None and np.count_nonzero(chosen) == count else None


@dataclass(frozen=True, slots=True, eq=False)
class _SeenFrame:
    """A recorded frame: its JPEG, the size that it was captured in, its blocks, its packed result."""

    index: int
    picture: bytes
    size_px: tuple[int, ...]
    states: NDArray[np.uint8]
    known: int
    vectors: NDArray[np.int16] | None
    result: Any


def _picture_name(index: int) -> str:
    return f"frame-{index:05d}.jpg"


def _stacked(arrays: Sequence[NDArray[Any]], shape: tuple[int, ...], kind: Any) -> NDArray[Any]:
    return np.stack(arrays).astype(kind) if arrays else np.zeros((0, *shape), kind)


def _is_map(found: Any) -> bool:
    classes: Any = getattr(found, "classes", None)
    return classes is not None and np.ndim(classes) == 2


def _smaller(classes: NDArray[np.uint8], width_px: int) -> NDArray[np.uint8]:
    """A class map at the pictures' size: of each of their pixels the class at its middle."""
    height, width = classes.shape
    if width <= width_px:
        return classes
    height_px = max(1, round(height * width_px / width))
    rows = ((np.arange(height_px) + 0.5) * height / height_px).astype(np.intp)
    columns = ((np.arange(width_px) + 0.5) * width / width_px).astype(np.intp)
    smaller: NDArray[np.uint8] = classes[np.ix_(rows, columns)]
    return smaller


def _outlined(found: Any) -> dict[str, Any] | None:
    """What was found, in frame pixels: boxes [x1, y1, x2, y2, class], points [x, y], and labels of the whole
    frame [class, score]; None: there is no result."""
    if found is None:
        return None
    boxes = [[round(float(side), 1) for side in sides] + [label - 1] for *sides, label in found_boxes(found)]
    points = np.asarray(getattr(found, "points", np.zeros((0, 3))))[:, :2]
    labels: list[list[Any]] = []
    if getattr(found, "scores", None) is not None:
        said = zip(np.asarray(found.classes).tolist(), np.asarray(found.scores).tolist(), strict=True)
        labels = [[int(label), round(float(score), 3)] for label, score in said]
    return {"boxes": boxes, "points": np.round(points.astype(float), 1).tolist(), "labels": labels}


def _within(chosen: BlockMap, reach: int) -> BlockMap:
    """Blocks that lie within `reach` blocks of the chosen ones, diagonals included."""
    rows, columns = chosen.shape
    wide = np.zeros((rows + 2 * reach, columns + 2 * reach), np.bool_)
    for down in range(2 * reach + 1):
        for right in range(2 * reach + 1):
            wide[down : down + rows, right : right + columns] |= chosen
    inner: BlockMap = wide[reach : reach + rows, reach : reach + columns]
    return inner
