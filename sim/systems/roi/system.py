"""Regions of interest: a small detector on the edge says where, and only those blocks cross the link.

The server infers densely on the picture that it puts together from them. How the paper's one sentence was
read, and what was chosen where it is silent: README.md beside this module.
"""

from __future__ import annotations

import math
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kernels.codecs.block_payload import encode_blocks
from sim.accuracy.region_finder import FinderRequest
from sim.components.context import SystemContext
from sim.components.message_chain import MessageChain
from sim.components.message_sizes import check_result_bytes, result_bytes
from sim.components.payload import Payload
from sim.components.turns import Turns
from sim.physics.events import Unreachable
from sim.records.account import ShownBlocks
from sim.records.outcome import Outcome
from sim.systems.roi.regions import ServerImage, blocks_of
from sim.world.frame import Frame
from sim.world.frame_world import FrameWorld
from traces.errors import InputError

BACKGROUNDS = ("kept", "grey")


class Roi:
    """One camera's regions of interest."""

    @dataclass(frozen=True, slots=True)
    class Options:
        """What finds regions, and what is made of them.

        Args:
            detector: the model card of the detector.
            detector_weights: a safetensors file for it; None: the card's stand-in, for the embedded scenes.
            detector_s: what a detection takes on the edge; None: the dense latency of the card's profile.
            stand_in_px: longer side of what a stand-in sees, so that it is weaker than the run's network.
            margin_px: how far a region reaches beyond its box on every side.
            background: what the server has beside the regions: "kept" (what was there before) or "grey".
            keyframe_interval: frames from one whole frame to the next, with "kept"; 0: only the first.
            codec, quality: what blocks are coded with; None: the payload's.
            result_bytes: size of a result on the downlink; None: of the network's result.
        """

        detector: str = "yolo11n"
        detector_weights: str | None = None
        detector_s: float | None = None
        stand_in_px: int = 320
        margin_px: float = 32.0
        background: str = "kept"
        keyframe_interval: int = 30
        codec: str | None = None
        quality: int | None = None
        result_bytes: int | None = None

        def __post_init__(self) -> None:
            if self.detector_s is not None and not 0.0 <= self.detector_s < math.inf:
                raise InputError(
                    f"system.detector_s: expected a time >= 0 s or null, found {self.detector_s}"
                )
            if self.stand_in_px < 1:
                raise InputError(f"system.stand_in_px: expected at least 1 px, found {self.stand_in_px}")
            if not 0.0 <= self.margin_px < math.inf:
                raise InputError(f"system.margin_px: expected a margin >= 0 px, found {self.margin_px}")
            if self.background not in BACKGROUNDS:
                raise InputError(
                    f"system.background: expected one of {', '.join(BACKGROUNDS)}, found {self.background!r}"
                )
            if self.keyframe_interval < 0:
                raise InputError(
                    f"system.keyframe_interval: expected a number of frames >= 0, "
                    f"found {self.keyframe_interval}"
                )
            check_result_bytes(self.result_bytes)

    def __init__(self, context: SystemContext, options: Options) -> None:
        context.need_pixels("frames to find regions in")
        self.options = options
        self.geometry = context.geometry
        self.finder = context.finders(
            FinderRequest(options.detector, options.detector_weights, options.detector_s, options.stand_in_px)
        )
        self.codec = context.block_codec(options.codec, options.quality)
        self.payload = Payload.of(self.codec, self.geometry.block_px)
        self.payload_codec, self.payload_quality = self.payload.codec, self.payload.quality
        self.network = context.network()
        self.server = ServerImage(self.geometry, self.codec, options.background == "kept")
        self._turns, self._chain = Turns(), MessageChain()
        self._since_whole: int | None = None  # frames sent since the last whole one; None: there is none
        self._last = np.zeros((self.geometry.rows, self.geometry.columns), np.bool_)  # the regions before

    @property
    def max_in_flight(self) -> int:
        """The next frame is looked at once the one before it is on its way."""
        return 4

    def process(self, frame: Frame, world: FrameWorld) -> Generator[Any, Any, Outcome]:
        """Find regions, send their blocks, infer the server's picture densely, reply."""
        regions = blocks_of(self.finder.find(frame.pixels), self.options.margin_px, self.geometry)
        yield world.work_edge(self.finder.seconds())
        turn = yield from self._turns.take(world)
        try:
            blocks, whole = self._choose(regions)
            data = encode_blocks(frame.pixels, blocks, None, self.codec, self.geometry.block_px)
            coded = self.payload.timed_as, len(blocks) * self.payload.block_pixels, len(data)
            link = self._chain.append(whole or self.options.background == "grey")
            yield world.encode(*coded)
            sending = world.send(len(data))
        finally:
            turn.pass_on()
        try:
            yield sending
            yield from self._chain.arrive(link, world)
            picture = self.server.apply(data)
            yield world.decode(*coded)
            result = self.network.dense(frame, lambda: picture)
            yield world.infer_cloud_dense()
            yield world.reply(result_bytes(self.options.result_bytes, result))
        except Unreachable:
            if self._chain.broken_by(link):
                self._since_whole = None
            raise
        count = len(blocks)
        world.account.shown = ShownBlocks(blocks, sent=blocks)
        return Outcome(
            "cloud",
            count,
            count,
            0,
            active_cloud=count,
            result=result,
            rests_on=picture,
            computed=self.geometry.blocks_total,
            sent=count,
        )

    def _choose(self, regions: NDArray[np.bool_]) -> tuple[NDArray[np.int32], bool]:
        """The blocks to send, as flat indices, and whether these are all.

        Where the server keeps what it has, the regions of the frame before go along: what has left them
        would else stay in the picture.
        """
        options, before = self.options, self._last
        self._last = regions
        if options.background == "grey":
            return np.flatnonzero(regions).astype(np.int32), False
        due = options.keyframe_interval and (self._since_whole or 0) >= options.keyframe_interval
        if self._since_whole is None or due:
            self._since_whole = 1
            return np.arange(self.geometry.blocks_total, dtype=np.int32), True
        self._since_whole += 1
        return np.flatnonzero(regions | before).astype(np.int32), False
