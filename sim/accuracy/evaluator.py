"""Results against the truth, frame by frame: as captured, and as the world has moved on since.

The truth of a frame is the result of dense inference on it as it was captured, and how far two results agree
is the measure of the network's task (:mod:`kernels.models.predictions.tasks`): intersection over union of
masks or boxes, keypoints found, the same class. Or it is the frame's mask, and the measure region similarity
(:mod:`sim.accuracy.masks`). The two have columns of their own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from sim.accuracy.masks import MaskTruth
from traces.errors import InputError

DENSE_NAMES = ("measured_accuracy", "measured_ea", "foreground_iou", "streaming_accuracy")
MASK_NAMES = ("region_similarity", "region_similarity_ea", "streaming_region_similarity")
BOTH_NAMES = ("dense_region_similarity",)


class DenseResults(Protocol):
    """One camera's dense results."""

    def of(self, index: int) -> bytes:
        """The packed result of dense inference on a frame."""


@dataclass(frozen=True, slots=True, eq=False)
class Agreement:
    """How far results agree with the truth, (frames,) each, in the order of the table's rows.

    Args:
        at_capture: the frame's own result against the truth of the frame; NaN where there is none.
        foreground: the same for the pixels where anything was found, whatever its class: a detector that
            wavers between two classes loses all of an object in `at_capture`, and nothing here. NaN where
            results are in no place, as of a classification.
        streaming: the newest result that was out when the frame was captured against the truth of the frame,
            as a client sees it; 0 before the first result.
    """

    at_capture: NDArray[np.float64]
    foreground: NDArray[np.float64]
    streaming: NDArray[np.float64]


