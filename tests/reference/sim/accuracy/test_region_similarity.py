"""Results against ground-truth masks: which pixels count, and that nothing else of the run changes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from kernels.models.network import SceneNetwork, Yolo11Network
from kernels.models.predictions.results import Segmentation
from kernels.models.predictions.tasks import pack
from sim.accuracy.choice import NetworkChoice
from sim.accuracy.evaluator import BOTH_NAMES, DENSE_NAMES, MASK_NAMES, Evaluator
from sim.accuracy.masks import MaskTruth, open_masks
from sim.command.single_run import run_once
from sim.configuration.sections import AccuracyConfig
from sim.records.summary import RunRecord
from sim.world.frame import FrameGeometry
from tests.strategies.sim import pixels
from traces.errors import InputError
from traces.video.scenes.scene import Scene

COCO_CAR, COCO_PERSON = 1 + 2, 1 + 0  # in a class map


class Labelled:
    """A video of one frame whose pixels have these ids."""

    name = "labelled"

    def __init__(self, ids: list[int], void: int = 0) -> None:
        self.ids = np.array([ids], np.uint8)
        self.void = void
        self.has_background = not void

    def mask(self, index: int) -> NDArray[np.uint8]:
        return self.ids


def chosen(network: str) -> NetworkChoice:
    """A network, not loaded, as if there were weights of it."""
    if network == "default":
        return NetworkChoice(network, SceneNetwork(SceneNetwork.Options()), None, False)
    return NetworkChoice(network, Yolo11Network(Yolo11Network.Options(network)), None, False)


def truth(video: Labelled, network: str = "yolo11n-seg", **keys: Any) -> MaskTruth:
    (only,) = open_masks(AccuracyConfig("measured", **keys), chosen(network), video, [video.mask])
    return only


def found(*classes: int) -> bytes:
    return pack(Segmentation(np.array([classes], np.uint8)))


def test_region_similarity_is_iou_of_what_was_found_and_annotated() -> None:
    masks = truth(Labelled([0, 1, 1, 2]))
    assert masks.similarity(found(0, COCO_CAR, COCO_PERSON, 0), 0) == 2 / 3
    assert masks.similarity(found(COCO_CAR, 0, 0, 0), 0) == 0.0
    assert truth(Labelled([0, 0])).similarity(found(0, 0), 0) == 1.0


def test_only_the_named_classes_count() -> None:
    """A spectator beside the annotated car is no error where only cars count."""
    shown = found(COCO_PERSON, COCO_CAR, COCO_CAR, 0)
    assert truth(Labelled([0, 1, 1, 0])).similarity(shown, 0) == 2 / 3
    assert truth(Labelled([0, 1, 1, 0]), classes=("car",)).similarity(shown, 0) == 1.0
    assert truth(Labelled([0, 1, 1, 0]), "default", classes=("astronaut",)).similarity(shown, 0) == 1.0


def test_void_around_objects_is_not_compared_and_needs_no_ids() -> None:
    """DAVIS and its like: 0 background, 255 void."""
    video = Labelled([0, 1, 2, 255], void=255)
    video.has_background = True
    assert truth(video).similarity(found(0, COCO_CAR, COCO_CAR, COCO_CAR), 0) == 1.0
    assert truth(video).similarity(found(0, COCO_CAR, 0, 0), 0) == 0.5
    with pytest.raises(InputError, match="other than 255, the id of no class, found 255"):
        truth(video, mask_ids=(255,))


def test_dense_labels_count_by_id_and_void_is_not_compared() -> None:
    """CamVid: 8 is a car, 3 road, 0 sky, 11 no class."""
    masks = truth(Labelled([0, 3, 8, 8, 11], void=11), mask_ids=(8,))
    assert masks.similarity(found(0, 0, COCO_CAR, COCO_CAR, COCO_CAR), 0) == 1.0
    assert masks.similarity(found(COCO_CAR, 0, COCO_CAR, 0, 0), 0) == 1 / 3


def test_streaming_shows_the_newest_result_against_the_mask_of_the_frame() -> None:
    masks = truth(Labelled([0, 1, 1, 0]))
    evaluator = Evaluator("any", [], [masks])
    evaluator.collect(0, 0, found(0, COCO_CAR, 0, 0))
    nan = np.nan
    rows = {
        "camera": np.zeros(3),
        "frame": np.arange(3.0),
        "captured_s": np.arange(3.0),
        "completed_s": np.array([1.5, nan, nan]),
        "outcome": np.array([0.0, 1.0, 1.0]),
    }
    columns = evaluator.columns(rows, 0.7, np.array([0.5, nan, nan]))
    assert tuple(columns) == evaluator.names == MASK_NAMES
    np.testing.assert_array_equal(columns["region_similarity"], [0.5, nan, nan])
    np.testing.assert_array_equal(columns["region_similarity_ea"], [0.25, nan, nan])
    np.testing.assert_array_equal(columns["streaming_region_similarity"], [0.0, 0.0, 0.5])


# -- whole runs ------------------------------------------------------------------------------------


def written(
    reference: str, system: str = "edge_only", options: dict[str, Any] | None = None, **accuracy: Any
) -> RunRecord:
    video = {"kind": "scene", "size_px": 256, "seed": 1}
    accuracy = {"mode": "measured", "reference": reference, **accuracy}
    content = pixels(system, options=options or {}, video=video, accuracy=accuracy, frames=14, cameras=2)
    return run_once(content).record


@pytest.mark.filterwarnings("ignore:video.size_px")
def test_dense_inference_is_evaluated_on_the_frames_that_gave_results() -> None:
    lossless, lossy = (
        written("both", system="full_offload", options={"codec": "jpeg", "quality": quality})
        if quality
        else written("both")
        for quality in (None, 3)
    )
    assert lossless.frames["dense_region_similarity"].equals(lossless.frames["region_similarity"])
    frames = lossy.frames
    assert frames["dense_region_similarity"].isna().equals(frames["region_similarity"].isna())
    assert (frames["dense_region_similarity"] - frames["region_similarity"]).mean() > 0.02


@pytest.mark.filterwarnings("ignore:video.size_px")
def test_each_reference_has_its_own_columns() -> None:
    runs = {reference: written(reference) for reference in ("dense", "masks", "both")}
    both = runs["both"].frames
    for reference, names in (("dense", DENSE_NAMES), ("masks", MASK_NAMES)):
        other = MASK_NAMES if reference == "dense" else DENSE_NAMES
        expected = both.drop(columns=[*other, *BOTH_NAMES])
        if reference == "masks":  # the ruler of a run without dense results
            expected = expected.assign(accuracy=both["region_similarity"], ea=both["region_similarity_ea"])
        pd.testing.assert_frame_equal(runs[reference].frames, expected, check_exact=True)
        assert runs[reference].summary["accuracy_mean"] == runs["both"].summary[f"{names[0]}_mean"]
        for name in names:
            assert runs[reference].summary[f"{name}_mean"] == runs["both"].summary[f"{name}_mean"]
        assert not {f"{name}_mean" for name in (*other, *BOTH_NAMES)} & {
            key for key, value in runs[reference].summary.items() if value is not None
        }


@pytest.mark.filterwarnings("ignore:video.size_px")
def test_dense_inference_is_evaluated_by_the_scene_it_was_shown() -> None:
    """Each camera against the masks of its own part of the scene; `accuracy.dense` is no unit of J."""
    frames = written("masks", dense=0.5).frames
    assert frames["region_similarity"].dropna().between(0.5, 0.999).all()
    from kernels.models.evaluation.evaluate import mask_iou
    from kernels.models.predictions.tasks import unpack
    from sim.accuracy.inference import open_inference

    scene = Scene("walk", 1, 28, 256)
    inference = open_inference(chosen("default"), AccuracyConfig("measured"), FrameGeometry(256, 256))
    done = frames[frames["outcome"] == "completed"]
    assert set(done["camera"]) == {0, 1}
    for row in done.itertuples():
        index = 14 * row.camera + row.frame
        outputs, _ = inference.dense(scene.image(index))
        own = unpack(inference.result(outputs)).foreground
        assert row.region_similarity == mask_iou(own, scene.mask(index) > 0)
