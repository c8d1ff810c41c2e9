"""Which blocks a system works with: of pixels, or of counts."""

from __future__ import annotations

from sim.components.blocks.interface import BlockContent
from sim.components.context import SystemContext


def open_blocks(context: SystemContext) -> BlockContent:
    """One camera's blocks, by what its video has."""
    if context.counts is not None:
        from sim.components.blocks.counts import CountedBlocks

        return CountedBlocks(context.counts, context.geometry.blocks_total, context.codec.name)
    from sim.components.blocks.pixels import BlockOptions, PixelBlocks

    matching = context.matching
    options = BlockOptions(matching.threshold, matching.radius_px, matching.aligner, context.codec)
    return PixelBlocks(context.geometry, options)
