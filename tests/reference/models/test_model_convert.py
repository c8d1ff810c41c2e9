"""Folding and renaming a checkpoint changes names and precision, not the function."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from kernels.models import build_model, load_weights
from kernels.models.conversion import Conversion, convert, fold
from kernels.models.weight_files import save_weights


def lively(name: str, classes: int = 80, seed: int = 0) -> nn.Module:
    """An unfused model whose batch norms have statistics and gains that are not the initial ones."""
    torch.manual_seed(seed)
    model = build_model(name, fused=False, classes=classes)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 2)
            nn.init.normal_(module.bias, std=0.2)
            module.running_mean = torch.randn(module.num_features) * 0.1
            module.running_var = torch.rand(module.num_features) + 0.1
    return model


def all_maps(model: nn.Module, frame: Tensor) -> Tensor:
    with torch.inference_mode():
        return torch.cat([m.flatten() for maps in model(frame).values() for m in maps])


def assert_same_function(one: nn.Module, other: nn.Module, tolerance: float) -> None:
    frame = torch.rand(1, 3, 96, 96, generator=torch.Generator().manual_seed(1))
    expected, actual = all_maps(one, frame), all_maps(other, frame)
    span = float(expected.max() - expected.min())
    assert float((expected - actual).abs().max()) <= tolerance * span


@pytest.mark.parametrize("name", ["yolo11n", "yolo11n-seg"])
def test_folded_model_is_the_unfused_one(name: str) -> None:
    model = lively(name)
    assert_same_function(model, fold(model, build_model(name)), 1e-5)


@pytest.mark.parametrize("wrapper", [None, "model", "state_dict", "ema"])
@pytest.mark.parametrize("prefix", ["", "model.", "module."])
def test_checkpoint_is_recognised_and_folded(tmp_path: Path, wrapper: str | None, prefix: str) -> None:
    model = lively("yolo11n", classes=3)
    state = {f"{prefix}{k}": v for k, v in model.state_dict().items()}
    torch.save(state if wrapper is None else {"epoch": 7, wrapper: state}, tmp_path / "plain.pt")
    done = convert(tmp_path / "plain.pt", tmp_path / "fused.safetensors", half=False)
    norms = sum(isinstance(m, nn.BatchNorm2d) for m in model.modules())
    assert done == Conversion("yolo11n", 3, 175, norms)
    fused = load_weights(build_model("yolo11n", classes=3), tmp_path / "fused.safetensors")
    assert_same_function(model, fused, 1e-5)


def test_half_precision_costs_a_thousandth(tmp_path: Path) -> None:
    model = lively("yolo11n-seg")
    torch.save(model.state_dict(), tmp_path / "plain.pt")
    convert(tmp_path / "plain.pt", tmp_path / "fused.safetensors")
    fused = load_weights(build_model("yolo11n-seg"), tmp_path / "fused.safetensors")
    assert_same_function(model, fused, 5e-3)
    assert (tmp_path / "fused.safetensors").stat().st_size < 2.1 * 2_868_664


def test_fused_safetensors_convert_to_themselves(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = build_model("yolo11n")
    save_weights(model, tmp_path / "one.safetensors")
    done = convert(tmp_path / "one.safetensors", tmp_path / "two.safetensors")
    assert (done.model, done.folded) == ("yolo11n", 0)
    assert (tmp_path / "one.safetensors").read_bytes() == (tmp_path / "two.safetensors").read_bytes()
