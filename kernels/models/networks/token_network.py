"""The token network: which kind of object covers most of a frame of the embedded scenes, by a small ViT.

A ViT (Dosovitskiy et al. 2021) whose patches of 32 px are embedded by convolutions (Xiao et al. 2021, "Early
convolutions help transformers see better"), the default network's first stages, which know the scenes. It has
no position embeddings: what covers most does not depend on where it is, and a token that moves with its block
stays what it was, so that tokens can be taken from a cache along motion vectors as any other feature.

Tokens stay a map (B, channels, H/32, W/32), so that a sparse executor sees which are active.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from kernels.models.networks.scene_trunks import EarlyTrunk, take_over
from kernels.models.predictions.labels import MAIN_CLASSES
from kernels.models.weight_files import load_weights

WEIGHTS = Path(__file__).parent.parent / "weights" / "token_top.safetensors"
PATCH_PX = 32


class ChannelNorm(nn.Module):
    """Layer norm over the channels of each position of a map."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return out


class TokenLayer(nn.Module):
    """Pre-norm attention and feed-forward on a map: x ← x + attention(norm(x)), x ← x + mlp(norm(x))."""

    def __init__(self, channels: int, heads: int, expansion: int) -> None:
        super().__init__()
        self.heads = heads
        self.scale = (channels // heads) ** -0.5
        self.norm1 = ChannelNorm(channels)
        self.qkv = nn.Conv2d(channels, 3 * channels, 1)
        self.proj = nn.Conv2d(channels, channels, 1)
        self.norm2 = ChannelNorm(channels)
        self.mlp = nn.Sequential(
            nn.Conv2d(channels, expansion * channels, 1),
            nn.SiLU(),
            nn.Conv2d(expansion * channels, channels, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        per_head = self.qkv(self.norm1(x)).unflatten(1, (self.heads, -1)).flatten(3)
        query, key, value = per_head.chunk(3, dim=2)
        shares = torch.softmax(query.transpose(2, 3) @ key * self.scale, dim=-1)
        mixed = (value @ shares.transpose(2, 3)).reshape(x.shape)
        x = x + self.proj(mixed)
        change: Tensor = self.mlp(self.norm2(x))
        return x + change


class TokenTop(nn.Module):
    """From a trunk's map (B, channels, H/8, W/8) to tokens and to logits."""

    def __init__(
        self, channels: int = EarlyTrunk.channels, width: int = 56, depth: int = 3, heads: int = 4
    ) -> None:
        super().__init__()
        self.patch = nn.Conv2d(channels, width, PATCH_PX // 8, PATCH_PX // 8)
        self.layers = nn.Sequential(*(TokenLayer(width, heads, 2) for _ in range(depth)))
        self.norm = ChannelNorm(width)
        self.head = nn.Linear(width, len(MAIN_CLASSES))

    def tokens(self, stride8: Tensor) -> Tensor:
        """(B, width, H/32, W/32), what the head averages."""
        out: Tensor = self.norm(self.layers(self.patch(stride8)))
        return out

    def forward(self, stride8: Tensor) -> Tensor:
        logits: Tensor = self.head(self.tokens(stride8).mean(dim=(2, 3)))
        return logits


class TokenNetwork(nn.Module):
    """Logits of what covers most of a frame.

    ``forward(frame)`` with frame (B, 3, H, W), RGB in [0, 1], H and W multiples of 32, returns ``{"logits":
    (logits,)}`` with logits (B, classes), one a class of
    :data:`~kernels.models.predictions.labels.MAIN_CLASSES`.
    """

    def __init__(self) -> None:
        super().__init__()
        self.trunk = EarlyTrunk()
        self.top = TokenTop()

    def forward(self, frame: Tensor) -> dict[str, tuple[Tensor, ...]]:
        return {"logits": (self.top(self.trunk(frame)),)}


def load_token_network() -> nn.Module:
    """The token network with the weights that come along, in evaluation mode."""
    network = TokenNetwork()
    take_over(network.trunk)
    load_weights(network.top, WEIGHTS)
    return network.eval()
