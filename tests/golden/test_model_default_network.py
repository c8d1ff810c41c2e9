"""The committed weights of the default network do what the committed table says."""

from __future__ import annotations

import csv

import numpy as np
import pytest
import torch

from kernels.models import build_model, class_map, load_default_network
from kernels.models.composed_scenes import (
    FIRST_TRAINING_SEED,
    HELD_OUT_SEEDS,
    MEASURED_FRAMES,
    composed_frames,
)
from kernels.models.networks.default_network import CLASS_NAMES, WEIGHTS
from kernels.models.train_default import TABLE, measure


def table() -> list[dict[str, str]]:
    with TABLE.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


@pytest.mark.parametrize("preset", ["calm", "walk", "drive"])
def test_a_row_of_the_table_is_what_the_weights_give(preset: str) -> None:
    row = next(r for r in table() if (r["preset"], r["size_px"], r["seeds"]) == (preset, "320", "1"))
    quality = measure(load_default_network(), composed_frames, preset, 1, MEASURED_FRAMES, 320)
    assert quality.frames == int(row["frames"])
    # Versions of Pillow resize the photographs a little differently.
    assert quality.mean_iou == pytest.approx(float(row["mean_iou"]), abs=0.02)
    assert quality.iou == pytest.approx([float(row[name]) for name in CLASS_NAMES], abs=0.04, nan_ok=True)


def test_table_covers_held_out_scenes_only_and_every_preset_and_size() -> None:
    seeds = "+".join(str(seed) for seed in HELD_OUT_SEEDS)
    pooled = [(r["preset"], r["size_px"]) for r in table() if r["seeds"] == seeds]
    assert pooled == [(p, s) for p in ("calm", "walk", "drive") for s in ("320", "640")]
    assert max(HELD_OUT_SEEDS) < FIRST_TRAINING_SEED


def test_objects_are_found_at_both_sizes() -> None:
    seeds = "+".join(str(seed) for seed in HELD_OUT_SEEDS)
    means = [float(r["mean_iou"]) for r in table() if r["seeds"] == seeds]
    assert min(means) > 0.9


def test_weights_are_small_enough_to_ship() -> None:
    assert WEIGHTS.stat().st_size < 4e6


def test_class_map_has_the_frame_size_and_follows_the_logits() -> None:
    logits = torch.zeros(1, 5, 16, 24)
    logits[0, 3, :, 12:] = 1
    found = class_map(logits, 64, 96)
    assert found.shape == (64, 96)
    assert found.dtype == torch.uint8
    assert set(found[:, :46].unique().tolist()) == {0}
    assert set(found[:, 48:].unique().tolist()) == {3}
    with pytest.raises(ValueError, match=r"logits must be \(1, classes, 16, 24\) \(got \(1, 5, 16, 20\)\)"):
        class_map(logits[..., :20], 64, 96)


@pytest.mark.parametrize("layout", ["planes", "channels last", "channels last, any batch stride"])
def test_equal_logits_give_the_first_class_in_every_layout(layout: str) -> None:
    logits = torch.randint(0, 2, (1, 5, 16, 24), generator=torch.Generator().manual_seed(0)).float()
    if layout == "channels last":
        logits = logits.contiguous(memory_format=torch.channels_last)
    elif layout != "planes":  # as the sparse executor hands them over
        logits = logits[0].permute(1, 2, 0).reshape(-1).as_strided((1, 5, 16, 24), (5, 1, 120, 5))
    full = torch.nn.functional.interpolate(logits, (64, 96), mode="bilinear", align_corners=False)[0]
    first = np.argmax(full.numpy() == full.amax(dim=0).numpy(), axis=0)
    assert np.count_nonzero((full == full.amax(dim=0)).sum(dim=0) > 1) > 100
    assert np.array_equal(class_map(logits, 64, 96).numpy(), first)


def test_network_is_traceable() -> None:
    model, frame = build_model("default"), torch.rand(1, 3, 64, 96)
    with torch.inference_mode():
        assert model(frame).shape == (1, 5, 16, 24)
        assert torch.equal(torch.fx.symbolic_trace(model)(frame), model(frame))


def test_most_pixels_of_a_large_object_carry_its_class() -> None:
    images, labels = composed_frames("walk", 0, [60], 640)
    frame = torch.tensor(images[0]).permute(2, 0, 1)[None].float() / 255
    with torch.inference_mode():
        found = class_map(load_default_network()(frame), 640, 640).numpy()
    for label in range(1, len(CLASS_NAMES)):
        here = labels[0] == label
        if np.count_nonzero(here) > 64 * 64:
            assert np.mean(found[here] == label) > 0.8
