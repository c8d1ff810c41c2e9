"""What the embedded scenes' ids say, task by task: the main class of a frame, the centres of its objects."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from kernels.models.predictions.labels import SCENE_CLASSES

MOST_OBJECTS = 16  # ids in a scene, 0 included; a label is 16 · class + id, with class 0 for background
LEAST_SHARE = 1 / 2000  # of the frame that must be seen of an object, or of a class, for it to count


def labels_of(kinds: Sequence[str]) -> np.ndarray:
    """(1 + objects,) uint8, the label of each id of a scene that shows these kinds of objects.

    Raises:
        ValueError: one is no class of the scenes', or there are too many.
    """
    unknown = set(kinds) - set(SCENE_CLASSES)
    if unknown or len(kinds) >= MOST_OBJECTS:
        raise ValueError(
            f"scene must show up to {MOST_OBJECTS - 1} of {', '.join(SCENE_CLASSES)} (got {', '.join(kinds)})"
        )
    labels = [MOST_OBJECTS * (1 + SCENE_CLASSES.index(kind)) + i for i, kind in enumerate(kinds, 1)]
    return np.array([0, *labels], np.uint8)


def main_class(classes: np.ndarray) -> int:
    """The class (0: background) that covers most of a class map (H, W) but for background; 0 if none does.

    None does where each covers less than :data:`LEAST_SHARE`; of two that cover as much, the first counts.
    """
    covered = np.bincount(classes.ravel(), minlength=1 + len(SCENE_CLASSES))[1:]
    best = int(np.argmax(covered))
    return 1 + best if covered[best] >= LEAST_SHARE * classes.size else 0


def object_centres(labels: np.ndarray) -> list[tuple[float, float, int]]:
    """(x, y, kind) of each object in labels (H, W): the centre, in pixels, of the box around what is seen.

    A kind is an index into the scenes' classes. Objects of which less than :data:`LEAST_SHARE` of the frame
    is seen are left out.
    """
    found = []
    for label in np.unique(labels[labels > 0]).tolist():
        y, x = np.nonzero(labels == label)
        if len(x) >= LEAST_SHARE * labels.size:
            centre = (float(x.min() + x.max() + 1) / 2, float(y.min() + y.max() + 1) / 2)
            found.append((*centre, label // MOST_OBJECTS - 1))
    return found
