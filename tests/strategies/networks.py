"""Random convolutional networks, frames and motion, made so that every float32 sum in them is exact.

Weights and pixels are small integers; the bits that a value needs are tracked while a network is drawn, and a
ReLU6 cuts them where they would pass float32's 24. Sparse and dense runs must then agree to the last bit.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import log2
from unittest import mock

import torch
from hypothesis import strategies as st
from torch import nn

from kernels.executor.state import arenas

BITS = 23


@dataclass(frozen=True)
class LayerSpec:
    """One operation of a random network: its kind, the earlier maps it reads, and its settings."""

    kind: str
    sources: tuple[int, ...]
    settings: tuple[int, ...] = ()


class RandomNetwork(nn.Module):
    """Runs a list of steps and returns every map it made."""

    def __init__(self, channels: int, steps: list[LayerSpec], seed: int) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.channels = channels
        self.steps = steps
        self.layers = nn.ModuleList()
        counts, bits = [channels], [2.0]
        for step in steps:
            layer, outputs, wide = _build(step, counts, bits, generator)
            if wide > BITS:
                layer, wide = _Bounded(layer), 3.0
            self.layers.append(layer)
            counts.append(outputs)
            bits.append(wide)
        self.eval()

    def forward(self, frame: torch.Tensor) -> list[torch.Tensor]:
        maps = [frame]
        for step, layer in zip(self.steps, self.layers, strict=True):
            maps.append(layer(*(maps[source] for source in step.sources)))
        return maps[1:]


class _Together(nn.Module):
    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind

    def forward(self, first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
        return first + second if self.kind == "add" else torch.cat([first, second], dim=1)


class _Bounded(nn.Module):
    """A layer, of one input or two, whose values are cut to [0, 6]."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, *maps: torch.Tensor) -> torch.Tensor:
        return nn.functional.relu6(self.layer(*maps))


class _Half(nn.Module):
    def forward(self, value: torch.Tensor) -> torch.Tensor:
        return value.chunk(2, dim=1)[1]


def _integers(shape: tuple[int, ...], generator: torch.Generator) -> torch.Tensor:
    return torch.randint(-1, 2, shape, generator=generator).float()


