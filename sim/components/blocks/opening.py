"""Which blocks a system works with: of pixels, or of counts."""

from __future__ import annotations

from sim.components.blocks.interface import BlockContent
from sim.components.blocks.margin import check_margin
from sim.components.context import SystemContext
from sim.components.payload import Payload, check_recorded
from traces.errors import InputError


def open_blocks(
    context: SystemContext, codec_name: str | None = None, quality: int | None = None, margin_px: int = 0
) -> BlockContent:
    """One camera's blocks, by what its video has.

    Args:
        context: the camera's.
        codec_name, quality: what codes them; None: the payload's.
        margin_px: how far beyond given blocks inference computes.

    Raises:
        InputError: the video has no pixels, and its recording no sizes of the codec, or there is a margin
            (which blocks are neighbours is not recorded); or the codec cannot code blocks of this size.
    """
    check_margin(margin_px)
    codec = context.block_codec(codec_name, quality)
    payload = Payload.of(codec, context.geometry.block_px)
    if context.counts is not None:
        from sim.components.blocks.counts import CountedBlocks

        if margin_px:
            raise InputError(
                "system.margin_px: expected 0 for a video without pixels, which does not say which blocks "
                f"are neighbours, found {margin_px}"
            )
        check_recorded(codec, context.counts.statistics.block_bytes, codec_name, quality)
        return CountedBlocks(context.counts, context.geometry.blocks_total, payload)
    if codec.name == "jpeg_420" and context.geometry.block_px % 16:
        raise InputError(
            "payload.block_px: expected a multiple of 16 px with jpeg_420, which codes 16×16 px at a time, "
            f"found {context.geometry.block_px}"
        )
    from sim.components.blocks.pixels import BlockOptions, PixelBlocks

    matching = context.matching
    options = BlockOptions(
        matching.threshold, matching.radius_px, matching.aligner, codec, context.work, margin_px
    )
    return PixelBlocks(context.geometry, options)
