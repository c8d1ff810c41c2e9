"""Layers that do not lie in their place, as behind unpadded convolutions and crops: `fixed` follows them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.nn import functional

from kernels import SparseExecutor
from kernels.executor import UnsupportedModule
from kernels.ops import registry
from tests.strategies.networks import poisoned_memory

BACKENDS = [name for name in ("reference", "cpu") if registry.unavailable(name, "cpu") is None]


def _block(inputs: int, outputs: int, padding: int) -> nn.Sequential:
    layers = (nn.Conv2d(inputs, outputs, 3, padding=padding), nn.ReLU())
    return nn.Sequential(*layers, nn.Conv2d(outputs, outputs, 3, padding=padding), nn.ReLU())


class UNet(nn.Module):
    """With padding, or as it was published, without: maps shrink, and those of the encoder are cropped."""

    def __init__(self, padding: int, shuffles: bool = False) -> None:
        super().__init__()
        widths = (3, 4, 8, 16)
        self.down = nn.ModuleList(map(_block, widths, widths[1:], [padding] * 3))
        self.up = nn.ModuleList(
            nn.Sequential(nn.Conv2d(coarse, 4 * fine, 1), nn.PixelShuffle(2))
            if shuffles
            else nn.ConvTranspose2d(coarse, fine, 2, 2)
            for fine, coarse in ((4, 8), (8, 16))
        )
        self.mix = nn.ModuleList(_block(2 * fine, fine, padding) for fine in (4, 8))
        self.last = nn.Conv2d(4, 2, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        kept = []
        for level, down in enumerate(self.down):
            x = down(functional.max_pool2d(x, 2) if level else x)
            kept.append(x)
        for level in (1, 0):
            x = self.up[level](x)
            top, left = ((kept[level].shape[axis] - x.shape[axis]) // 2 for axis in (2, 3))
            same = kept[level][..., top : top + x.shape[2], left : left + x.shape[3]]
            x = self.mix[level](torch.cat([same, x], 1))
        return torch.as_tensor(self.last(x))


def _chain(padding: int, crop: int = 0) -> nn.Sequential:
    layers: list[nn.Module] = [nn.ZeroPad2d(-crop)] if crop else []
    for inputs in (3, *[4] * 15):
        layers += [nn.Conv2d(inputs, 4, 3, padding=padding), nn.ReLU()]
    return nn.Sequential(*layers)


def _missed(network: nn.Module, size: int, backend: str) -> float:
    """Share of a change in one block that `fixed` misses, with a ring of blocks around it active as well."""
    torch.manual_seed(0)
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight)
    before, blocks = torch.rand(1, 3, size, size), -(-size // 16)
    frame, middle = before.clone(), blocks // 2
    part = slice(16 * middle, 16 * middle + 16)
    frame[..., part, part] = torch.rand(1, 3, 16, 16)
    active = torch.zeros(blocks, blocks, dtype=torch.bool)
    active[middle - 1 : middle + 2, middle - 1 : middle + 2] = True
    executor = SparseExecutor(network.eval(), "fixed", backend)
    with poisoned_memory():
        old, cache = executor.dense(before)
        made, _, _ = executor.sparse(frame, active, torch.zeros(blocks, blocks, 2, dtype=torch.int64), cache)
        wanted, _ = executor.dense(frame)
    return float((wanted - made).abs().sum() / (wanted - old).abs().sum())


@pytest.mark.parametrize("backend", BACKENDS)
def test_unpadded_layers_and_crops_are_followed(backend: str) -> None:
    for network in (_chain(0), _chain(1, crop=24)):
        assert _missed(network, 160, backend) < 1e-4
    for shuffles in (False, True):
        with_padding = _missed(UNet(1, shuffles), 160, backend)
        assert _missed(UNet(0, shuffles), 156, backend) < max(0.02, 1.5 * with_padding)


def test_usual_padding_lies_in_its_place() -> None:
    """Strides, patches, focus and even kernels: a block is then a whole number of positions, and fast."""
    network = nn.Sequential(
        nn.Conv2d(3, 4, 7, 2, 3),
        nn.MaxPool2d(3, 2, 1),
        nn.Conv2d(4, 4, 3, 2, 1),
        nn.Conv2d(4, 4, 3, 1, 2, 2),
        nn.Conv2d(4, 4, 1, 2),
        nn.ConvTranspose2d(4, 4, 3, 2, 1, 1),
        nn.ConvTranspose2d(4, 4, 4, 2, 1),
        nn.Conv2d(4, 4, 4, 2, 1),
        nn.Upsample(scale_factor=2),
        nn.ConvTranspose2d(4, 4, 2, 2),
        nn.AvgPool2d(2),
        nn.PixelUnshuffle(2),
        nn.PixelShuffle(2),
        nn.Conv2d(4, 4, 4, 4),
    ).eval()
    plan = SparseExecutor(network, "fixed").plan(torch.rand(1, 3, 128, 128))
    assert all(resolution.is_in_place for resolution in plan.resolutions)


def _halves_swapped(x: torch.Tensor) -> torch.Tensor:
    return torch.cat(x.chunk(2, 3)[::-1], 3)


def _patches_as_channels(x: torch.Tensor) -> torch.Tensor:
    return x.view(1, 4, 2, 48, 2, 48).permute(0, 1, 2, 4, 3, 5).reshape(1, 16, 48, 48)


ELSEWHERE: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "flip": lambda x: x.flip(3),
    "both ways at once": lambda x: x + x.flip(3),
    "roll": lambda x: torch.roll(x, (-16, 16), (2, 3)),
    "transposition": lambda x: x.transpose(2, 3),
    "quarter turn": lambda x: torch.rot90(x, 1, (2, 3)),
    "halves swapped": _halves_swapped,
    "a quarter": lambda x: x.chunk(2, 2)[0].chunk(2, 3)[1],
    "patches as channels": _patches_as_channels,
    "columns by number": lambda x: x[..., torch.arange(95, -1, -1)],
}
IN_PLACE: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "norm over the frame": lambda x: (x - x.mean((2, 3), keepdim=True)) / x.std((2, 3), keepdim=True),
    "sums along rows": lambda x: x.cumsum(3),
    "attention of all": lambda x: (x.flatten(2).softmax(-1) @ x.flatten(2).mT @ x.flatten(2)).view_as(x),
    "larger by 1.5": lambda x: functional.interpolate(x, scale_factor=1.5, mode="bilinear"),
    "largest of each": lambda x: x.argmax(1, keepdim=True).float().expand_as(x),
    "there and back": lambda x: x.transpose(2, 3).cumsum(3).transpose(2, 3),
}


class _Between(nn.Module):
    def __init__(self, forward: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.first, self.last = nn.Conv2d(3, 4, 3, 1, 1), nn.LazyConv2d(2, 3, 1, 1)
        self.run = forward
        self(torch.rand(1, 3, 96, 96))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.as_tensor(self.last(self.run(self.first(x))))


@pytest.mark.parametrize("policy", ["fixed", "adaptive"])
@pytest.mark.parametrize("name", ELSEWHERE)
def test_positions_in_other_places_are_refused(name: str, policy: str) -> None:
    """`fixed` would compute the blocks of the frame there, and miss what changed."""
    network, frame = _Between(ELSEWHERE[name]).eval(), torch.rand(1, 3, 96, 96)
    with pytest.raises(UnsupportedModule, match=r"^model: puts positions .*'exact' and 'truncate' follow$"):
        SparseExecutor(network, policy).dense(frame)
    dense, _ = SparseExecutor(network, "exact").dense(frame)
    with torch.no_grad():
        torch.testing.assert_close(dense, network(frame))


@pytest.mark.parametrize("policy", ["fixed", "adaptive"])
@pytest.mark.parametrize("name", IN_PLACE)
def test_what_keeps_its_place_is_not_refused(name: str, policy: str) -> None:
    network, frame = _Between(IN_PLACE[name]).eval(), torch.rand(1, 3, 96, 96)
    executor, everything = SparseExecutor(network, policy), torch.ones(6, 6, dtype=torch.bool)
    _, cache = executor.dense(torch.rand(1, 3, 96, 96))
    made, _, _ = executor.sparse(frame, everything, torch.zeros(6, 6, 2, dtype=torch.int64), cache)
    with torch.no_grad():
        torch.testing.assert_close(made, network(frame), rtol=1e-4, atol=1e-5)
