"""Deltas on the side that should be through sooner: each side has a reference, and features that follow it.

A frame takes its difference once the one before it has been inferred on the edge, or is on its way to the
server: from then on both references are what they will be. After a frame that the server may not have, the
next delta is a whole frame.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from profiler.latency import Profile
from sim.components.context import SystemContext
from sim.components.deltas.features import DeltaFeatures
from sim.components.deltas.options import DeltaOptions
from sim.components.deltas.reference import Delta, DeltaReceiver, DeltaSource
from sim.components.message_chain import MessageChain
from sim.components.message_sizes import result_bytes
from sim.components.payload import Payload
from sim.components.turns import Turn, Turns
from sim.physics.events import Unreachable
from sim.records.account import ShownBlocks
from sim.records.outcome import Outcome
from sim.world.frame import Frame, FrameGeometry
from sim.world.frame_world import FrameWorld

if TYPE_CHECKING:
    from kernels.codecs.block_codecs import BlockCodec

BYTES_MEMORY = 0.2  # weight of the newest message in the running mean of bytes a block


@dataclass(slots=True, eq=False)
class DeltaPaths:
    """One camera's two paths.

    Args:
        options: placement, fallback, times.
        local: the reference of the edge's own network.
        shared: the edge's copy of the reference that `server` builds from the messages.
        server: the far side of `shared`.
        edge_features, cloud_features: of `local`, and of the server's image.
        payload: what codes messages.
        geometry: size of the frames.
        block_bytes: what a block should take; None: messages hold pixels alone, and no blocks.
    """

    options: DeltaOptions
    local: DeltaSource
    shared: DeltaSource
    server: DeltaReceiver
    edge_features: DeltaFeatures
    cloud_features: DeltaFeatures
    payload: Payload
    geometry: FrameGeometry
    block_bytes: float | None
    turns: Turns = field(default_factory=Turns)
    chain: MessageChain = field(default_factory=MessageChain)

    @classmethod
    def of(
        cls,
        context: SystemContext,
        options: DeltaOptions,
        local: DeltaSource,
        shared: DeltaSource,
        server: DeltaReceiver,
        payload: Payload,
        codec: BlockCodec | None,
    ) -> DeltaPaths:
        """Those of a camera, whose network carries features on by its own truncation.

        Args:
            codec: of blocks; None: messages hold pixels alone.
        """
        geometry = context.geometry
        return cls(
            options,
            local,
            shared,
            server,
            DeltaFeatures(context.network("truncate"), geometry),
            DeltaFeatures(context.network("truncate"), geometry),
            payload,
            geometry,
            None if codec is None else codec.typical_block_bytes * (geometry.block_px / 16) ** 2,
        )

    def process(
        self, frame: Frame, world: FrameWorld, prepare: Callable[[], Generator[Any, Any, None]]
    ) -> Generator[Any, Any, Outcome]:
        """Take the differences, pick a side, infer what is active there.

        Args:
            prepare: the work on the edge that differences take.

        Raises:
            Unreachable: the server did not answer.
        """
        turn = yield from self.turns.take(world)
        try:
            placement = self.options.placement
            edge = self.local.difference(frame) if placement != "cloud" else None
            cloud = self.shared.difference(frame) if placement != "edge" else None
            yield from prepare()
            if cloud is None or (edge is not None and self._edge_is_faster(edge, cloud, world)):
                assert edge is not None
                return (yield from self._on_edge(edge, cloud, world))
            return (yield from self._on_cloud(edge, cloud, turn, world))
        finally:
            turn.pass_on()

    def _on_edge(self, delta: Delta, other: Delta | None, world: FrameWorld) -> Generator[Any, Any, Outcome]:
        self.local.commit(delta)
        profile = world.edge.profile
        dense = self._densely(profile, delta)
        result = delta.in_frame(self.edge_features.update(delta, densely=dense))
        yield world.infer_edge_dense() if dense else world.infer_edge(delta.blocks)
        world.account.shown = ShownBlocks(delta.indices, computed=delta.indices)
        return self._outcome("edge", delta, dense, profile, result, delta, other)

    def _on_cloud(
        self, other: Delta | None, delta: Delta, turn: Turn, world: FrameWorld
    ) -> Generator[Any, Any, Outcome]:
        timed_as = self._timed_as
        coded = timed_as, self._pixels(delta.blocks), delta.size_bytes
        yield world.encode(*coded)
        if not self.payload.lossless:
            world.reconstruct(*coded)
        self.shared.commit(delta)
        if self.block_bytes is not None and delta.blocks:
            self.block_bytes += BYTES_MEMORY * (delta.size_bytes / delta.blocks - self.block_bytes)
        profile = world.cloud.profile
        dense = self._densely(profile, delta)
        link = self.chain.append(delta.whole)
        try:
            sending = world.send(delta.size_bytes)
            turn.pass_on()
            yield sending
            yield from self.chain.arrive(link, world)
            self.server.apply(delta.data)
            found = self.cloud_features.update(delta, densely=dense)
            yield world.decode(*coded)
            yield world.infer_cloud_dense() if dense else world.infer_cloud(delta.blocks)
            yield world.reply(result_bytes(self.options.result_bytes, found))
        except Unreachable:
            if self.chain.broken_by(link):
                self.shared.reset()
            raise
        world.account.shown = ShownBlocks(delta.indices, None, delta.indices, delta.indices)
        return self._outcome("cloud", delta, dense, profile, delta.in_frame(found), other, delta)

    def _outcome(
        self,
        path: str,
        delta: Delta,
        dense: bool,
        profile: Profile,
        result: Any,
        edge: Delta | None,
        cloud: Delta | None,
    ) -> Outcome:
        blocks = delta.blocks
        return Outcome(
            path,
            blocks,
            blocks,
            0,
            active_edge=None if edge is None else edge.blocks,
            active_cloud=None if cloud is None else cloud.blocks,
            extrapolated=not dense and profile.is_extrapolated(blocks),
            result=result,
            rests_on=delta.rests_on,
            computed=self.geometry.blocks_total if dense else blocks,
            sent=blocks if path == "cloud" else 0,
        )

    def _edge_is_faster(self, edge: Delta, cloud: Delta, world: FrameWorld) -> bool:
        bandwidth_bps = world.bandwidth_bps()
        if bandwidth_bps is None:
            return False
        edge_s = world.edge.processor.backlog_s() + self._inference_s(world.edge.profile, edge)
        around_s = world.uplink.conditions.delay_s + world.downlink.conditions.delay_s
        # Blocks are coded only once they are to be sent; values and a mask come with the difference itself.
        size_bytes = cloud.size_bytes if self.block_bytes is None else self.block_bytes * cloud.blocks
        coded = self._timed_as, self._pixels(cloud.blocks), size_bytes
        sending_s = world.encoding_s(*coded) + 8.0 * size_bytes / bandwidth_bps + world.decoding_s(*coded)
        cloud_s = around_s + sending_s + self._inference_s(world.cloud.profile, cloud)
        waited_s = world.now_s - world.account.captured_s
        faster = edge_s < cloud_s
        path, blocks = ("edge", edge.blocks) if faster else ("cloud", cloud.blocks)
        latency_s, other_s = sorted((waited_s + edge_s, waited_s + cloud_s))
        world.decided(path, blocks, blocks, latency_s, other_latency_s=other_s)
        return faster

    @property
    def _timed_as(self) -> str:
        return self.payload.codec if self.block_bytes is None else self.payload.timed_as

    def _pixels(self, blocks: int) -> int:
        """What the codec goes through: the blocks, or for a mask the whole frame."""
        if self.block_bytes is None:
            return self.geometry.height_px * self.geometry.width_px
        return blocks * self.payload.block_pixels

    def _densely(self, profile: Profile, delta: Delta) -> bool:
        """A whole frame fills the caches densely; so does a delta that is dearer to compute sparsely."""
        return delta.whole or (
            self.options.dense_fallback and profile.dense_s < profile.sparse_s(delta.blocks)
        )

    def _inference_s(self, profile: Profile, delta: Delta) -> float:
        return profile.dense_s if self._densely(profile, delta) else profile.sparse_s(delta.blocks)
