"""DeltaCNN as the papers use it: changed pixels cross the link, a sparse network computes what they touch.

A pixel is active iff it differs by more than ε from an accumulated reference, which takes on the new value
at active pixels only: what is truncated adds up until it is sent. The blocks that hold active pixels are sent
with the payload's codec, as FluxShard's are; `codec: delta` sends the pixels alone, as values with a mask.
What the papers leave open, and what was chosen for it (time, place, coding, accuracy, ε): README.md beside
this module.
"""

from __future__ import annotations

import math
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any, Literal, get_args

from profiler.latency import Profile
from sim.components.context import SystemContext
from sim.components.message_sizes import NOTICE_BYTES, check_result_bytes, result_bytes
from sim.components.payload import Payload
from sim.components.server_memory import ServerMemory
from sim.physics.events import Unreachable
from sim.records.outcome import Outcome
from sim.systems.deltacnn.deltas import Delta, DeltaFeatures, DeltaReference
from sim.world.frame import Frame
from sim.world.frame_world import FrameWorld
from traces.errors import InputError

PIXELS_ALONE = "delta"  # the codec that is no payload of blocks
BYTES_MEMORY = 0.2  # weight of the newest message in the running mean of bytes a block
Placement = Literal["cloud", "edge", "latency"]


class DeltaCnn:
    """One camera's DeltaCNN.

    `shared` is the edge's copy of the reference that `server` builds from the messages; `local` is that of
    the edge's own network. After a frame that the server may not have, the next delta is a whole frame.
    """

    @dataclass(frozen=True, slots=True)
    class Options:
        """What counts as a change, and where it is computed.

        Args:
            threshold: ε, the difference on [0, 1] that a pixel must exceed to be active.
            dilation_px: side of the window whose largest difference decides, odd; 1 is the pixel alone.
            placement: "cloud", "edge", or "latency" (the side that should be through sooner).
            dense_fallback: infer densely where the sparse latency is larger.
            difference_s: time of the difference and mask on the edge; booked as edge computation.
            codec: of the blocks with active pixels; "delta": of the pixels alone, as values and a mask; None:
                the payload's.
            quality: of a payload codec; None: the payload's.
            result_bytes: size of a result on the downlink; None: of the network's result.
        """

        threshold: float = 0.15
        dilation_px: int = 1
        placement: Placement = "latency"
        dense_fallback: bool = True
        difference_s: float = 0.001
        codec: str | None = None
        quality: int | None = None
        result_bytes: int | None = None

        def __post_init__(self) -> None:
            if not 0.0 <= self.threshold <= 1.0:
                raise InputError(f"system.threshold: expected a difference in [0, 1], found {self.threshold}")
            if self.dilation_px < 1 or self.dilation_px % 2 == 0:
                raise InputError(
                    f"system.dilation_px: expected an odd side >= 1 px, found {self.dilation_px}"
                )
            if self.placement not in get_args(Placement):
                choices = ", ".join(get_args(Placement))
                raise InputError(f"system.placement: expected one of {choices}, found {self.placement!r}")
            if not 0.0 <= self.difference_s < math.inf:
                raise InputError(f"system.difference_s: expected a time >= 0 s, found {self.difference_s}")
            if self.codec == PIXELS_ALONE and self.quality is not None:
                raise InputError(
                    f"system.quality: expected null with delta, which is lossless, found {self.quality}"
                )
            check_result_bytes(self.result_bytes)

    def __init__(self, context: SystemContext, options: Options) -> None:
        from kernels.codecs.block_delta import BlockDeltaReceiver
        from kernels.codecs.pixel_delta import PixelDeltaReceiver

        self.options = options
        geometry = context.geometry
        alone = options.codec == PIXELS_ALONE
        codec = None if alone else context.block_codec(options.codec, options.quality)
        self.payload = (
            Payload(PIXELS_ALONE, None, lossless=True)
            if codec is None
            else Payload.of(codec, geometry.block_px)
        )
        self.payload_codec, self.payload_quality = self.payload.codec, self.payload.quality
        self._timed_as = PIXELS_ALONE if codec is None else self.payload.timed_as
        self.frame_pixels = geometry.height_px * geometry.width_px
        self._block_bytes = (
            None if codec is None else codec.typical_block_bytes * (geometry.block_px / 16) ** 2
        )
        self.blocks_total = geometry.blocks_total
        self.local = DeltaReference.empty(options.threshold, options.dilation_px, geometry.block_px)
        self.shared = DeltaReference.empty(options.threshold, options.dilation_px, geometry.block_px, codec)
        self.server = PixelDeltaReceiver() if codec is None else BlockDeltaReceiver(codec)
        self.edge_features = DeltaFeatures(context.network("truncate"), geometry)
        self.cloud_features = DeltaFeatures(context.network("truncate"), geometry)
        self._memory = ServerMemory()

    def process(self, frame: Frame, world: FrameWorld) -> Generator[Any, Any, Outcome]:
        """Take the difference, pick a side, infer what is active there."""
        options = self.options
        edge = self.local.difference(frame) if options.placement != "cloud" else None
        cloud = self.shared.difference(frame) if options.placement != "edge" else None
        if options.difference_s > 0.0:
            yield world.work_edge(options.difference_s)
        if cloud is None or (edge is not None and self._edge_is_faster(edge, cloud, world)):
            assert edge is not None
            outcome = yield from self._on_edge(edge, cloud, world)
        else:
            outcome = yield from self._on_cloud(edge, cloud, world)
        return outcome

    def _on_edge(self, delta: Delta, other: Delta | None, world: FrameWorld) -> Generator[Any, Any, Outcome]:
        self.local.commit(delta)
        profile = world.edge.profile
        dense = self._densely(profile, delta)
        result = self.edge_features.update(delta, densely=dense)
        yield world.infer_edge_dense() if dense else world.infer_edge(delta.blocks)
        extrapolated = not dense and profile.is_extrapolated(delta.blocks)
        blocks = delta.blocks
        computed = self.blocks_total if dense else blocks
        return Outcome(
            "edge",
            blocks,
            blocks,
            0,
            active_edge=blocks,
            active_cloud=_blocks(other),
            extrapolated=extrapolated,
            result=result,
            rests_on=delta.reference,
            computed=computed,
            sent=0,
        )

    def _on_cloud(self, other: Delta | None, delta: Delta, world: FrameWorld) -> Generator[Any, Any, Outcome]:
        coded = self._timed_as, self._pixels(delta.blocks), delta.size_bytes
        yield world.encode(*coded)
        if not self.payload.lossless:
            world.reconstruct(*coded)
        self.shared.commit(delta)
        if self._block_bytes is not None and delta.blocks:
            self._block_bytes += BYTES_MEMORY * (delta.size_bytes / delta.blocks - self._block_bytes)
        profile = world.cloud.profile
        dense = self._densely(profile, delta)
        try:
            yield world.send(delta.size_bytes)
            if not delta.whole and self._memory.lost(world):
                yield world.reply(NOTICE_BYTES)
                raise Unreachable("the server has lost its reference")
            yield world.decode(*coded)
            self.server.apply(delta.data)
            result = self.cloud_features.update(delta, densely=dense)
            self._memory.fill(world)
            yield world.infer_cloud_dense() if dense else world.infer_cloud(delta.blocks)
            yield world.reply(result_bytes(self.options.result_bytes, result))
        except Unreachable:
            self.shared.reset()
            raise
        extrapolated = not dense and profile.is_extrapolated(delta.blocks)
        blocks = delta.blocks
        computed = self.blocks_total if dense else blocks
        return Outcome(
            "cloud",
            blocks,
            blocks,
            0,
            active_edge=_blocks(other),
            active_cloud=blocks,
            extrapolated=extrapolated,
            result=result,
            rests_on=delta.reference,
            computed=computed,
            sent=blocks,
        )

    def _edge_is_faster(self, edge: Delta, cloud: Delta, world: FrameWorld) -> bool:
        bandwidth_bps = world.bandwidth_bps()
        if bandwidth_bps is None:
            return False
        edge_s = world.edge.processor.backlog_s() + self._inference_s(world.edge.profile, edge)
        around_s = world.uplink.conditions.delay_s + world.downlink.conditions.delay_s
        # Blocks are coded only once they are to be sent; values and a mask come with the difference itself.
        size_bytes = cloud.size_bytes if self._block_bytes is None else self._block_bytes * cloud.blocks
        coded = self._timed_as, self._pixels(cloud.blocks), size_bytes
        sending_s = world.encoding_s(*coded) + 8.0 * size_bytes / bandwidth_bps + world.decoding_s(*coded)
        cloud_s = around_s + sending_s + self._inference_s(world.cloud.profile, cloud)
        waited_s = world.now_s - world.account.captured_s
        faster = edge_s < cloud_s
        path, blocks = ("edge", edge.blocks) if faster else ("cloud", cloud.blocks)
        latency_s, other_s = sorted((waited_s + edge_s, waited_s + cloud_s))
        world.decided(path, blocks, blocks, latency_s, other_latency_s=other_s)
        return faster

    def _pixels(self, blocks: int) -> int:
        """What the codec goes through: the blocks, or for a mask the whole frame."""
        return self.frame_pixels if self._block_bytes is None else blocks * self.payload.block_pixels

    def _densely(self, profile: Profile, delta: Delta) -> bool:
        """A whole frame fills the caches densely; so does a delta that is dearer to compute sparsely."""
        return delta.whole or (
            self.options.dense_fallback and profile.dense_s < profile.sparse_s(delta.blocks)
        )

    def _inference_s(self, profile: Profile, delta: Delta) -> float:
        return profile.dense_s if self._densely(profile, delta) else profile.sparse_s(delta.blocks)


def _blocks(delta: Delta | None) -> int | None:
    return None if delta is None else delta.blocks