def _build(
    step: LayerSpec, counts: list[int], bits: list[float], generator: torch.Generator
) -> tuple[nn.Module, int, float]:
    """The layer of a step, its output channels, and the bits its values need."""
    source = step.sources[0]
    channels, wide = counts[source], bits[source]
    if step.kind == "convolve":
        outputs, kernel, stride, dilation, groups, activation, padding = step.settings
        groups = groups if channels % groups == 0 and outputs % groups == 0 else 1
        if groups == 2 and channels == 2:
            outputs = 2  # depthwise
        layer = nn.Conv2d(
            channels, outputs, kernel, stride, padding * dilation * (kernel // 2), dilation, groups
        )
        with torch.no_grad():
            layer.weight.copy_(_integers(tuple(layer.weight.shape), generator))
            layer.bias.copy_(_integers((outputs,), generator))
        wide += log2(channels // groups * kernel * kernel + 1)
        then = (nn.Identity(), nn.ReLU(), nn.ReLU6(), nn.LeakyReLU(0.5))[activation]
        return nn.Sequential(layer, then), outputs, 3.0 if activation == 2 else wide + (activation == 3)
    if step.kind == "unfold":
        layer = nn.ConvTranspose2d(channels, channels, step.settings[0], 2, (step.settings[0] - 2) // 2)
        with torch.no_grad():
            layer.weight.copy_(_integers(tuple(layer.weight.shape), generator))
            layer.bias.copy_(_integers((channels,), generator))
        return layer, channels, wide + log2(4 * channels + 1)
    if step.kind == "pool":
        return nn.MaxPool2d(*step.settings), channels, wide
    if step.kind == "average":
        return nn.AvgPool2d(2), channels, wide + 4
    if step.kind == "nearest":
        return nn.Upsample(scale_factor=2), channels, wide
    if step.kind == "bilinear":
        return nn.Upsample(scale_factor=2, mode="bilinear"), channels, wide + 4
    if step.kind == "half":
        return (_Half(), channels // 2, wide) if channels >= 2 else (nn.Identity(), channels, wide)
    both = max(wide, bits[step.sources[1]])
    if step.kind == "add":
        return _Together("add"), channels, both + 1
    return _Together("concat"), channels + counts[step.sources[1]], both


@st.composite
def networks(draw: st.DrawFn, most: int = 7, size: int = 32) -> RandomNetwork:
    """A network for frames of size × size pixels with 1 to 3 channels."""
    channels = draw(st.integers(1, 3))
    steps: list[LayerSpec] = []
    shapes = [(channels, size)]  # channels, height
    for _ in range(draw(st.integers(1, most))):
        source = draw(st.integers(max(0, len(shapes) - 3), len(shapes) - 1))
        count, height = shapes[source]
        kind = draw(
            st.sampled_from(
                ["convolve"] * 3
                + ["pool", "average", "nearest", "bilinear", "unfold", "add", "concat", "half"]
            )
        )
        if kind in ("add", "concat"):
            fitting = [
                index
                for index, (other, rows) in enumerate(shapes)
                if rows == height and index > 0 and (kind == "concat" or other == count)
            ]
            if source == 0 or not fitting:
                kind = "convolve"
            else:
                second = draw(st.sampled_from(fitting))
                steps.append(LayerSpec(kind, (source, second)))
                shapes.append((count if kind == "add" else count + shapes[second][0], height))
                continue
        if kind in ("nearest", "bilinear", "unfold") and height < size:
            kernel = draw(st.sampled_from([2, 4]))
            steps.append(LayerSpec(kind, (source,), (kernel,) if kind == "unfold" else ()))
            shapes.append((count, height * 2))
            continue
        if kind in ("pool", "average") and height >= 8:
            settings = draw(st.sampled_from([(2, 2, 0), (3, 2, 1), (3, 1, 1), (5, 1, 2)]))
            steps.append(LayerSpec(kind, (source,), settings if kind == "pool" else ()))
            shapes.append((count, height if kind == "pool" and settings[1] == 1 else height // 2))
            continue
        if kind == "half":
            steps.append(LayerSpec(kind, (source,)))
            shapes.append((count // 2 if count >= 2 else count, height))
            continue
        stride = draw(st.sampled_from([1, 1, 2])) if height >= 8 else 1
        kernel = draw(st.sampled_from([1, 3, 3, 5] if height >= 8 else [1, 3]))
        dilation = draw(st.sampled_from([1, 1, 2])) if kernel == 3 and height >= 16 else 1
        outputs = draw(st.sampled_from([1, 2, 3, 4]))
        groups = draw(st.sampled_from([1, 1, 2]))
        settings = (outputs, kernel, stride, dilation, groups, draw(st.integers(0, 3)), 1)
        if groups == 2 and count == 2 and outputs % 2 == 0:
            outputs = 2
        steps.append(LayerSpec("convolve", (source,), settings))
        shapes.append((outputs, height // stride))
    return RandomNetwork(channels, steps, draw(st.integers(0, 2**31)))


@dataclass(frozen=True)
class MovingFrame:
    """A reference, a frame, the vectors that lead from it to the reference, and blocks flagged active."""

    reference: torch.Tensor
    frame: torch.Tensor
    vectors: torch.Tensor
    active: torch.Tensor


@st.composite
def moving_frames(draw: st.DrawFn, channels: int, size: int = 32, block: int = 8) -> MovingFrame:
    """Blocks translated by vectors, with occlusions; what comes from outside is new content."""
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    reference = torch.randint(-3, 4, (1, channels, size, size), generator=generator).float()
    blocks = size // block
    kind = draw(st.sampled_from(["still", "global", "halves", "blocks"]))
    moves = st.sampled_from([0, 0, 1, -2, 4, -4, 8, -8, 16])
    vectors = torch.zeros(blocks, blocks, 2, dtype=torch.int32)
    if kind == "global":
        vectors[:] = torch.tensor([draw(moves), draw(moves)])
    elif kind == "halves":
        vectors[:, blocks // 2 :] = torch.tensor([draw(moves), draw(moves)])
    elif kind == "blocks":
        for row in range(blocks):
            for column in range(blocks):
                vectors[row, column] = torch.tensor([draw(moves), draw(moves)])
    frame = torch.randint(-3, 4, reference.shape, generator=generator).float()
    for y in range(size):
        for x in range(size):
            dx, dy = vectors[y // block, x // block].tolist()
            if 0 <= y + dy < size and 0 <= x + dx < size:
                frame[0, :, y, x] = reference[0, :, y + dy, x + dx]
    for _ in range(draw(st.integers(0, 2))):
        y, x = draw(st.integers(0, size - 1)), draw(st.integers(0, size - 1))
        frame[0, :, y : y + 3, x : x + 2] += 1
    active = torch.rand(blocks, blocks, generator=generator) < draw(st.sampled_from([0.0, 0.0, 0.2]))
    return MovingFrame(reference, frame, vectors, active)


@st.composite
def cases(draw: st.DrawFn, most: int = 7) -> tuple[RandomNetwork, MovingFrame]:
    """A network and motion that fits it."""
    network = draw(networks(most=most))
    return network, draw(moving_frames(network.channels))


@contextmanager
def poisoned_memory() -> Iterator[None]:
    """Every tensor that is allocated without a value, and every reused buffer, is full of NaN."""
    empty, acquire = torch.empty, arenas.ArenaPool.acquire

    def poisoned_empty(*args: object, **kwargs: object) -> torch.Tensor:
        made = empty(*args, **kwargs)
        return made.fill_(float("nan")) if made.is_floating_point() else made

    def poisoned_acquire(self: arenas.ArenaPool) -> arenas.Arena:
        arena = acquire(self)
        for buffer in (*arena.buffers.values(), *self.workspace.buffers.values()):
            buffer.fill_(float("nan"))
        arena.before = None, None  # it holds nothing of an earlier frame any more
        return arena

    with (
        mock.patch.object(torch, "empty", poisoned_empty),
        mock.patch.object(arenas.ArenaPool, "acquire", poisoned_acquire),
    ):
        yield


__all__ = [
    "LayerSpec",
    "MovingFrame",
    "RandomNetwork",
    "cases",
    "moving_frames",
    "networks",
    "poisoned_memory",
]
