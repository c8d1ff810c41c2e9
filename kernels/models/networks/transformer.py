"""Token models: transformer layers whose queries can be fewer than their keys, a small ViT, a pose network.

A token model is described by five members, which :mod:`kernels.models.networks.token_cache` builds on:

- ``patch_px``: side of the square of pixels that a patch token stands for;
- ``prefix_tokens``: tokens before the patches that belong to no place in the frame (always recomputed);
- ``embed(frame, chosen)``: the prefix and the chosen patch tokens of a frame, before the first layer;
- ``layers_in_order()``: the layers as the tokens pass them, a layer more than once if it is reused;
- ``read_out(tokens, rows, columns)``: outputs from the tokens behind the last layer.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from kernels.models.networks.layers import ConvUnit


class TransformerLayer(nn.Module):
    """Pre-norm attention and feed-forward, x ← x + attention(norm(x)), x ← x + mlp(norm(x))."""

    def __init__(self, channels: int, heads: int, expansion: int) -> None:
        super().__init__()
        if channels % heads:
            raise ValueError(f"channels must be a multiple of heads = {heads} (got {channels})")
        self.heads = heads
        self.scale = (channels // heads) ** -0.5
        self.norm1 = nn.LayerNorm(channels)
        self.qkv = nn.Linear(channels, 3 * channels)
        self.proj = nn.Linear(channels, channels)
        self.norm2 = nn.LayerNorm(channels)
        self.mlp = nn.Sequential(
            nn.Linear(channels, expansion * channels), nn.GELU(), nn.Linear(expansion * channels, channels)
        )

    def project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values (B, heads, n, channels/heads) of tokens (B, n, channels)."""
        parts = self.qkv(self.norm1(x)).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        return parts[0], parts[1], parts[2]

    def mix(self, x: Tensor, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """The layer's output for the tokens ``x`` with their queries and all tokens' keys and values."""
        weights = torch.softmax(query @ key.transpose(2, 3) * self.scale, dim=-1)
        x = x + self.proj((weights @ value).transpose(1, 2).flatten(2))
        out: Tensor = x + self.mlp(self.norm2(x))
        return out

    def forward(self, x: Tensor) -> Tensor:
        return self.mix(x, *self.project(x))


class VisionTransformer(nn.Module):
    """A small ViT that classifies every patch (Dosovitskiy et al. 2021, with a dense read-out).

    ``forward(frame)`` with frame (1, 3, H, W), H and W multiples of ``patch_px``, returns logits
    (1, classes, H/patch, W/patch). Positions are fixed sines, so any size will do.
    """

    prefix_tokens = 0

    def __init__(
        self,
        channels: int = 192,
        depth: int = 4,
        heads: int = 3,
        *,
        expansion: int = 4,
        patch_px: int = 16,
        classes: int = 6,
    ) -> None:
        super().__init__()
        if channels % 4:
            raise ValueError(f"channels must be a multiple of 4 for the positions (got {channels})")
        self.patch_px = patch_px
        self.channels = channels
        self.patch = nn.Linear(3 * patch_px**2, channels)
        self.layers = nn.ModuleList(TransformerLayer(channels, heads, expansion) for _ in range(depth))
        self.norm = nn.LayerNorm(channels)
        self.head = nn.Linear(channels, classes)

    def layers_in_order(self) -> list[TransformerLayer]:
        return list(self.layers)  # type: ignore[arg-type]

    def embed(self, frame: Tensor, chosen: Tensor | None = None) -> Tensor:
        """Tokens (1, n, channels) of the patches ``chosen`` (flat indices, row-major), or of all."""
        side = self.patch_px
        patches = frame.unfold(2, side, side).unfold(3, side, side)  # (1, 3, rows, columns, side, side)
        rows, columns = patches.shape[2:4]
        pixels = patches.permute(0, 2, 3, 1, 4, 5).reshape(1, rows * columns, 3 * side * side)
        positions = sine_positions(rows, columns, self.channels).to(frame)
        if chosen is not None:
            pixels, positions = pixels[:, chosen], positions[chosen]
        tokens: Tensor = self.patch(pixels) + positions
        return tokens

    def read_out(self, tokens: Tensor, rows: int, columns: int) -> Tensor:
        logits: Tensor = self.head(self.norm(tokens))
        maps: Tensor = logits.transpose(1, 2).unflatten(2, (rows, columns))
        return maps

    def forward(self, frame: Tensor) -> Tensor:
        tokens = self.embed(frame)
        for layer in self.layers:
            tokens = layer(tokens)
        return self.read_out(tokens, frame.shape[2] // self.patch_px, frame.shape[3] // self.patch_px)


class PoseNetwork(nn.Module):
    """A keypoint network of the shape of SDPose (Chen et al. 2024) with random weights.

    A convolutional stem to stride 4, one token per 16×16 pixels (16×12 of them), a token per keypoint, twelve
    transformer layers that the tokens pass ``cycles`` times, and a heatmap per keypoint token: 5.8 M
    parameters against the 6 M of FluxShard (§6.1 of its first paper).

    ``forward(frame)`` with frame (1, 3, 256, 192) returns ``{"heatmaps": (maps,)}`` with maps
    (1, keypoints, 64, 48).
    """

    patch_px = 16
    height_px, width_px = 256, 192

    def __init__(
        self, keypoints: int = 17, channels: int = 192, depth: int = 12, heads: int = 8, cycles: int = 2
    ) -> None:
        super().__init__()
        self.prefix_tokens = keypoints
        self.cycles = cycles
        rows, columns = self.height_px // self.patch_px, self.width_px // self.patch_px
        self.stem = nn.Sequential(
            ConvUnit(3, 64, 3, 2), ConvUnit(64, channels, 3, 2), nn.Conv2d(channels, channels, 4, 4)
        )
        self.positions = nn.Parameter(torch.randn(1, rows * columns, channels) * 0.02)
        self.keypoint_tokens = nn.Parameter(torch.randn(1, keypoints, channels) * 0.02)
        self.layers = nn.ModuleList(TransformerLayer(channels, heads, 3) for _ in range(depth))
        self.norm = nn.LayerNorm(channels)
        self.heatmap = nn.Linear(channels, self.height_px // 4 * (self.width_px // 4))

    def layers_in_order(self) -> list[TransformerLayer]:
        return [*self.layers] * self.cycles

    def embed(self, frame: Tensor, chosen: Tensor | None = None) -> Tensor:
        """Keypoint tokens, then the chosen patch tokens. The stem always runs on the whole frame."""
        patches = self.stem(frame).flatten(2).transpose(1, 2) + self.positions
        if chosen is not None:
            patches = patches[:, chosen]
        return torch.cat([self.keypoint_tokens, patches], dim=1)

    def read_out(self, tokens: Tensor, rows: int, columns: int) -> dict[str, tuple[Tensor, ...]]:
        maps: Tensor = self.heatmap(self.norm(tokens[:, : self.prefix_tokens]))
        return {"heatmaps": (maps.unflatten(2, (self.height_px // 4, self.width_px // 4)),)}

    def forward(self, frame: Tensor) -> dict[str, tuple[Tensor, ...]]:
        tokens = self.embed(frame)
        for layer in self.layers_in_order():
            tokens = layer(tokens)
        return self.read_out(tokens, self.height_px // self.patch_px, self.width_px // self.patch_px)


def sine_positions(rows: int, columns: int, channels: int) -> Tensor:
    """Fixed positions (rows·columns, channels): half the channels for the row, half for the column.

    Channel pairs sin(p·ω), cos(p·ω) with ω from 1 down to 10⁻⁴ (Vaswani et al. 2017, section 3.5).
    """
    count = channels // 4
    rates = torch.exp(-math.log(1e4) * torch.arange(count, dtype=torch.float32) / max(1, count - 1))

    def waves(length: int) -> Tensor:
        angles = torch.arange(length, dtype=torch.float32)[:, None] * rates
        return torch.cat([angles.sin(), angles.cos()], dim=1)

    down, across = waves(rows), waves(columns)
    grid = torch.cat([down[:, None].expand(-1, columns, -1), across[None].expand(rows, -1, -1)], dim=2)
    return grid.flatten(0, 1)
