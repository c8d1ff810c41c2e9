"""The token and the keypoint network against the embedded scenes' own truth."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from kernels.models.evaluation.scene_truth import MOST_OBJECTS, main_class, object_centres
from kernels.models.predictions.labels import SCENE_CLASSES
from kernels.models.predictions.results import Keypoints, Labels, Result, interpret
from kernels.models.predictions.tasks import matched_keypoints

FINE = 0.02  # of the longer side: a stricter tolerance, shown beside the task's
CLEAR = 1.25  # how many times as much as the next class the main one covers where there is no near tie

# (preset, seed, frame indices, side in px or (height, width)) → images (n, H, W, 3), labels (n, H, W)
LabelledSource = Callable[[str, int, Sequence[int], "int | tuple[int, int]"], tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True, slots=True)
class TokenScore:
    """What the token network says of some frames of one preset.

    Attributes:
        seeds: the scenes, as ``0`` or ``0+1+2``.
        right: frames whose likeliest class is the one that covers most.
        commonest: frames of the class that covers most the most often: what always saying it would get.
        clear: frames in which the main class covers at least :data:`CLEAR` times what the next one does.
        clear_right: of these, those said right.
    """

    preset: str
    size_px: str
    seeds: str
    frames: int
    right: int
    commonest: int
    clear: int
    clear_right: int

    def row(self) -> dict[str, str]:
        """Of the table."""
        return {
            **_scene(self),
            "top_1": _share(self.right, self.frames),
            "commonest": _share(self.commonest, self.frames),
            "clear_frames": str(self.clear),
            "clear_top_1": _share(self.clear_right, self.clear),
        }


@dataclass(frozen=True, slots=True)
class KeypointScore:
    """What the keypoint network says of some frames of one preset.

    Attributes:
        true, found: keypoints.
        matched, matched_finely: pairs of these, within the task's tolerance and within :data:`FINE`.
    """

    preset: str
    size_px: str
    seeds: str
    frames: int
    true: int
    found: int
    matched: int
    matched_finely: int

    def row(self) -> dict[str, str]:
        """Of the table; `f1` is what agreement of two results is, over all frames together."""
        return {
            **_scene(self),
            "keypoints": str(self.true),
            "precision": _share(self.matched, self.found),
            "recall": _share(self.matched, self.true),
            "f1": _share(2 * self.matched, self.true + self.found),
            "fine_f1": _share(2 * self.matched_finely, self.true + self.found),
        }


def measure_tokens(
    model: nn.Module,
    source: LabelledSource,
    preset: str,
    seeds: Sequence[int],
    indices: Sequence[int],
    size_px: int | tuple[int, int],
) -> TokenScore:
    """Compare the token network with the truth on frames of some scenes."""
    right, clear, clear_right, wanted = 0, 0, 0, []
    for image, labels in _frames(source, preset, seeds, indices, size_px):
        found = said_of(model, image)
        assert isinstance(found, Labels)
        classes = labels // MOST_OBJECTS
        wanted.append(main_class(classes))
        is_right = int(found.classes[0]) == wanted[-1]
        covered = np.sort(np.bincount(classes.ravel(), minlength=1 + len(SCENE_CLASSES))[1:])
        is_clear = bool(covered[-1] >= CLEAR * covered[-2])
        right, clear, clear_right = right + is_right, clear + is_clear, clear_right + (is_right and is_clear)
    commonest = int(np.bincount(wanted).max())
    name, said = _size_name(size_px), "+".join(map(str, seeds))
    return TokenScore(preset, name, said, len(wanted), right, commonest, clear, clear_right)


def measure_keypoints(
    model: nn.Module,
    source: LabelledSource,
    preset: str,
    seeds: Sequence[int],
    indices: Sequence[int],
    size_px: int | tuple[int, int],
    score_threshold: float,
) -> KeypointScore:
    """Compare the keypoint network with the truth on frames of some scenes."""
    frames, true, found, matched, finely = 0, 0, 0, 0, 0
    for image, labels in _frames(source, preset, seeds, indices, size_px):
        said = said_of(model, image, score_threshold)
        assert isinstance(said, Keypoints)
        truth = true_keypoints(labels)
        frames += 1
        true, found = true + len(truth.points), found + len(said.points)
        matched += matched_keypoints(said, truth)
        finely += matched_keypoints(said, truth, FINE)
    name, scenes = _size_name(size_px), "+".join(map(str, seeds))
    return KeypointScore(preset, name, scenes, frames, true, found, matched, finely)


def true_keypoints(labels: np.ndarray) -> Keypoints:
    """The keypoints of a frame by its labels (H, W), with score 1."""
    centres = np.array(object_centres(labels), float).reshape(-1, 3)
    points = np.concatenate([centres[:, :2], np.ones((len(centres), 1))], axis=1)
    return Keypoints(points, centres[:, 2].astype(int), *labels.shape)


def said_of(model: nn.Module, image: np.ndarray, score_threshold: float = 0.25) -> Result:
    """The network's result for an image (H, W, 3) uint8."""
    frame = torch.tensor(image).permute(2, 0, 1)[None].float() / 255
    with torch.inference_mode():
        outputs = model(frame)
    return interpret(outputs, *image.shape[:2], score_threshold=score_threshold)


def _frames(
    source: LabelledSource,
    preset: str,
    seeds: Sequence[int],
    indices: Sequence[int],
    size_px: int | tuple[int, int],
) -> list[tuple[np.ndarray, np.ndarray]]:
    return [pair for seed in seeds for pair in zip(*source(preset, seed, indices, size_px), strict=True)]


def _scene(score: TokenScore | KeypointScore) -> dict[str, str]:
    return {
        "preset": score.preset,
        "size_px": score.size_px,
        "seeds": score.seeds,
        "frames": str(score.frames),
    }


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.4f}" if whole else "nan"


def _size_name(size_px: int | tuple[int, int]) -> str:
    height, width = (size_px, size_px) if isinstance(size_px, int) else size_px
    return f"{height}x{width}"
