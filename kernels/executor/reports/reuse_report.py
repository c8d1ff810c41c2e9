"""What a sparse run reused, layer by layer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch


@dataclass(frozen=True, slots=True, eq=False)
class ReuseReport:
    """How much one sparse run reused; equal where all of it is, to the last position.

    Attributes:
        policy: the propagation policy.
        reused: share of positions, in [0, 1], that were taken from the cache and not computed, by layer; a
            layer is named by the path of its submodule. Layers that move no arithmetic (concatenation,
            splitting) are not listed.
        maps: bool (H, W) a layer under `exact`: where reuse was certified.
        given: bool (rows, columns), the active blocks as the caller chose them; None under `exact` and
            `truncate`, as the next.
        computed: bool (rows, columns), the blocks that were computed: the given ones, and all of which
            anything lies within their margin.
    """

    policy: str
    reused: Mapping[str, float]
    maps: Mapping[str, torch.Tensor] = field(default_factory=dict, repr=False)
    given: torch.Tensor | None = field(default=None, repr=False)
    computed: torch.Tensor | None = field(default=None, repr=False)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ReuseReport):
            return NotImplemented
        return (
            (self.policy, self.reused, self.maps.keys()) == (other.policy, other.reused, other.maps.keys())
            and all(torch.equal(mine, other.maps[layer]) for layer, mine in self.maps.items())
            and _same(self.given, other.given)
            and _same(self.computed, other.computed)
        )

    def certified(self, layer: str) -> torch.Tensor:
        """Where `layer` was certified: bool (H, W) at its resolution.

        Raises:
            ValueError: another policy than `exact`, or a layer that does not exist.
        """
        if self.policy != "exact":
            raise ValueError(f"layer certificates exist under policy='exact' only (got {self.policy!r})")
        if layer not in self.maps:
            raise ValueError(f"layer must be one of {sorted(self.maps)} (got {layer!r})")
        return self.maps[layer]


def _same(one: torch.Tensor | None, other: torch.Tensor | None) -> bool:
    if one is None or other is None:
        return one is other
    return torch.equal(one, other)
