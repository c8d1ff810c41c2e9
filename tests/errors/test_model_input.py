"""Bad names, files and arguments: one line that says what was expected and what was found."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from kernels.models import Letterbox, build_model, decode, load_weights
from kernels.models.__main__ import main
from kernels.models.conversion import convert
from kernels.models.predictions.decoding import Detections, assemble_masks, non_max_suppression


@pytest.fixture(scope="module")
def state() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    return {k: v.half() for k, v in build_model("yolo11n").state_dict().items()}


def save(state: dict[str, torch.Tensor], path: Path) -> Path:
    from safetensors.torch import save_file

    save_file(state, path)
    return path


def test_unknown_model_names_the_nearest() -> None:
    with pytest.raises(ValueError, match=r"name must be a known model, such as yolo11n-seg.*'yolo11n_seg'"):
        build_model("yolo11n_seg")


def test_weights_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"none\.safetensors: no such file"):
        load_weights(build_model("yolo11n"), tmp_path / "none.safetensors")


def test_weights_file_that_is_something_else(tmp_path: Path) -> None:
    (tmp_path / "x.safetensors").write_bytes(b"not a header at all")
    with pytest.raises(ValueError, match=r"x\.safetensors: expected a safetensors file"):
        load_weights(build_model("yolo11n"), tmp_path / "x.safetensors")


def test_missing_unexpected_and_misshapen_tensors(tmp_path: Path, state: dict[str, torch.Tensor]) -> None:
    model = build_model("yolo11n")
    short = {k: v for k, v in state.items() if k != "model.0.conv.bias"}
    with pytest.raises(ValueError, match=r"missing model\.0\.conv\.bias for this model of 175 tensors"):
        load_weights(model, save(short, tmp_path / "a.safetensors"))
    with pytest.raises(ValueError, match=r"unexpected model\.24\.bias"):
        load_weights(model, save({**state, "model.24.bias": torch.zeros(1)}, tmp_path / "b.safetensors"))
    with pytest.raises(ValueError, match=r"model\.0\.conv\.bias must be \(16,\) \(got \(8,\)\)"):
        load_weights(model, save({**state, "model.0.conv.bias": torch.zeros(8)}, tmp_path / "c.safetensors"))
    bad = torch.full((16,), float("nan"))
    with pytest.raises(ValueError, match=r"model\.0\.conv\.bias must be finite"):
        load_weights(model, save({**state, "model.0.conv.bias": bad}, tmp_path / "d.safetensors"))


def test_failed_load_leaves_the_model_as_it_was(tmp_path: Path, state: dict[str, torch.Tensor]) -> None:
    model = build_model("yolo11n")
    before = {k: v.clone() for k, v in model.state_dict().items()}
    with pytest.raises(ValueError, match="must be"):
        load_weights(
            model, save({**state, "model.9.cv1.conv.bias": torch.zeros(8)}, tmp_path / "c.safetensors")
        )
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())


def test_seg_weights_do_not_fit_a_detector(tmp_path: Path, state: dict[str, torch.Tensor]) -> None:
    with pytest.raises(ValueError, match=r"missing model\.23\.cv4\.0\.0\.conv\.bias, .* and \d+ more"):
        load_weights(build_model("yolo11n-seg"), save(state, tmp_path / "detect.safetensors"))


def test_pickled_classes_are_refused_with_the_way_to_export(tmp_path: Path) -> None:
    torch.save({"model": nn.Linear(1, 1)}, tmp_path / "whole.pt")
    with pytest.raises(ValueError, match=r"whole\.pt: .*pickled classes.*model\.state_dict\(\)\.items\(\)"):
        convert(tmp_path / "whole.pt", tmp_path / "out.safetensors")
    assert not (tmp_path / "out.safetensors").exists()


def test_checkpoints_that_are_none(tmp_path: Path) -> None:
    (tmp_path / "text.pt").write_text("hello")
    with pytest.raises(ValueError, match=r"text\.pt: expected"):
        convert(tmp_path / "text.pt", tmp_path / "out.safetensors")
    torch.save([1, 2], tmp_path / "list.pt")
    with pytest.raises(ValueError, match=r"list\.pt: expected a dict of tensors, found list"):
        convert(tmp_path / "list.pt", tmp_path / "out.safetensors")
    torch.save({"features.0.weight": torch.zeros(1)}, tmp_path / "other.pt")
    with pytest.raises(ValueError, match=r"expected tensors named model\.0\.conv\.weight …, found features"):
        convert(tmp_path / "other.pt", tmp_path / "out.safetensors")
    torch.save({"model.0.conv.weight": torch.zeros(1)}, tmp_path / "partial.pt")
    with pytest.raises(ValueError, match="the 1 tensors fit none of yolo11n"):
        convert(tmp_path / "partial.pt", tmp_path / "out.safetensors")


def test_image_of_another_size_or_type() -> None:
    with pytest.raises(ValueError, match=r"image must be \(4, 6, 3\) uint8 \(got \(4, 6, 3\) float64\)"):
        Letterbox(4, 6).apply(np.zeros((4, 6, 3)))
    with pytest.raises(ValueError, match=r"width_px must be > 0 px \(got 0\)"):
        Letterbox(4, 0)


def test_decoding_arguments() -> None:
    with pytest.raises(ValueError, match=r"score_threshold must be in \[0, 1\] \(got 2\)"):
        decode({}, score_threshold=2)
    with pytest.raises(ValueError, match=r"iou_threshold must be in \[0, 1\] \(got -1\)"):
        non_max_suppression(torch.zeros(1, 4), torch.zeros(1), torch.zeros(1), -1)
    with pytest.raises(ValueError, match="got a batch of 2"):
        decode({"boxes": (torch.zeros(2, 64, 1, 1),)})
    nothing = Detections(torch.zeros(1, 4), torch.zeros(1), torch.zeros(1))
    with pytest.raises(ValueError, match="must have mask coefficients"):
        assemble_masks(nothing, torch.zeros(1, 32, 8, 8), 32, 32)
    other = Detections(torch.zeros(1, 4), torch.zeros(1), torch.zeros(1), torch.zeros(1, 8))
    with pytest.raises(ValueError, match=r"prototypes must be \(1, 8, h, w\).*\(got \(1, 32, 8, 8\)\)"):
        assemble_masks(other, torch.zeros(1, 32, 8, 8), 32, 32)


def test_commands_print_one_line_and_exit_with_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["convert", str(tmp_path / "none.pt"), str(tmp_path / "out.safetensors")]) == 2
    assert main(["evaluate", str(tmp_path), "w.safetensors", "--input-px", "100"]) == 2
    assert main(["evaluate", str(tmp_path), "w.safetensors", "--model", "yolo11n"]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 3
    assert all(line.startswith("error: ") for line in lines)
