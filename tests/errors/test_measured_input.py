"""Measured accuracy refuses what it cannot measure in one line, and never falls back to coverage."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from sim.assembly import assemble
from sim.configuration import read_config
from sim.records.outcome import Outcome
from sim.systems import registry
from tests.strategies.sim import pixels, statistical
from traces.errors import InputError

pytestmark = pytest.mark.filterwarnings("ignore:video.size_px")
SCENE = {"kind": "scene", "size_px": 64}


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
        ({"mode": "measured", "model": "yolo11x-sag"}, ["accuracy.model", "did you mean 'yolo11x-seg'"]),
        ({"mode": "measured", "model": "yolo11n-seg"}, ["accuracy.weights", "yolo11n-seg", "found none"]),
        ({"mode": "measured", "weights": "/nowhere"}, ["accuracy.weights", "/nowhere", "safetensors"]),
        ({"mode": "measured", "weights": __file__}, ["accuracy.weights", __file__, "safetensors"]),
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


def test_weights_of_another_network_are_refused(repository: Path) -> None:
    weights = repository / "kernels" / "models" / "weights" / "default_network.safetensors"
    accuracy = {"mode": "measured", "model": "yolo11n-seg", "weights": str(weights)}
    message = refused(pixels(video=SCENE, accuracy=accuracy))
    assert message.startswith("accuracy.weights: ")
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
    message = refused(pixels(video=folder(tmp_path, None), accuracy=accuracy))
    assert message.startswith("accuracy.reference: expected dense")
    assert f"video '{tmp_path.name}' has no masks, found 'both'" in message


def test_a_network_without_masks_is_named() -> None:
    """Before anything is loaded: a detector of boxes has nothing that masks could be compared with."""
    accuracy = {"mode": "measured", "model": "yolo11n", "reference": "masks"}
    message = refused(pixels(video=SCENE, accuracy=accuracy))
    assert message.startswith("accuracy.reference: masks need a network that segments")
    assert "found accuracy.model 'yolo11n'" in message


def test_labels_without_a_background_need_ids_that_count(tmp_path: Path) -> None:
    video = folder(tmp_path, "labels")
    accuracy: dict[str, Any] = {"mode": "measured", "reference": "masks"}
    assert "accuracy.mask_ids: every pixel of video" in refused(pixels(video=video, accuracy=accuracy))
    accuracy["mask_ids"] = [8, 11]
    message = refused(pixels(video=video, accuracy=accuracy))
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


def test_a_system_that_hands_over_no_results_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    class Silent:
        def process(self, frame: Any, world: Any) -> Generator[Any, Any, Outcome]:
            yield world.infer_edge_dense()
            return Outcome("edge", 16, 16, 0)

    entry = registry._ENTRIES["edge_only"]._replace(make=lambda home, around, options: Silent())
    monkeypatch.setitem(registry._ENTRIES, "edge_only", entry)
    message = refused(pixels("edge_only", video=SCENE, accuracy={"mode": "measured"}))
    assert "accuracy.mode: system 'edge_only' hands over no results" in message
