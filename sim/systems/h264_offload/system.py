"""One H.264 stream whose bytes follow the estimated uplink: what practice does where a link is thin.

Each frame has a budget, a share of what the uplink is believed to carry from one frame to the next, and a
quantiser that should meet it. Frames that are dropped are dropped before they are encoded, so that the chain
of predicted frames stays whole. How it was designed, and why: README.md beside this module.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

from kernels.codecs.h264_quantised import MAX_QP, MIN_QP, QuantisedH264
from sim.components.context import SystemContext
from sim.components.frame_encoders import Packet
from sim.components.frame_offload import FrameOffload
from sim.components.message_sizes import check_result_bytes
from sim.components.payload import Payload
from sim.components.turns import FRAMES_UNDER_WAY
from sim.records.outcome import Outcome
from sim.systems.h264_offload.rate_control import RateControl
from sim.world.frame import Frame
from sim.world.frame_world import FrameWorld
from traces.errors import InputError


class H264Offload:
    """One camera's stream."""

    @dataclass(frozen=True, slots=True)
    class Options:
        """How the stream follows the link.

        Args:
            share: of what the uplink is believed to carry in a frame interval, a frame's budget.
            best_qp: quantiser that no frame goes below, however much the link carries.
            worst_qp: quantiser that no frame goes above, however little.
            start_qp: quantiser while the link, or what a frame of the kind takes, is not known.
            keyframe_interval: frames from one keyframe to the next at the latest.
            result_bytes: size of a result on the downlink; None: of the network's result.
        """

        share: float = 0.5
        best_qp: int = 18
        worst_qp: int = 45
        start_qp: int = 23
        keyframe_interval: int = 250
        result_bytes: int | None = None

        def __post_init__(self) -> None:
            if not 0.0 < self.share <= 1.0:
                raise InputError(f"system.share: expected a share in (0, 1], found {self.share}")
            for name in ("best_qp", "worst_qp", "start_qp"):
                if not MIN_QP <= (qp := getattr(self, name)) <= MAX_QP:
                    raise InputError(
                        f"system.{name}: expected a quantiser of {MIN_QP} to {MAX_QP}, found {qp}"
                    )
            if not self.best_qp <= self.start_qp <= self.worst_qp:
                raise InputError(
                    "system.start_qp: expected a quantiser from best_qp to worst_qp "
                    f"({self.best_qp} to {self.worst_qp}), found {self.start_qp}"
                )
            if self.keyframe_interval < 1:
                raise InputError(
                    f"system.keyframe_interval: expected at least 1 frame, found {self.keyframe_interval}"
                )
            check_result_bytes(self.result_bytes)

    payload_codec = "h264"
    payload_quality = None  # it differs from frame to frame

    def __init__(self, context: SystemContext, options: Options) -> None:
        context.need_pixels("frames to encode")
        self.options = options
        control = RateControl(options.best_qp, options.worst_qp, options.start_qp)
        self.encoder = FollowingEncoder(QuantisedH264(keyframe_interval=options.keyframe_interval), control)
        self.offload = FrameOffload(
            self.encoder,
            Payload(self.payload_codec, None),
            context.network(),
            context.geometry,
            options.result_bytes,
            self._aim,
        )
        self._last: tuple[int, float] | None = None  # index and capture of the frame before
        self._interval_s: float | None = None

    @property
    def max_in_flight(self) -> int:
        """Frames are sent in order, and the next may be encoded once one is on its way."""
        return FRAMES_UNDER_WAY

    def process(self, frame: Frame, world: FrameWorld) -> Generator[Any, Any, Outcome]:
        """Choose a budget, encode, send, infer densely, reply."""
        return self.offload.process(frame, world)

    def _aim(self, frame: Frame, world: FrameWorld) -> None:
        """Set the next frame's budget by what the uplink is believed to carry now."""
        if self._last is not None:
            index, captured_s = self._last
            self._interval_s = (frame.captured_s - captured_s) / (frame.index - index)
        self._last = frame.index, frame.captured_s
        bandwidth_bps = world.bandwidth_bps()
        self.encoder.budget_bytes = None
        if bandwidth_bps is not None and self._interval_s is not None:
            self.encoder.budget_bytes = self.options.share * bandwidth_bps * self._interval_s / 8.0


@dataclass(slots=True, eq=False)
class FollowingEncoder:
    """Frames of one stream, each at the quantiser that should meet its budget.

    Args:
        codec: both ends of the stream.
        control: chooses the quantiser.
        budget_bytes: of the next frame; None: nobody knows.
    """

    codec: QuantisedH264
    control: RateControl
    budget_bytes: float | None = None
    builds_on_last: bool = True
    _keyframe_next: bool = True
    _since_keyframe: int = 0

    def encode(self, frame: Frame) -> Packet:
        """The next packet of the stream."""
        interval = int(self.codec.options["g"])
        keyframe = self._keyframe_next or self._since_keyframe >= interval
        qp = self.control.choose(self.budget_bytes, keyframe)
        packet = Packet(self.codec, self.codec.encode_at(frame.pixels, qp), self.codec.keyframe)
        self.control.learn(qp, packet.size_bytes, self.budget_bytes, packet.keyframe)
        self._keyframe_next = False
        self._since_keyframe = 1 if packet.keyframe else self._since_keyframe + 1
        return packet

    def restart(self) -> None:
        """The next frame is a keyframe."""
        self._keyframe_next = True
        self.codec.force_keyframe()
