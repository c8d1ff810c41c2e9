"""Blocks with motion: references to search in, the image that edge and server share, messages, features.

With pixels, vectors, differences, bytes and decoded blocks are really computed (`pixels`); a video without
pixels gives counts drawn from a recording (`counts`). Systems work with either through the same face.
"""

from __future__ import annotations

from sim.components.blocks.features import BlockFeatures
from sim.components.blocks.interface import (
    NOTHING_MORE,
    BlockContent,
    BlockReference,
    Classifier,
    Computed,
    Match,
    Message,
    SharedImage,
)
from sim.components.blocks.opening import open_blocks

__all__ = [
    "NOTHING_MORE",
    "BlockContent",
    "BlockFeatures",
    "BlockReference",
    "Classifier",
    "Computed",
    "Match",
    "Message",
    "SharedImage",
    "open_blocks",
]
