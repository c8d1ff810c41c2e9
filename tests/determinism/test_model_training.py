"""Training draws the same frames for the same seed, never a held-out scene, and its steps lower the loss."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch

from kernels.models.composed_scenes import FIRST_TRAINING_SEED, batches
from kernels.models.networks.default_network import DefaultNetwork
from kernels.models.train_default import SegmentationScore, loss, main, pooled, train


class Squares:
    """A source of frames with one bright square of class 1 on noise; remembers the seeds asked for."""

    def __init__(self) -> None:
        self.seeds: list[int] = []

    def __call__(
        self, preset: str, seed: int, indices: Sequence[int], size_px: int
    ) -> tuple[np.ndarray, np.ndarray]:
        self.seeds.append(seed)
        random = np.random.default_rng(seed)
        images = random.integers(0, 90, (len(indices), size_px, size_px, 3), dtype=np.uint8)
        labels = np.zeros(images.shape[:3], np.uint8)
        for image, label in zip(images, labels, strict=True):
            y, x = random.integers(0, size_px // 2, 2)
            image[y : y + size_px // 2, x : x + size_px // 2] += 150
            label[y : y + size_px // 2, x : x + size_px // 2] = 1
        return images, labels


def test_same_seed_same_batches_and_no_held_out_scene() -> None:
    one, other = Squares(), Squares()
    drawn = [
        [next(stream) for _ in range(4)]
        for stream in (batches(s, ("any",), np.random.default_rng(5), 4, 6) for s in (one, other))
    ]
    for (images, labels), (same_images, same_labels) in zip(*drawn, strict=True):
        assert images.shape == (4, 3, 320, 320)
        assert labels.shape == (4, 80, 80)
        assert torch.equal(images, same_images)
        assert torch.equal(labels, same_labels)
    assert one.seeds == other.seeds
    assert min(one.seeds) >= FIRST_TRAINING_SEED
    assert len(set(one.seeds)) == len(one.seeds)


def test_labels_follow_the_pixels_through_crop_and_flip() -> None:
    images, labels = next(batches(Squares(), ("any",), np.random.default_rng(0), 4, 4))
    bright = torch.nn.functional.avg_pool2d(images.mean(dim=1), 4) > 0.4
    assert float((bright == (labels == 1)).float().mean()) > 0.98


def test_perfect_logits_have_no_loss_and_wrong_ones_much() -> None:
    labels = torch.randint(0, 5, (2, 8, 8), generator=torch.Generator().manual_seed(0))
    right = 50 * torch.nn.functional.one_hot(labels, 5).permute(0, 3, 1, 2).float()
    assert float(loss(right, labels)) < 1e-3
    assert float(loss(right.roll(1, dims=1), labels)) > 10


def test_same_steps_same_weights_without_batch_norm() -> None:
    one, other = (
        train(Squares(), ("any",), steps=3, batch=2, frames_per_scene=4, log=lambda _: None) for _ in range(2)
    )
    for name, tensor in one.state_dict().items():
        assert torch.equal(tensor, other.state_dict()[name])
    assert not any(isinstance(m, torch.nn.BatchNorm2d) for m in one.modules())


def test_the_network_learns_one_batch_by_heart() -> None:
    images, labels = next(batches(Squares(), ("any",), np.random.default_rng(9), 4, 4))
    torch.manual_seed(0)
    model = DefaultNetwork(fused=False).train()
    optimiser = torch.optim.AdamW(model.parameters(), lr=4e-3)
    losses = []
    for _ in range(30):
        losses.append(loss(model(images[..., :128, :128]), labels[..., :32, :32]))
        optimiser.zero_grad()
        losses[-1].backward()
        optimiser.step()
    assert float(losses[-1].detach()) < 0.5 * float(losses[0].detach())


def test_pooled_counts_pixels_not_scenes() -> None:
    rows = [
        SegmentationScore("walk", 320, "0", 2, (0, 10, 0), (10, 10, 0)),
        SegmentationScore("walk", 320, "1", 1, (0, 0, 0), (0, 30, 0)),
    ]
    both = pooled(rows)
    assert (both.seeds, both.frames) == ("0+1", 3)
    assert both.iou == pytest.approx((0.0, 0.25, float("nan")), nan_ok=True)
    assert both.mean_iou == pytest.approx(0.25)


@pytest.mark.parametrize(
    "bound", [[], ["--minutes", "0"], ["--steps", "-1"], ["--steps", "1", "--minutes", "1"]]
)
def test_training_needs_one_positive_bound(bound: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", *bound]) == 2
    assert capsys.readouterr().err.startswith("error: minutes or steps must be given and > 0 (got minutes=")
