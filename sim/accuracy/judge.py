"""Results against the truth, frame by frame: as captured, and as the world has moved on since.

The truth of a frame is the result of dense inference on it as it was captured, and how far two results agree
is their intersection over union (:func:`kernels.models.results.agreement`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from traces.errors import InputError


class Dense(Protocol):
    """One camera's dense results."""

    def of(self, index: int) -> bytes:
        """The packed result of dense inference on a frame."""


@dataclass(frozen=True, slots=True, eq=False)
class Verdict:
    """How far results agree with the truth, (frames,) each, in the order of the table's rows.

    Args:
        at_capture: the frame's own result against the truth of the frame; NaN where there is none.
        foreground: the same for the pixels where anything was found, whatever its class: a detector that
            wavers between two classes loses all of an object in `at_capture`, and nothing here.
        streaming: the newest result that was out when the frame was captured against the truth of the frame,
            as a client sees it; 0 before the first result.
    """

    at_capture: NDArray[np.float64]
    foreground: NDArray[np.float64]
    streaming: NDArray[np.float64]


@dataclass(slots=True, eq=False)
class Judge:
    """Collects what clients are shown, and compares it once the run is over.

    Args:
        system: its name, for messages.
        truths: of each camera.
    """

    system: str
    truths: Sequence[Dense]
    _results: dict[tuple[int, int], bytes] = field(default_factory=dict)

    def collect(self, camera: int, frame: int, result: bytes | None) -> None:
        """Take a finished frame's result.

        Raises:
            InputError: there is none: the system does not say what its network makes of frames.
        """
        if result is None:
            raise InputError(
                f"accuracy.mode: system {self.system!r} hands over no results, so that they cannot be "
                "measured: expected coverage, found 'measured'"
            )
        self._results[camera, frame] = result

    def compare(self, rows: Mapping[str, NDArray[np.float64]]) -> Verdict:
        """Compare what was collected.

        Args:
            rows: columns of the frame table, in order of camera and frame.
        """
        count = len(rows["frame"])
        verdict = Verdict(np.full(count, np.nan), np.full(count, np.nan), np.zeros(count))
        for camera, truth in enumerate(self.truths):
            mine = np.flatnonzero(rows["camera"] == camera)
            finished = [row for row in mine if rows["outcome"][row] == 0]  # in the order they were through
            ready_s = rows["completed_s"][finished]
            for row in mine:
                index = int(rows["frame"][row])
                expected = truth.of(index)
                own = self._results.get((camera, index))
                if own is not None:
                    verdict.at_capture[row] = agreement_of(own, expected)
                    verdict.foreground[row] = foreground_iou(own, expected)
                newest = int(np.searchsorted(ready_s, rows["captured_s"][row], side="right")) - 1
                if newest >= 0:
                    shown = self._results[camera, int(rows["frame"][finished[newest]])]
                    verdict.streaming[row] = agreement_of(shown, expected)
        return verdict


def agreement_of(result: bytes, truth: bytes) -> float:
    """How far two packed results agree, in [0, 1]."""
    if result == truth:
        return 1.0
    from kernels.models import agreement
    from sim.accuracy.inference import unpack

    value: Any = agreement(unpack(result), unpack(truth))
    return float(value)


def foreground_iou(result: bytes, truth: bytes) -> float:
    """IoU of where two packed results found anything; 1 where neither found a thing."""
    if result == truth:
        return 1.0
    from kernels.models.evaluate import mask_iou
    from sim.accuracy.inference import unpack

    value: Any = mask_iou(unpack(result).foreground, unpack(truth).foreground)
    return float(value)
