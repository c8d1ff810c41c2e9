"""Token-sparse inference against a loop that keeps every hidden state, and the cases where it is exact."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from kernels.models.networks.token_cache import TokenExecutor
from kernels.models.networks.transformer import PoseNetwork, VisionTransformer, sine_positions
from kernels.models.predictions.decoding import keypoints

SEEDS = st.integers(0, 2**31 - 1)


Outputs = Tensor | dict[str, tuple[Tensor, ...]]


def maps(outputs: Outputs) -> Tensor:
    """The one map of a ViT's or a pose network's outputs."""
    return outputs if isinstance(outputs, Tensor) else outputs["heatmaps"][0]


def small_vit(depth: int = 3, seed: int = 0) -> VisionTransformer:
    torch.manual_seed(seed)
    return VisionTransformer(channels=32, depth=depth, heads=2).eval()


def small_pose() -> PoseNetwork:
    torch.manual_seed(0)
    return PoseNetwork(keypoints=5, channels=32, depth=2, heads=4, cycles=2).eval()


def frames(seed: int, height: int = 64, width: int = 80) -> tuple[Tensor, Tensor]:
    random = torch.Generator().manual_seed(seed)
    return (
        torch.rand(1, 3, height, width, generator=random),
        torch.rand(1, 3, height, width, generator=random),
    )


def naive_sparse(model: nn.Module, before: Tensor, after: Tensor, active: Tensor) -> Outputs:
    """Run every token through every layer, putting the old hidden state of inactive tokens back each time."""
    kept = torch.cat([torch.zeros(model.prefix_tokens, dtype=torch.bool), ~active.flatten()])
    old, new = model.embed(before), model.embed(after)
    for layer in model.layers_in_order():
        new = torch.where(kept[None, :, None], old, new)
        old, new = layer(old), layer(new)
    new = torch.where(kept[None, :, None], old, new)
    return model.read_out(new, *active.shape)


@given(SEEDS, SEEDS)
@settings(max_examples=15, deadline=None)
def test_inactive_tokens_keep_their_old_hidden_states(seed: int, mask_seed: int) -> None:
    model, (before, after) = small_vit(), frames(seed)
    active = torch.rand(4, 5, generator=torch.Generator().manual_seed(mask_seed)) < 0.4
    executor = TokenExecutor(model)
    _, cache = executor.dense(before)
    outputs, _ = executor.sparse(after, active, cache)
    with torch.inference_mode():
        expected = naive_sparse(model, before, after, active)
    torch.testing.assert_close(maps(outputs), maps(expected), rtol=1e-4, atol=1e-5)


def test_pose_tokens_keep_their_old_hidden_states_over_the_cycles() -> None:
    model, (before, after) = small_pose(), frames(1, 256, 192)
    active = torch.rand(16, 12, generator=torch.Generator().manual_seed(2)) < 0.3
    executor = TokenExecutor(model)
    outputs, _ = executor.sparse(after, active, executor.dense(before)[1])
    with torch.inference_mode():
        expected = naive_sparse(model, before, after, active)
    torch.testing.assert_close(maps(outputs), maps(expected), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("model", [small_vit(), small_pose()], ids=["vit", "pose"])
def test_dense_is_the_model_and_all_active_is_dense(model: nn.Module) -> None:
    before, after = frames(3, 256, 192)
    executor = TokenExecutor(model)
    _, cache = executor.dense(before)
    expected, fresh = executor.dense(after)
    with torch.inference_mode():
        assert torch.equal(maps(expected), maps(model(after)))
    outputs, updated = executor.sparse(after, torch.ones(16, 12, dtype=torch.bool), cache)
    torch.testing.assert_close(maps(outputs), maps(expected), rtol=0, atol=1e-5)
    for one, other in zip((*fresh.keys, *fresh.values), (*updated.keys, *updated.values), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-5)


@given(SEEDS)
@settings(max_examples=10, deadline=None)
def test_an_unchanged_frame_gives_the_dense_result_for_any_active_set(seed: int) -> None:
    frame, _ = frames(seed)
    active = torch.rand(4, 5, generator=torch.Generator().manual_seed(seed)) < 0.5
    executor = TokenExecutor(small_vit())
    expected, cache = executor.dense(frame)
    outputs, _ = executor.sparse(frame, active, cache)
    torch.testing.assert_close(outputs, expected, rtol=0, atol=1e-5)


def test_one_layer_is_exact_where_active_covers_the_change_and_deeper_ones_are_not() -> None:
    before, other = frames(5)
    after = before.clone()
    after[:, :, 16:32, 32:64] = other[:, :, 16:32, 32:64]  # patches (1, 2) and (1, 3)
    active = torch.zeros(4, 5, dtype=torch.bool)
    active[1, 2:4] = True
    errors = []
    for depth in (1, 3):
        executor = TokenExecutor(small_vit(depth))
        outputs, _ = executor.sparse(after, active, executor.dense(before)[1])
        expected, _ = executor.dense(after)
        errors.append(float((outputs - expected)[:, :, active].abs().max()))
    assert errors[0] < 1e-5
    assert errors[1] > 1e-4


def test_empty_active_set_is_the_cache() -> None:
    before, after = frames(6)
    executor = TokenExecutor(small_vit())
    expected, cache = executor.dense(before)
    outputs, updated = executor.sparse(after, torch.zeros(4, 5, dtype=torch.bool), cache)
    assert torch.equal(outputs, expected)
    assert updated is cache


def test_a_cache_is_not_changed_by_what_follows_from_it() -> None:
    before, after = frames(7)
    executor = TokenExecutor(small_vit())
    _, cache = executor.dense(before)
    copies = [t.clone() for t in (*cache.keys, *cache.values, cache.tokens)]
    executor.sparse(after, torch.eye(4, 5, dtype=torch.bool), cache)
    for copy, tensor in zip(copies, (*cache.keys, *cache.values, cache.tokens), strict=True):
        assert torch.equal(copy, tensor)


def test_cache_bytes_count_keys_values_and_tokens() -> None:
    _, cache = TokenExecutor(small_vit(depth=3)).dense(frames(0)[0])
    assert cache.bytes == 4 * 20 * 32 * (2 * 3 + 1)


def test_pose_network_has_the_published_shape() -> None:
    with torch.device("meta"):
        model = PoseNetwork()
        assert maps(model(torch.empty(1, 3, 256, 192))).shape == (1, 17, 64, 48)
        assert model.embed(torch.empty(1, 3, 256, 192)).shape == (1, 17 + 16 * 12, 192)
    assert round(sum(p.numel() for p in model.parameters()) / 1e6) == 6  # papers/fluxshard_ea.txt, 6.1


def test_keypoints_are_the_centres_of_the_largest_cells() -> None:
    heat = torch.zeros(1, 2, 64, 48)
    heat[0, 0, 3, 7] = 0.5
    heat[0, 1, 63, 47] = 2.0
    assert keypoints(heat).tolist() == [[30.0, 14.0, 0.5], [190.0, 254.0, 2.0]]


def test_positions_are_distinct_and_need_no_fixed_size() -> None:
    small, large = sine_positions(3, 4, 32), sine_positions(5, 4, 32)
    assert torch.equal(large[:12], small)
    assert torch.cdist(large, large).fill_diagonal_(1).min() > 0.1


def test_wrong_arguments_are_named() -> None:
    executor = TokenExecutor(small_vit())
    frame, _ = frames(0)
    _, cache = executor.dense(frame)
    active = torch.ones(4, 5, dtype=torch.bool)
    with pytest.raises(TypeError, match=r"frame must be float32 \(got torch\.uint8\)"):
        executor.dense(frame.to(torch.uint8))
    with pytest.raises(ValueError, match=r"multiples of 16 px \(got 60×80\)"):
        executor.dense(frame[:, :, :60])
    with pytest.raises(ValueError, match=r"active must be \(4, 5\) bool \(got \(4, 4\) torch\.bool\)"):
        executor.sparse(frame, active[:, :4], cache)
    with pytest.raises(ValueError, match=r"active must be .* \(got \(4, 5\) torch\.float32\)"):
        executor.sparse(frame, active.float(), cache)
    with pytest.raises(ValueError, match="cache must be from the same model"):
        TokenExecutor(small_vit()).sparse(frame, active, cache)
    with pytest.raises(ValueError, match=r"cache must be of a frame of shape \(1, 3, 32, 80\)"):
        executor.sparse(frame[:, :, :32], active[:2], cache)
    with pytest.raises(ValueError, match=r"frame must be 256×192 px for this model \(got 64×80\)"):
        TokenExecutor(small_pose()).dense(frame)
    with pytest.raises(TypeError, match=r"model must be a token model .* \(got Linear\)"):
        TokenExecutor(nn.Linear(1, 1))
