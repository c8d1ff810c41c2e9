"""The token and the keypoint network: what they stand on, what they are taught, and how they run sparsely."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from torch import nn

from kernels import SparseExecutor
from kernels.executor.plan.attention import find_token_maps
from kernels.models import load_default_network
from kernels.models.composed_scenes import labelled_objects
from kernels.models.evaluation.evaluate_tasks import true_keypoints
from kernels.models.evaluation.scene_truth import (
    LEAST_SHARE,
    MOST_OBJECTS,
    main_class,
    object_centres,
)
from kernels.models.network import KeypointSceneNetwork, TokenSceneNetwork
from kernels.models.networks.keypoint_network import KeypointNetwork, load_keypoint_network
from kernels.models.networks.token_network import TokenNetwork, load_token_network
from kernels.models.predictions.tasks import agreement
from kernels.models.train_tasks import KeypointLesson, TokenLesson, main, peak_loss, peak_targets, train
from kernels.models.weight_files import save_weights

NETWORKS = {"default-tokens": TokenSceneNetwork, "default-keypoints": KeypointSceneNetwork}


def frame(seed: int, side: int = 128) -> torch.Tensor:
    return torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(seed))


def only(outputs: dict[str, tuple[torch.Tensor, ...]]) -> torch.Tensor:
    (maps,) = outputs.values()
    return maps[0]


# -- what they stand on -----------------------------------------------------------------------------


def test_the_trunks_are_the_default_networks_first_layers() -> None:
    default, seen = load_default_network(), {}
    for name in ("stage8", "up8"):
        part = default.get_submodule(name)
        part.register_forward_hook(lambda _, __, made, name=name: seen.__setitem__(name, made))
    with torch.inference_mode():
        default(frame(0))
        assert torch.equal(load_token_network().trunk(frame(0)), seen["stage8"])
        assert torch.equal(load_keypoint_network().trunk(frame(0)), seen["up8"])


@pytest.mark.parametrize(("name", "make"), [("tokens", TokenNetwork), ("keypoints", KeypointNetwork)])
def test_a_file_of_weights_is_the_whole_network(name: str, make: type[nn.Module], tmp_path) -> None:
    torch.manual_seed(1)
    own = make()
    save_weights(own, tmp_path / "own.safetensors", half=False)
    network = NETWORKS[f"default-{name}"]
    loaded = network(network.Options()).load(tmp_path / "own.safetensors")
    with torch.inference_mode():
        assert torch.equal(only(loaded(frame(2))), only(own.eval()(frame(2))))


def test_a_score_out_of_range_is_refused() -> None:
    with pytest.raises(ValueError, match=r"score_threshold: expected a score in \[0, 1\], found 3"):
        KeypointSceneNetwork.Options(score_threshold=3)


# -- run sparsely -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NETWORKS)
def test_all_blocks_active_is_dense_and_none_is_what_was(name: str) -> None:
    model = NETWORKS[name](NETWORKS[name].Options()).load(None)
    executor = SparseExecutor(model, "fixed")
    still = torch.zeros(8, 8, 2, dtype=torch.int16)
    before, cache = executor.dense(frame(3))
    with torch.inference_mode():
        torch.testing.assert_close(only(before), only(model(frame(3))), atol=1e-4, rtol=0)
        expected = only(model(frame(4)))
    everything = torch.ones(8, 8, dtype=torch.bool)
    after, cache, _ = executor.sparse(frame(4), everything, still, cache)
    torch.testing.assert_close(only(after), expected, atol=1e-4, rtol=0)
    kept, _, _ = executor.sparse(frame(5), ~everything, still, cache)
    torch.testing.assert_close(only(kept), only(after), atol=1e-4, rtol=0)


def test_the_executor_sees_every_layer_of_attention_as_one_over_tokens() -> None:
    executor = SparseExecutor(load_token_network(), "fixed")
    found = find_token_maps(executor.plan(frame(0)).graph)
    assert len(found) == len(load_token_network().top.layers)
    assert {tuple(tokens.queries.shape) for tokens in found.values()} == {(4, 14)}


def test_what_covers_most_does_not_depend_on_where_it_is() -> None:
    """No position embeddings: away from the border, frames shifted by whole patches have the same logits."""
    model = load_token_network()
    picture = torch.full((1, 3, 320, 320), 0.5)
    picture[..., 96:192, 96:192] = frame(6, 96)
    with torch.inference_mode():
        here, there = (only(model(shown)) for shown in (picture, picture.roll(32, dims=3)))
    torch.testing.assert_close(there, here, atol=1e-4, rtol=0)


# -- what they are taught ---------------------------------------------------------------------------


def test_the_main_class_covers_most_of_all_that_is_no_background() -> None:
    classes = np.zeros((100, 100), np.uint8)
    assert main_class(classes) == 0
    classes[0, : int(LEAST_SHARE * classes.size) - 1] = 2
    assert main_class(classes) == 0, "too little to count"
    classes[1, :40], classes[2, :41] = 1, 4
    assert main_class(classes) == 4


def test_a_keypoint_is_the_middle_of_the_box_around_what_is_seen() -> None:
    labels = np.zeros((64, 96), np.uint8)
    labels[10:20, 30:40] = 3 * MOST_OBJECTS + 1  # an object of the third class
    labels[40:44, 0:10], labels[60:64, 20:30] = (
        2 * MOST_OBJECTS + 2,
        2 * MOST_OBJECTS + 2,
    )  # one, hidden between
    labels[0, 95] = MOST_OBJECTS + 3  # a pixel, too little to count
    assert object_centres(labels) == [(15.0, 52.0, 1), (35.0, 15.0, 2)]
    truth = true_keypoints(labels)
    assert (truth.kinds.tolist(), truth.height_px, truth.width_px) == ([1, 2], 64, 96)
    assert agreement(truth, truth) == 1
    wanted = peak_targets(labels, 4, 8)
    assert wanted.shape == (4, 8, 12)
    assert [np.argwhere(one == 1).tolist() for one in wanted] == [[], [[6, 1]], [[1, 4]], []]


def test_labels_of_a_scene_hold_both_class_and_object() -> None:
    images, labels = labelled_objects("walk", 1, [5], (64, 96))
    assert images.shape == (1, 64, 96, 3)
    assert labels.shape == (1, 64, 96)
    assert set(np.unique(labels // MOST_OBJECTS).tolist()) <= set(range(5))
    assert (labels > 0).sum() == ((labels % MOST_OBJECTS) > 0).sum()


def test_heat_maps_that_are_right_have_no_loss() -> None:
    wanted = torch.zeros(1, 1, 8, 8)
    wanted[0, 0, 3, 4], wanted[0, 0, 3, 5] = 1.0, 0.7
    right = torch.where(wanted == 1, 20.0, -20.0)
    assert float(peak_loss(right, wanted)) < 1e-6
    assert float(peak_loss(-right, wanted)) > 100
    near, far = right.clone(), right.clone()
    near[0, 0, 3, 5], far[0, 0, 7, 7] = 2.0, 2.0
    assert float(peak_loss(near, wanted)) < 0.02 * float(peak_loss(far, wanted)), "(1 − 0.7)⁴ = 0.008"


class Blobs:
    """Frames with one bright square, an object of class 1 + seed % 4, on noise."""

    def __call__(
        self, preset: str, seed: int, indices: Sequence[int], size_px: int
    ) -> tuple[np.ndarray, np.ndarray]:
        random = np.random.default_rng(seed)
        images = random.integers(0, 90, (len(indices), size_px, size_px, 3), dtype=np.uint8)
        labels = np.zeros(images.shape[:3], np.uint8)
        for image, label in zip(images, labels, strict=True):
            y, x = random.integers(0, size_px // 2, 2)
            image[y : y + size_px // 2, x : x + size_px // 2] += 150
            label[y : y + size_px // 2, x : x + size_px // 2] = (1 + seed % 4) * MOST_OBJECTS + 1
        return images, labels


@pytest.mark.parametrize("task", ["tokens", "keypoints"])
def test_same_steps_same_top_and_the_trunk_stays(task: str) -> None:
    kwargs = {"steps": 2, "batch": 2, "frames_per_scene": 2, "log": lambda _: None}
    one, other = (train(task, Blobs(), ("any",), **kwargs) for _ in range(2))
    assert all(torch.equal(one.state_dict()[name], tensor) for name, tensor in other.state_dict().items())
    assert not any(isinstance(part, nn.BatchNorm2d) for part in one.modules())
    assert not any("trunk" in name for name in one.state_dict()), "it is the default network's"


@pytest.mark.parametrize("make", [TokenLesson, KeypointLesson])
def test_a_top_learns_one_batch_by_heart(make: type[nn.Module]) -> None:
    torch.manual_seed(0)
    lesson = make()
    lesson.trunk.eval().requires_grad_(False)
    images, labels = Blobs()("any", 1, range(2), 128)
    batch = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255, torch.from_numpy(labels.astype(int))
    optimiser = torch.optim.AdamW([w for w in lesson.parameters() if w.requires_grad], lr=3e-3)
    losses = []
    for _ in range(30):
        losses.append(float((value := lesson(*batch)).detach()))
        optimiser.zero_grad()
        value.backward()
        optimiser.step()
    assert losses[-1] < 0.5 * losses[0]


def test_training_needs_a_step(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "tokens", "--steps", "0"]) == 2
    assert capsys.readouterr().err == "error: steps must be > 0 (got 0)\n"