@dataclass(slots=True, eq=False)
class Evaluator:
    """Collects what clients are shown, and compares it once the run is over.

    Args:
        system: its name, for messages.
        truths: dense results of each camera; none: results are not compared with them.
        masks: ground truth of each camera; none: the same.
        must: whether results must be measured; else one frame without a result has the whole run valued by
            coverage.
    """

    system: str
    truths: Sequence[DenseResults]
    masks: Sequence[MaskTruth] = ()
    must: bool = True
    silent: bool = False  # whether some result was not handed over, so that there is nothing to measure
    _results: dict[tuple[int, int], bytes] = field(default_factory=dict)

    def collect(self, camera: int, frame: int, result: Any) -> None:
        """Take a finished frame's result.

        Raises:
            InputError: there is none though there must be one, or none of a network: the system does not say
                what its network makes of frames.
        """
        if result is None and not self.must:
            self.silent = True
            return
        if result is None:
            raise InputError(
                f"accuracy.mode: system {self.system!r} hands over no results, so that they cannot be "
                "measured: expected coverage, found 'measured'"
            )
        if not isinstance(result, bytes):
            raise InputError(
                f"accuracy.mode: expected system {self.system!r} to return Outcome(…, result=…) with what "
                f"context.network() gave, found {result!r}"
            )
        self._results[camera, frame] = result

    @property
    def names(self) -> tuple[str, ...]:
        """Of the columns that evaluation adds."""
        both = BOTH_NAMES if self.truths and self.masks else ()
        return (DENSE_NAMES if self.truths else ()) + (MASK_NAMES if self.masks else ()) + both

    def columns(
        self, rows: Mapping[str, NDArray[np.float64]], dense_accuracy: float, worth: NDArray[np.float64]
    ) -> dict[str, NDArray[np.float64]]:
        """What evaluation adds to the table of frames.

        Args:
            rows: columns of the frame table, in order of camera and frame.
            dense_accuracy: what agreement with dense inference is worth; masks need no such unit.
            worth: (frames,), what a result's lateness leaves of it.
        """
        columns: dict[str, NDArray[np.float64]] = {}
        if self.truths:
            found = self.compare(rows)
            measured = dense_accuracy * found.at_capture
            values = measured, measured * worth, found.foreground, dense_accuracy * found.streaming
            columns.update(zip(DENSE_NAMES, values, strict=True))
        if self.masks:
            region, streaming = self.compare_masks(rows)
            columns.update(zip(MASK_NAMES, (region, region * worth, streaming), strict=True))
        if self.truths and self.masks:
            columns.update(zip(BOTH_NAMES, (self._dense_region(rows),), strict=True))
        return columns

    def ruled(self, columns: Mapping[str, NDArray[np.float64]]) -> NDArray[np.float64]:
        """Of :meth:`columns`, the one that is the run's accuracy: against dense inference, else the masks."""
        return columns[DENSE_NAMES[0] if self.truths else MASK_NAMES[0]]

    def compare(self, rows: Mapping[str, NDArray[np.float64]]) -> Agreement:
        """Compare what was collected with dense inference.

        Args:
            rows: columns of the frame table, in order of camera and frame.
        """
        count = len(rows["frame"])
        found = Agreement(np.full(count, np.nan), np.full(count, np.nan), np.zeros(count))
        for row, camera, frame, own, shown in self._shown(rows):
            expected = self.truths[camera].of(frame)
            if own is not None:
                found.at_capture[row] = agreement_of(own, expected)
                found.foreground[row] = foreground_iou(own, expected)
            if shown is not None:
                found.streaming[row] = agreement_of(shown, expected)
        return found

    def compare_masks(
        self, rows: Mapping[str, NDArray[np.float64]]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Region similarity of each frame's own result, NaN where there is none, and of what was shown at
        its capture, 0 before the first result.
        """
        region, streaming = np.full(len(rows["frame"]), np.nan), np.zeros(len(rows["frame"]))
        for row, camera, frame, own, shown in self._shown(rows):
            if own is not None:
                region[row] = self.masks[camera].similarity(own, frame)
            if shown is not None:
                streaming[row] = self.masks[camera].similarity(shown, frame)
        return region, streaming

    def _dense_region(self, rows: Mapping[str, NDArray[np.float64]]) -> NDArray[np.float64]:
        """Region similarity of dense inference on the same frames: what is the network's own error."""
        region = np.full(len(rows["frame"]), np.nan)
        for row, camera, frame, own, _ in self._shown(rows):
            if own is not None:
                region[row] = self.masks[camera].similarity(self.truths[camera].of(frame), frame)
        return region

    def _shown(
        self, rows: Mapping[str, NDArray[np.float64]]
    ) -> Iterator[tuple[int, int, int, bytes | None, bytes | None]]:
        """Row, camera, frame, the frame's own result, and the newest that was out when it was captured."""
        for camera in np.unique(rows["camera"]).astype(int).tolist():
            mine = np.flatnonzero(rows["camera"] == camera)
            finished = [row for row in mine if rows["outcome"][row] == 0]  # in the order they were through
            ready_s = rows["completed_s"][finished]
            for row in mine:
                frame = int(rows["frame"][row])
                newest = int(np.searchsorted(ready_s, rows["captured_s"][row], side="right")) - 1
                shown = int(rows["frame"][finished[newest]]) if newest >= 0 else None
                yield (
                    int(row),
                    camera,
                    frame,
                    self._results.get((camera, frame)),
                    None if shown is None else self._results[camera, shown],
                )


def agreement_of(result: bytes, truth: bytes) -> float:
    """How far two packed results agree, in [0, 1]."""
    if result == truth:
        return 1.0
    from kernels.models.predictions.tasks import agreement, unpack

    value: Any = agreement(unpack(result), unpack(truth))
    return float(value)


def foreground_iou(result: bytes, truth: bytes) -> float:
    """IoU of where two packed results found anything: 1 where neither did, NaN of results in no place."""
    from kernels.models.evaluation.evaluate import mask_iou
    from kernels.models.predictions.tasks import unpack

    found, expected = unpack(result).foreground, unpack(truth).foreground
    if found is None or expected is None:
        return float("nan")
    value: Any = mask_iou(found, expected)
    return float(value)
