"""Measured accuracy refuses what it cannot measure in one line, and never falls back to coverage."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from kernels.models.predictions.results import Segmentation
from kernels.models.registry import build_model
from kernels.models.weight_files import save_weights
from sim.accuracy.inference import Inference
from sim.assembly import assemble
from sim.components.context import SystemContext
from sim.configuration import read_config
from sim.records.outcome import Outcome
from sim.world.frame import FrameGeometry
from tests.strategies.sim import pixels, statistical
from traces.errors import InputError

pytestmark = pytest.mark.filterwarnings("ignore:video.size_px")
SCENE = {"kind": "scene", "size_px": 64}
ONE_DEVICE = {"edge": "epyc_zen5_1thread", "cloud": "epyc_zen5_1thread"}  # where YOLO11n-seg was profiled


def refused(content: dict[str, Any]) -> str:
    """The message that a configuration or its run ends with."""
    with pytest.raises(InputError) as caught:
        assemble(read_config(content)).simulation.run()
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize(
    ("accuracy", "words"),
    [
        (
            {"mode": "mesured"},
            ["accuracy.mode", "coverage, measured", "'mesured'", "did you mean 'measured'"],
        ),
        ({"mode": "measured", "sampling": "cubic"}, ["accuracy.sampling", "bilinear, nearest", "'cubic'"]),
        ({"mode": "measured", "policy": "exakt"}, ["accuracy.policy", "did you mean 'exact'"]),
        ({"mode": "measured", "reference": "mask"}, ["accuracy.reference", "did you mean 'masks'"]),
        (
            {"mode": "measured", "reference": "masks", "classes": ["vann"]},
            ["accuracy.classes", "did you mean 'van'"],
        ),
        (
            {"mode": "measured", "reference": "masks", "mask_ids": [1, 256]},
            ["accuracy.mask_ids", "from 0 to 255, found 256"],
        ),
        ({"mode": "measured", "colour": 1}, ["accuracy.colour", "expected one of the keys"]),
    ],
)
def test_a_bad_key_is_named(accuracy: dict[str, Any], words: list[str]) -> None:
    message = refused(pixels(video=SCENE, accuracy=accuracy))
    assert [word for word in words if word not in message] == [], message


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ({"network": "yolo11x-sag"}, ["model.network: expected one of", "did you mean 'yolo11x-seg'"]),
        (
            {"network": "yolo11n-seg", "stand_in": None},
            ["model: card 'yolo11m-seg' has neither weights nor a stand-in", "'yolo11n-seg'", "networks: "],
        ),
        ({"stand_in": "yolo11n-seg"}, ["model.stand_in", "its own weights", "found 'yolo11n-seg'"]),
        ({"stand_in": "defualt"}, ["model.stand_in", "did you mean 'default'"]),
        ({"weights": "/nowhere"}, ["model.weights", "/nowhere", "safetensors"]),
        ({"weights": __file__}, ["model.weights", __file__, "safetensors"]),
        ({"network": None, "weights": __file__}, ["model.weights: expected model.network", "found none"]),
        ({"colour": "red"}, ["model.colour", "expected one of the keys"]),
    ],
)
def test_a_bad_key_of_the_model_card_is_named(model: dict[str, Any], words: list[str]) -> None:
    card = {"name": "yolo11m-seg", **model}
    message = refused(pixels(video=SCENE, accuracy={"mode": "measured"}, model=card))
    assert [word for word in words if word not in message] == [], message


def test_weights_of_another_network_are_refused(repository: Path) -> None:
    weights = repository / "kernels" / "models" / "weights" / "default_network.safetensors"
    model = {"name": "yolo11n-seg", "weights": str(weights)}
    message = refused(pixels(video=SCENE, accuracy={"mode": "measured"}, model=model, **ONE_DEVICE))
    assert message.startswith("model.weights: ")
    assert str(weights) in message


def test_frames_must_fit_the_networks_stride() -> None:
    message = refused(pixels(video={"kind": "scene", "size_px": 80}, accuracy={"mode": "measured"}))
    assert "video.size_px" in message
    assert "multiples of 32 px, found 80x80" in message


def folder(path: Path, labels: str | None) -> dict[str, Any]:
    """A video of two grey frames, with labels in a folder of that name."""
    images = path / ("images" if labels == "labels" else "JPEGImages")
    for kind in (images, *([path / labels] if labels else [])):
        kind.mkdir()
        for index in range(2):
            Image.new("L", (64, 64), 100 if kind == images else index).save(kind / f"{index}.png")
    return {"kind": "file", "path": str(path), "size_px": 64}


def test_a_video_without_masks_is_named(tmp_path: Path) -> None:
    accuracy = {"mode": "measured", "reference": "both"}
    message = refused(pixels(video=folder(tmp_path, None), accuracy=accuracy, frames=2))
    assert message.startswith("accuracy.reference: expected dense")
    assert f"video '{tmp_path.name}' has no masks, found 'both'" in message


def test_a_network_without_masks_is_named() -> None:
    """Before anything is loaded: a detector of boxes has nothing that masks could be compared with."""
    accuracy = {"mode": "measured", "reference": "masks"}
    model = {"name": "yolo11m-seg", "network": "yolo11n", "weights": __file__}
    message = refused(pixels(video=SCENE, accuracy=accuracy, model=model))
    assert message.startswith("accuracy.reference: masks need a network that segments")
    assert "found model.network 'yolo11n'" in message


def test_labels_without_a_background_need_ids_that_count(tmp_path: Path) -> None:
    video = folder(tmp_path, "labels")
    accuracy: dict[str, Any] = {"mode": "measured", "reference": "masks"}
    assert "accuracy.mask_ids: every pixel of video" in refused(
        pixels(video=video, accuracy=accuracy, frames=2)
    )
    accuracy["mask_ids"] = [8, 11]
    message = refused(pixels(video=video, accuracy=accuracy, frames=2))
    assert "from 0 to 255 other than 11, the id of no class, found 11" in message


def test_counts_cannot_be_measured() -> None:
    assert "video.kind" in refused(statistical(accuracy={"mode": "measured"}))


@pytest.mark.parametrize(
    ("system", "options", "key"),
    [("coach", {"variant": "split"}, "system.variant=split"), ("spinn", {"bits": 8}, "system.bits")],
)
def test_systems_that_quantise_features_refuse(system: str, options: dict[str, Any], key: str) -> None:
    message = refused(pixels(system, options=options, video=SCENE, accuracy={"mode": "measured"}))
    assert key in message
    assert "measured" in message


class Silent:
    """Infers densely and says nothing of what it found."""

    @dataclass(frozen=True)
    class Options:
        """None."""

    def __init__(self, context: SystemContext, options: Options) -> None:
        pass

    def process(self, frame: Any, world: Any) -> Generator[Any, Any, Outcome]:
        yield world.infer_edge_dense()
        return Outcome("edge", 16, 16, 0)


def test_a_system_that_hands_over_no_results_is_named(tmp_path: Path) -> None:
    (tmp_path / "system").mkdir()
    (tmp_path / "system" / "silent.yaml").write_text(f"_target_: {__name__}.Silent\n")
    folders = {"config_folders": [str(tmp_path)]}
    message = refused(pixels("silent", video=SCENE, accuracy={"mode": "measured"}, **folders))
    assert "accuracy.mode: system 'silent' hands over no results" in message


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (3, "expected Segmentation, the result of segmentation, found 3"),
        (
            Segmentation(np.zeros((640, 320), np.uint8)),
            "expected classes as uint8 of (320, 640), found uint8 of (640, 320)",
        ),
        (
            Segmentation(np.zeros((320, 640), np.int64)),
            "expected classes as uint8 of (320, 640), found int64 of (320, 640)",
        ),
    ],
)
def test_a_network_that_says_what_is_no_result_is_named_with_its_line(found: object, expected: str) -> None:
    def interpret(outputs: object, height_px: int, width_px: int) -> object:
        return found

    executor: Any = None  # not asked
    inference = Inference(executor, FrameGeometry(320, 640), interpret)
    line = interpret.__code__.co_firstlineno
    with pytest.raises(InputError) as raised:
        inference.result(None)
    assert str(raised.value) == f"{__file__}:{line}: {expected}"


@pytest.mark.parametrize(
    "options", [{"name": "spinn", "variant": "progressive"}, {"name": "coach", "variant": "pipelined"}]
)
def test_a_system_that_leaves_early_needs_a_network_with_exits(
    options: dict[str, Any], tmp_path: Path
) -> None:
    content = {**pixels(video=SCENE), "system": options}
    message = refused(content)  # by coverage no network runs
    assert message.startswith("system.variant: expected a network that runs, whose exits and features")
    assert message.endswith("found accuracy by coverage")

    weights = tmp_path / "yolo11n.safetensors"
    save_weights(build_model("yolo11n-seg"), weights)
    model = {"name": "yolo11n-seg", "weights": str(weights)}
    message = refused({**content, **ONE_DEVICE, "model": model, "accuracy": {"mode": "measured"}})
    assert message == (
        "system.variant: expected a network with exits, such as model.network=default, found 'yolo11n-seg'"
    )

    own = tmp_path / "own.safetensors"
    save_weights(build_model("default"), own)
    model = {"name": "default", "weights": str(own)}
    message = refused({**content, **ONE_DEVICE, "model": model, "accuracy": {"mode": "measured"}})
    assert message.startswith("model.weights: network 'default': expected the network's own weights")
    assert message.endswith(f"found {own}")


@pytest.mark.parametrize(
    "options", [{"name": "spinn", "variant": "progressive"}, {"name": "coach", "variant": "pipelined"}]
)
def test_a_system_that_leaves_early_needs_pixels(options: dict[str, Any]) -> None:
    message = refused({**statistical(), "system": options})
    assert message.startswith("video.kind: this system needs a network that really runs")


def test_ends_that_are_switched_off_are_no_cut() -> None:
    system = {"name": "spinn", "variant": "progressive", "ends": False, "after": "input"}
    message = refused({**pixels(video=SCENE), "system": system, "accuracy": {"mode": "measured"}})
    assert message == "system.after: expected an inner cut with system.ends=false, found 'input'"
