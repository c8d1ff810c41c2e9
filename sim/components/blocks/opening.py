"""Which blocks a system works with: of pixels, or of counts."""

from __future__ import annotations

from sim.components.blocks.interface import BlockContent
from sim.components.context import SystemContext
from sim.configuration.sections import RECORDED_QUALITY
from traces.errors import InputError


def open_blocks(context: SystemContext) -> BlockContent:
    """One camera's blocks, by what its video has.

    Raises:
        InputError: the video has no pixels, and its recording no sizes of the codec.
    """
    codec = context.codec
    if context.counts is not None:
        from sim.components.blocks.counts import CountedBlocks

        recorded = tuple(context.counts.statistics.block_bytes)
        if codec.name not in recorded or codec.quality not in (0, RECORDED_QUALITY):
            raise InputError(
                f"payload.codec: statistics are recorded with {', '.join(recorded)} of quality "
                f"{RECORDED_QUALITY}, found {codec.name!r} of quality {codec.quality}; "
                "use video=scene or video=file"
            )
        return CountedBlocks(context.counts, context.geometry.blocks_total, codec.name)
    from sim.components.blocks.pixels import BlockOptions, PixelBlocks

    matching = context.matching
    options = BlockOptions(matching.threshold, matching.radius_px, matching.aligner, codec)
    return PixelBlocks(context.geometry, options)
