"""What the scheduler is told: how long k blocks should take on either path."""

from __future__ import annotations

from dataclasses import dataclass, field

from profiler.latency import CodecTime
from sim.components.blocks import BlockContent, Computed, Match, Message
from sim.components.payload import Payload
from sim.records.account import FrameAccount
from sim.schedulers import (
    Decision,
    Observation,
    OracleScheduler,
    PathCost,
    UplinkOracle,
    cloud_cost,
    edge_cost,
    regret,
)
from sim.world.frame_world import FrameWorld

MEMORY = 0.2  # weight of the newest message in running means


@dataclass(slots=True, eq=False)
class PathCosts:
    """Running means of what messages and replies take, and the costs that follow from them.

    Args:
        content: codes blocks, and says what one should take before one was sent.
        dense_fallback: either side infers densely where that is faster.
        dense_only: either side always does.
        regret_against: an oracle to report regret against; None reports none.
        wants_truth: whether the scheduler looks at the link's true future.
    """

    content: BlockContent
    dense_fallback: bool
    regret_against: OracleScheduler | None
    wants_truth: bool
    dense_only: bool = False
    block_bytes: float = field(init=False)
    overhead_bytes: float = 0.0
    reply_s: float = 0.0  # on the downlink, propagation excluded
    _messages: int = 0
    _replies: int = 0

    def __post_init__(self) -> None:
        self.block_bytes = self.content.block_bytes()

    @property
    def payload(self) -> Payload:
        """What codes blocks."""
        return self.content.payload

    def learn(self, message: Message) -> None:
        """Keep running means of what a block and the rest of a message cost; plain ones at first."""
        self._messages += 1
        weight = max(MEMORY, 1.0 / self._messages)
        self.overhead_bytes += weight * (message.overhead_bytes - self.overhead_bytes)
        if message.blocks:
            self.block_bytes += weight * (_of_a_block(message) - self.block_bytes)

    def guess(self, message: Message) -> None:
        """What a block of a whole frame cost: the best guess until one with active blocks alone is sent.

        Flat blocks, cheap ones, are seldom active, and a whole frame needs no vectors: it is no sample of the
        messages to come.
        """
        if not self._messages and message.blocks:
            self.block_bytes = _of_a_block(message)

    def learn_reply(self, account: FrameAccount) -> None:
        """Keep a running mean of the time that a reply, just here, was coming in."""
        self._replies += 1
        took_s = account.downlink_delivered_s - account.downlink_began_s
        self.reply_s += max(MEMORY, 1.0 / self._replies) * (took_s - self.reply_s)

    def edge(self, local: Match, computed: Computed, world: FrameWorld, *, densely: bool = False) -> PathCost:
        """The edge's path, with what it computes for the active blocks of `local`, or `densely` all."""
        waited_s = world.now_s - world.account.captured_s
        return edge_cost(
            world.edge.profile,
            len(local.active),
            waited_s + world.edge.processor.backlog_s(),
            computed=computed.counts,
            dense_fallback=self.dense_fallback,
            dense_only=self.dense_only or densely,
        )

    def observe(
        self,
        local: Match,
        remote: Match,
        on_edge: Computed,
        on_cloud: Computed,
        reachable: bool,
        world: FrameWorld,
        *,
        edge_densely: bool = False,
    ) -> Observation:
        """Both paths, as far as they exist.

        Args:
            local, remote: the frame, searched in the edge's reference and in the proxy.
            on_edge, on_cloud: what inference computes for the active blocks of either; on the cloud with the
                blocks of the server's image that inference has not covered, once moved along.
            reachable: whether there is a server to offload to.
            edge_densely: whether the edge could only infer the frame densely.
        """
        edge = self.edge(local, on_edge, world, densely=edge_densely)
        bandwidth_bps = world.bandwidth_bps()
        if not reachable:
            return Observation(edge, None)
        camera, codec = world.camera, self.payload.timed_as
        encode_base_s, encode_block_s = self._affine(camera.edge_codecs.time("encode", codec))
        decode_base_s, decode_block_s = self._affine(camera.cloud_codecs.time("decode", codec))
        elapsed_s = world.now_s - world.account.captured_s
        # Messages of the camera's frames under way leave before: time to encode in. (Not so the part of each
        # block, which is counted beside the wait: k is not known yet, and that part is small.)
        ahead_bytes = camera.meter.backlog_bytes() if camera.meter.unobserved else 0.0
        ahead_s = 8.0 * ahead_bytes / bandwidth_bps if bandwidth_bps and ahead_bytes else 0.0
        out_s = world.uplink.conditions.delay_s
        back_s = world.downlink.conditions.delay_s + self.reply_s
        cloud = cloud_cost(
            world.cloud.profile,
            len(remote.active),
            elapsed_s + max(encode_base_s, ahead_s) + out_s + decode_base_s + back_s,
            bandwidth_bps=bandwidth_bps or 0.0,
            block_bytes=self.block_bytes,
            header_bytes=self.overhead_bytes,
            encode_per_block_s=encode_block_s + decode_block_s,
            unsent=on_cloud.others,
            computed=on_cloud.counts,
            dense_fallback=self.dense_fallback,
            dense_only=self.dense_only,
        )
        if not self.wants_truth:
            return Observation(edge, cloud)
        uplink = UplinkOracle(
            finish_s=world.true_arrival_s,
            block_bytes=self.block_bytes,
            header_bytes=self.overhead_bytes,
            encode_base_s=encode_base_s,
            encode_per_block_s=encode_block_s,
            after_s=decode_base_s + back_s,
            elapsed_s=elapsed_s,
            decode_per_block_s=decode_block_s,
        )
        return Observation(edge, cloud, uplink)

    def _affine(self, time: CodecTime | None) -> tuple[float, float]:
        """What coding a message takes: its constant part, and the part of each block.

        Args:
            time: of the codec, affine in pixels and bytes; None: it takes none.
        """
        if time is None:
            return 0.0, 0.0
        pixels, seconds = self.payload.block_pixels, time.seconds
        without_bytes_s = seconds(pixels, 0.0)
        if without_bytes_s == 0.0 == seconds(pixels, self.block_bytes):
            return 0.0, 0.0
        per_block_s = seconds(2 * pixels, self.block_bytes) - without_bytes_s
        base_s = seconds(pixels, self.overhead_bytes + self.block_bytes) - per_block_s
        return base_s, per_block_s

    def regret(self, observation: Observation, decision: Decision) -> float | None:
        """EA lost against the oracle's decision, both judged by what the link will really do."""
        if self.regret_against is None or observation.uplink is None:
            return None
        best = self.regret_against.decide(observation)
        return regret(observation, decision, best, self.regret_against.objective)


def _of_a_block(message: Message) -> float:
    """Bytes of each block of a message that has some."""
    return (message.size_bytes - message.overhead_bytes) / message.blocks
