"""Several cameras in one call: each gets what a call of its own gives, and what mixes them is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional
from torch.utils import _pytree as pytree

from kernels import SparseExecutor
from kernels.bench.architectures import ARCHITECTURES, build, frame_channels
from kernels.executor.graph.module_trace import UnsupportedModule
from kernels.ops import registry
from tests.strategies.networks import RandomNetwork, moving_frames, networks

BACKENDS = [name for name in ("reference", "cpu") if registry.unavailable(name, "cpu") is None]
POLICIES = ("exact", "truncate", "fixed")


def leaves(value: Any) -> list[Tensor]:
    return [leaf for leaf in pytree.tree_leaves(value) if isinstance(leaf, Tensor)]


def same(one: Any, other: Any) -> bool:
    return all(torch.equal(a, b) for a, b in zip(leaves(one), leaves(other), strict=True))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("policy", POLICIES)
@settings(max_examples=12, deadline=None)
@given(data=st.data())
def test_each_sample_gets_what_a_call_of_its_own_gives(
    policy: str, backend: str, data: st.DataObject
) -> None:
    """Small integers: to the last bit. Sets of all kinds, an empty one among them; cameras come and go."""
    network: RandomNetwork = data.draw(networks())
    channels = network.channels
    cameras = [data.draw(moving_frames(channels)) for _ in range(3)]
    together, apart = (SparseExecutor(network, policy, backend, block_px=8) for _ in range(2))
    frames = torch.cat([camera.reference for camera in cameras])
    outputs, caches = together.dense(frames)
    alone = [apart.dense(camera.reference) for camera in cameras]
    with torch.no_grad():
        assert same(outputs, network(frames))
    assert same(outputs, joined([result for result, _ in alone]))
    held = [cache for _, cache in alone]
    for _ in range(3):
        chosen = data.draw(st.lists(st.integers(0, 2), min_size=1, max_size=3, unique=True))
        active = torch.stack([cameras[camera].active for camera in chosen])
        active[0] = False
        vectors = torch.stack([cameras[camera].vectors for camera in chosen])
        frame = torch.cat([cameras[camera].frame for camera in chosen])
        outputs, made, reports = together.sparse(
            frame, active, vectors, [caches[camera] for camera in chosen]
        )
        single = [
            apart.sparse(frame[i : i + 1], active[i], vectors[i], held[camera])
            for i, camera in enumerate(chosen)
        ]
        assert same(outputs, joined([result for result, _, _ in single]))
        assert [report.reused for report in reports] == [report.reused for _, _, report in single]
        for i, camera in enumerate(chosen):
            caches[camera], held[camera] = made[i], single[i][1]


def joined(results: list[Any]) -> Any:
    return [torch.cat(parts) for parts in zip(*(leaves(result) for result in results), strict=True)]


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("name", list(ARCHITECTURES))
def test_every_architecture_takes_a_batch(name: str, policy: str) -> None:
    model = build(name)
    generator = torch.Generator().manual_seed(3)
    frames = torch.rand(3, frame_channels(name), 96, 118, generator=generator)
    executor = SparseExecutor(model, policy)
    outputs, caches = executor.dense(frames)
    with torch.no_grad():
        expected = model(frames)
    for one, other in zip(leaves(outputs), leaves(expected), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4 * float(other.abs().max()))
    active = torch.rand(3, 6, 8, generator=generator) < 0.3
    active[1] = False
    vectors = torch.randint(-20, 21, (3, 6, 8, 2), generator=generator)
    later = torch.rand(frames.shape, generator=generator)
    outputs, _, _ = executor.sparse(later, active, vectors, caches)
    single = [
        executor.sparse(later[i : i + 1], active[i], vectors[i], caches[i])[0] for i in range(len(later))
    ]
    assert same(outputs, joined(single))


class Mixing(nn.Module):
    """A convolution, then something done to the batch in a submodule."""

    class Step(nn.Module):
        def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
            super().__init__()
            self.function = function

        def forward(self, x: Tensor) -> Tensor:
            return self.function(x)

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, padding=1)
        self.odd = self.Step(function)
        self.last = nn.Conv2d(8, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.odd(self.first(x)))


MIXES: dict[str, Callable[[Tensor], Tensor]] = {
    "mean over the batch": lambda x: x - x.mean(0, keepdim=True),
    "one mean for all": lambda x: x - x.mean(),
    "one spread for all": lambda x: x / x.std(),
    "one largest number for all": lambda x: x / x.abs().amax(),
    "one least number for all": lambda x: x.sigmoid() - x.sigmoid().amin(),
    "batch statistics": lambda x: functional.batch_norm(x, None, None, training=True),
    "channels of another sample": lambda x: x.flip(0) + x,
    "samples among the channels": lambda x: x.reshape(x.shape[0], -1).view(-1, 8, *x.shape[2:]).roll(1, 0),
    "attention over samples": lambda x: (x.flatten(1) @ x.flatten(1).T).softmax(-1)[:, :1, None, None] * x,
    "one sample only": lambda x: x.view(1, 8, *x.shape[2:]),
}


@pytest.mark.parametrize("name", list(MIXES))
def test_what_mixes_samples_is_refused_with_its_path(name: str) -> None:
    executor = SparseExecutor(Mixing(MIXES[name]).eval(), block_px=8)
    frames = torch.rand(2, 3, 16, 24)
    executor.dense(frames[:1])  # one camera is no batch
    with pytest.raises(UnsupportedModule, match=r"model\.odd"):
        executor.dense(frames)


def test_samples_along_other_axes_and_results_without_any() -> None:
    class Heads(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Conv2d(3, 4, 3, 2, 1)

        def forward(self, x: Tensor) -> dict[str, Any]:
            y = self.body(x)
            grid = torch.arange(y.shape[3], dtype=torch.float32)
            return {"map": y, "tokens": y.flatten(2).permute(2, 0, 1), "grid": grid, "stride": 2}

    model = Heads().eval()
    frames = torch.rand(4, 3, 16, 24)
    outputs, caches = SparseExecutor(model, block_px=8).dense(frames)
    expected = model(frames)
    assert len(caches) == 4
    assert outputs["stride"] == 2
    for key in ("map", "tokens", "grid"):
        torch.testing.assert_close(outputs[key], expected[key])


def test_wrong_arguments_name_what_is_wrong() -> None:
    executor = SparseExecutor(nn.Conv2d(1, 2, 3, padding=1).eval(), block_px=8)
    frames, active = torch.rand(2, 1, 16, 16), torch.zeros(2, 2, 2, dtype=torch.bool)
    vectors = torch.zeros(2, 2, 2, 2, dtype=torch.int64)
    _, caches = executor.dense(frames)
    with pytest.raises(ValueError, match=r"cache must be a list of one a frame, 2 \(got 1 caches\)"):
        executor.sparse(frames, active, vectors, caches[:1])
    with pytest.raises(ValueError, match=r"one a frame, 2 \(got FeatureCache\)"):
        executor.sparse(frames, active, vectors, caches[0])
    with pytest.raises(ValueError, match=r"active must have shape \(2, 2, 2\) \(got \(2, 2\)\)"):
        executor.sparse(frames, active[0], vectors, caches)
    with pytest.raises(ValueError, match=r"vectors must have shape \(2, 2, 2, 2\)"):
        executor.sparse(frames, active, vectors[0], caches)
    with pytest.raises(TypeError, match="cache must come from"):
        executor.sparse(frames, active, vectors, [caches[0], None])  # type: ignore[list-item]
    with pytest.raises(ValueError, match=r"frame must have shape \(1, C, H, W\)"):
        executor.calibrate(frames)
    outputs, made, reports = executor.sparse(frames[:1], active[:1], vectors[:1], caches[:1])
    assert outputs.shape[0] == len(made) == len(reports) == 1
