"""Networks as a simulation asks for them: a user's own through the same face as the built-in ones."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from torch import nn

from kernels import SparseExecutor
from kernels.models import Boxes, Network, Segmentation, agreement, interpret
from kernels.models import network as built_in
from kernels.models.network import SceneNetwork, Yolo11Network
from kernels.models.predictions.labels import COCO_CLASSES
from kernels.models.registry import YOLO11_NAMES, build_model
from kernels.models.weight_files import save_weights


class BrightPixels:
    """Two classes, bright and dark, at stride 2: what a user would write."""

    @dataclass(frozen=True)
    class Options:
        width: int = 8

    class_names = ("dark", "bright")
    task, has_weights, size_multiple_px = "segmentation", True, 2

    def __init__(self, options: Options) -> None:
        self.options = options

    def load(self, weights: Path | None) -> nn.Module:
        torch.manual_seed(0)
        width = self.options.width
        module = nn.Sequential(nn.Conv2d(3, width, 3, stride=2, padding=1), nn.ReLU(), nn.Conv2d(width, 3, 1))
        if weights is not None:
            module.load_state_dict(torch.load(weights, weights_only=True))
        return module.eval()

    def interpret(self, outputs: Any, height_px: int, width_px: int) -> Segmentation:
        if outputs.shape[2:] != (height_px // 2, width_px // 2):
            raise ValueError(f"outputs must be of {height_px}×{width_px} px (got {tuple(outputs.shape)})")
        classes = outputs[0].argmax(dim=0).to(torch.uint8)
        return Segmentation(classes.repeat_interleave(2, 0).repeat_interleave(2, 1).numpy())


def test_a_users_network_runs_sparse_and_says_what_it_found() -> None:
    network: Network = BrightPixels(BrightPixels.Options(width=4))
    executor = SparseExecutor(network.load(None), "fixed")
    frame = torch.rand(1, 3, 64, 96, generator=torch.Generator().manual_seed(1))
    changed = frame.clone()
    changed[..., 16:32, 32:64] = 1 - changed[..., 16:32, 32:64]
    active = torch.zeros(4, 6, dtype=torch.bool)
    active[1, 2:4] = True

    _, cache = executor.dense(frame)
    outputs, _, report = executor.sparse(changed, active, torch.zeros(4, 6, 2, dtype=torch.int16), cache)

    found = network.interpret(outputs, 64, 96)
    truth = network.interpret(executor.dense(changed)[0], 64, 96)
    assert found.classes.shape == (64, 96)
    assert agreement(found, truth) > 0.95
    assert 0 < max(dict(report.reused).values()) < 1


def test_a_users_network_takes_weights_of_its_own(tmp_path: Path) -> None:
    network = BrightPixels(BrightPixels.Options())
    module = network.load(None)
    torch.save({name: 2 * tensor for name, tensor in module.state_dict().items()}, tmp_path / "mine.pt")
    loaded = network.load(tmp_path / "mine.pt")
    assert torch.equal(loaded[2].bias, 2 * module[2].bias)


def test_the_default_network_works_without_a_file_and_with_one(tmp_path: Path) -> None:
    network = SceneNetwork(SceneNetwork.Options())
    assert network.has_weights
    module = network.load(None)
    save_weights(module, tmp_path / "same.safetensors", half=False)
    again = network.load(tmp_path / "same.safetensors")
    frame = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(2))
    with torch.inference_mode():
        outputs, other = module(frame), again(frame)
    assert torch.equal(outputs, other)
    found = network.interpret(outputs, 64, 64)
    assert found.classes.max() <= len(network.class_names)
    np.testing.assert_array_equal(found.classes, interpret(outputs, 64, 64).classes)


def test_yolo11_needs_weights_that_fit(tmp_path: Path) -> None:
    network = Yolo11Network(Yolo11Network.Options("yolo11n"))
    assert not network.has_weights
    with pytest.raises(ValueError, match=r"expected a safetensors file of weights for yolo11n, found none"):
        network.load(None)
    save_weights(build_model("default"), tmp_path / "other.safetensors")
    with pytest.raises(ValueError, match=r"other\.safetensors: missing model\.0\.conv\.bias"):
        network.load(tmp_path / "other.safetensors")
    with pytest.raises(FileNotFoundError, match=r"none\.safetensors: no such file"):
        network.load(tmp_path / "none.safetensors")


def test_yolo11_with_classes_of_its_own(tmp_path: Path) -> None:
    network = Yolo11Network(Yolo11Network.Options("yolo11n", 0.0, ["bolt", "nut"]))
    save_weights(build_model("yolo11n", classes=2), tmp_path / "parts.safetensors", half=False)
    module = network.load(tmp_path / "parts.safetensors")
    with torch.inference_mode():
        found = network.interpret(module(torch.rand(1, 3, 64, 64)), 64, 64)
    assert isinstance(found, Boxes)
    assert network.class_names == ("bolt", "nut")
    assert set(found.classes.tolist()) <= {0, 1}
    assert len(found.classes)  # at a threshold of 0 every cell counts
    strict = Yolo11Network(Yolo11Network.Options("yolo11n", 1.0, ("bolt", "nut")))
    with torch.inference_mode():
        assert not len(strict.interpret(module(torch.rand(1, 3, 64, 64)), 64, 64).classes)


@pytest.mark.parametrize(("options", "message"), [
    ({"name": "yolo12"}, "name: expected one of yolo11n, .*, found 'yolo12'"),
    ({"name": "default"}, "name: expected one of yolo11n, .*, found 'default'"),
    ({"score_threshold": 25}, r"score_threshold: expected a score in \[0, 1\], found 25"),
    ({"class_names": []}, "class_names: expected 1 to 255 different names, found "),
    ({"class_names": ["nut", "nut"]}, "class_names: expected 1 to 255 different names, found nut, nut"),
])  # fmt: skip
def test_options_say_what_was_expected(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Yolo11Network.Options(**options)


@pytest.mark.parametrize("name", ["default", *YOLO11_NAMES])
def test_every_built_in_network_has_its_configuration(name: str, repository: Path) -> None:
    config = yaml.safe_load((repository / "conf" / "model" / "network" / f"{name}.yaml").read_text())
    home, _, made = config.pop("_target_").rpartition(".")
    assert home == built_in.__name__
    kind = getattr(built_in, made)
    network: Network = kind(kind.Options(**config))
    if name == "default":
        assert isinstance(network, SceneNetwork)
    else:
        assert network.options.name == name
        assert network.class_names == COCO_CLASSES
    segments = name == "default" or name.endswith("-seg")
    assert network.task == ("segmentation" if segments else "detection")
    assert network.size_multiple_px == 32


def test_making_a_network_does_not_load_torch() -> None:
    code = (
        "import sys; from kernels.models.network import SceneNetwork, Yolo11Network as Y; "
        "made = Y(Y.Options()), SceneNetwork(SceneNetwork.Options()); "
        "made[0].class_names, made[1].task; sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
