"""Which blocks a system works with: of pixels, or of counts."""

from __future__ import annotations

from sim.components.blocks.interface import BlockContent
from sim.components.context import SystemContext
from sim.components.payload import Payload, check_recorded, codec_key
from traces.errors import InputError


def open_blocks(
    context: SystemContext, codec_name: str | None = None, quality: int | None = None
) -> BlockContent:
    """One camera's blocks, by what its video has.

    Args:
        context: the camera's.
        codec_name, quality: what codes them; None: the payload's.

    Raises:
        InputError: the video has no pixels, and its recording no sizes of the codec; or the codec cannot code
            blocks of this size.
    """
    codec = context.block_codec(codec_name, quality)
    payload = Payload.of(codec, context.geometry.block_px)
    if context.counts is not None:
        from sim.components.blocks.counts import CountedBlocks

        key = codec_key(codec_name, quality)
        check_recorded(codec, context.counts.statistics.block_bytes, key)
        return CountedBlocks(context.counts, context.geometry.blocks_total, payload)
    if codec.name == "jpeg_420" and context.geometry.block_px % 16:
        raise InputError(
            "payload.block_px: expected a multiple of 16 px with jpeg_420, which codes 16×16 px at a time, "
            f"found {context.geometry.block_px}"
        )
    from sim.components.blocks.pixels import BlockOptions, PixelBlocks

    matching = context.matching
    options = BlockOptions(matching.threshold, matching.radius_px, matching.aligner, codec, context.work)
    return PixelBlocks(context.geometry, options)
