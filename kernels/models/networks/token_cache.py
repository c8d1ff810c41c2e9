"""Token-sparse inference: active tokens are recomputed, keys and values of the rest come from the cache.

What the sparse result is: at every layer, the hidden state of a token outside the active set is the one it
had when it was last computed. Keys and values are functions of a token's own hidden state, so that they are
all that needs to be kept. Three cases are exact, that is, equal to dense inference on the new frame:

- all tokens are active;
- the frame did not change, whatever the active set;
- the network has one layer and every token that changed is active.

Otherwise the active tokens attend to what the others were, and the others do not learn of the change.

With a share p of the tokens active, the arithmetic of every layer falls to p: projections and feed-forward
run on p·N tokens, attention on p·N × N.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from kernels.models.networks.transformer import TransformerLayer


class TokenModel(Protocol):
    """What :class:`TokenExecutor` needs of a model; see :mod:`kernels.models.networks.transformer`."""

    patch_px: int
    prefix_tokens: int

    def embed(self, frame: Tensor, chosen: Tensor | None = None) -> Tensor: ...

    def layers_in_order(self) -> list[TransformerLayer]: ...

    def read_out(self, tokens: Tensor, rows: int, columns: int) -> Any: ...


@dataclass(frozen=True, slots=True)
class TokenCache:
    """What a frame leaves for the next: per layer passed, keys and values (1, heads, n, d); the last tokens.

    A cache is never written to again; :meth:`TokenExecutor.sparse` returns a new one.
    """

    keys: tuple[Tensor, ...]
    values: tuple[Tensor, ...]
    tokens: Tensor
    frame_shape: tuple[int, ...]
    owner: object

    @property
    def bytes(self) -> int:
        """Memory of the tensors."""
        return sum(t.numel() * t.element_size() for t in (*self.keys, *self.values, self.tokens))


class TokenExecutor:
    """Runs a token model densely or on the active tokens only, without editing it."""

    def __init__(self, model: nn.Module) -> None:
        """
        Args:
            model: a :class:`TokenModel`, such as ``VisionTransformer`` or ``PoseNetwork``.

        Raises:
            TypeError: if the model lacks a member of :class:`TokenModel`.
        """
        lacking = [
            name
            for name in ("patch_px", "prefix_tokens", "embed", "layers_in_order", "read_out")
            if not hasattr(model, name)
        ]
        if lacking:
            raise TypeError(
                f"model must be a token model with {', '.join(lacking)} (got {type(model).__name__})"
            )
        self.model: TokenModel = model  # type: ignore[assignment]

    @torch.inference_mode()
    def dense(self, frame: Tensor) -> tuple[Any, TokenCache]:
        """Outputs and cache of a whole frame (1, 3, H, W) float32.

        Raises:
            TypeError, ValueError: if the frame has another type or shape.
        """
        rows, columns = self._grid(frame)
        tokens = self.model.embed(frame)
        keys, values = [], []
        for layer in self.model.layers_in_order():
            query, key, value = layer.project(tokens)
            tokens = layer.mix(tokens, query, key, value)
            keys.append(key)
            values.append(value)
        cache = TokenCache(tuple(keys), tuple(values), tokens, tuple(frame.shape), self.model)
        return self.model.read_out(tokens, rows, columns), cache

    @torch.inference_mode()
    def sparse(self, frame: Tensor, active: Tensor, cache: TokenCache) -> tuple[Any, TokenCache]:
        """Outputs and updated cache after recomputing the active tokens (and the prefix tokens).

        An empty active set returns the outputs of the cache, which stays as it is.

        Args:
            frame: (1, 3, H, W) float32, of the size of the cache's frame.
            active: (H/patch, W/patch) bool.
            cache: from this executor.

        Raises:
            TypeError, ValueError: if an argument has another type or shape or the cache is of another model.
        """
        rows, columns = self._grid(frame)
        if active.dtype != torch.bool or tuple(active.shape) != (rows, columns):
            raise ValueError(
                f"active must be ({rows}, {columns}) bool (got {tuple(active.shape)} {active.dtype})"
            )
        if cache.owner is not self.model:
            raise ValueError("cache must be from the same model (got one of another model)")
        if cache.frame_shape != tuple(frame.shape):
            raise ValueError(
                f"cache must be of a frame of shape {tuple(frame.shape)} (got one of {cache.frame_shape})"
            )
        chosen = torch.nonzero(active.flatten())[:, 0]
        if len(chosen) == 0:
            return self.model.read_out(cache.tokens, rows, columns), cache
        tokens = self.model.embed(frame, chosen)
        prefix = torch.arange(self.model.prefix_tokens, device=chosen.device)
        places = torch.cat([prefix, chosen + self.model.prefix_tokens])
        keys, values = [], []
        for depth, layer in enumerate(self.model.layers_in_order()):
            query, key, value = layer.project(tokens)
            keys.append(cache.keys[depth].index_copy(2, places, key))
            values.append(cache.values[depth].index_copy(2, places, value))
            tokens = layer.mix(tokens, query, keys[-1], values[-1])
        everyone = cache.tokens.index_copy(1, places, tokens)
        updated = TokenCache(tuple(keys), tuple(values), everyone, cache.frame_shape, self.model)
        return self.model.read_out(everyone, rows, columns), updated

    def _grid(self, frame: Tensor) -> tuple[int, int]:
        side = self.model.patch_px
        if frame.dtype != torch.float32:
            raise TypeError(f"frame must be float32 (got {frame.dtype})")
        if frame.dim() != 4 or tuple(frame.shape[:2]) != (1, 3):
            raise ValueError(f"frame must be (1, 3, H, W) (got {tuple(frame.shape)})")
        height, width = frame.shape[2:]
        if height % side or width % side or not height or not width:
            raise ValueError(f"frame must have sides that are multiples of {side} px (got {height}×{width})")
        wanted = (getattr(self.model, "height_px", height), getattr(self.model, "width_px", width))
        if wanted != (height, width):
            raise ValueError(
                f"frame must be {wanted[0]}×{wanted[1]} px for this model (got {height}×{width})"
            )
        return height // side, width // side
