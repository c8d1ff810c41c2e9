"""AWStream: degrade a stream along a profile, by what the send queue says.

Offline, every configuration of size, frame rate and quantiser is measured on a clip and the Pareto set is
kept. Online, a controller moves along it: it starts at the most degraded level, climbs while the queue is
empty, backs off where it fills, and probes for more before it goes up again. Frames that the frame rate
leaves out are shown the result of the last one that was sent. What the paper leaves open, and what was
chosen: README.md beside this module.
"""

from __future__ import annotations

import math
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

from sim.components.context import SystemContext
from sim.components.frame_encoders import EncodedFrame
from sim.components.frame_offload import FrameOffload
from sim.components.message_sizes import check_result_bytes
from sim.components.payload import Payload
from sim.physics.events import SharedEvent, Unreachable
from sim.physics.link import BackgroundTransfer
from sim.records.account import FrameAccount
from sim.records.outcome import Outcome, RestsOn
from sim.systems.awstream.controller import RateController, Signal, State
from sim.systems.awstream.degradation import read_profile
from sim.systems.awstream.monitor import HEADROOM, QueueMonitor
from sim.systems.awstream.stream import DegradedStream
from sim.world.frame import Frame
from sim.world.frame_world import FrameWorld
from traces.errors import InputError
from traces.notices import warn_once

OWN_PROFILE = Path(__file__).with_name("profile.csv")
MOST_UNDER_WAY = 32  # those that are left out wait for the result of the one before them, and keep nobody
Rate = Literal["estimate", "consumed"]


class _Shown(NamedTuple):
    """What a client sees."""

    frame: int
    result: Any
    rests_on: RestsOn | None


@dataclass(slots=True, eq=False)
class _Sent:
    """A frame that is sent: when its result is there, or will not come, and what the modem has of it.

    `handed_s` is when the modem got it, in `account` when it is through.
    """

    index: int
    ended: SharedEvent
    account: FrameAccount
    handed_s: float = math.inf
    size_bytes: int = 0
    over: bool = False

    def tell(self) -> None:
        """Resume those that wait for it."""
        self.ended.succeed()


class AwStream:
    """One camera's."""

    @dataclass(frozen=True, slots=True)
    class Options:
        """How it adapts.

        Args:
            profile: CSV file of `python -m sim.systems.awstream`; None: the one that comes along, of the
                default network on an embedded scene.
            start_level: of the Pareto set, 0 the most degraded; where it begins.
            tick_s: from one look at the queue to the next.
            empty_ticks: in a row after which the queue is called empty.
            rate: what a congested link is thought to carry, times 0.9: the run's "estimate" of the uplink, or
                what the stream's queue has "consumed" of late.
            keyframe_interval: frames that are sent from one keyframe to the next at the latest.
            result_bytes: size of a result on the downlink; None: of the network's result.
        """

        profile: str | None = None
        start_level: int = 0
        tick_s: float = 0.1
        empty_ticks: int = 10
        rate: Rate = "estimate"
        keyframe_interval: int = 250
        result_bytes: int | None = None

        def __post_init__(self) -> None:
            if self.start_level < 0:
                raise InputError(f"system.start_level: expected a level >= 0, found {self.start_level}")
            if not 0.0 < self.tick_s < math.inf:
                raise InputError(f"system.tick_s: expected a time > 0 s, found {self.tick_s}")
            if self.empty_ticks < 0:
                raise InputError(f"system.empty_ticks: expected >= 0 ticks, found {self.empty_ticks}")
            if self.rate not in get_args(Rate):
                expected = ", ".join(get_args(Rate))
                raise InputError(f"system.rate: expected one of {expected}, found {self.rate!r}")
            if self.keyframe_interval < 1:
                raise InputError(
                    f"system.keyframe_interval: expected at least 1 frame, found {self.keyframe_interval}"
                )
            check_result_bytes(self.result_bytes)

    payload_codec = "h264"
    payload_quality = None  # it differs from level to level
    max_in_flight = MOST_UNDER_WAY

    def __init__(self, context: SystemContext, options: Options) -> None:
        context.need_pixels("frames to encode")
        self.options = options
        self.geometry = context.geometry
        path = OWN_PROFILE if options.profile is None else Path(options.profile).expanduser()
        self.profile, self._network = read_profile(path), context.network_name
        self.levels = self.profile.levels
        if options.start_level >= len(self.levels):
            raise InputError(
                f"system.start_level: expected 0 to {len(self.levels) - 1}, the levels of {path}, found "
                f"{options.start_level}"
            )
        self.controller = RateController([one.rate_bps for one in self.levels], options.start_level)
        self.monitor = QueueMonitor(options.tick_s, options.empty_ticks)
        self.stream = DegradedStream(options.keyframe_interval, self.levels[options.start_level].degradation)
        self.offload = FrameOffload(
            self.stream,
            Payload(self.payload_codec, None),
            context.network(),
            context.geometry,
            options.result_bytes,
            self._degrade,
            self._handed_over,
        )
        self._check_fit(None)
        self._before: tuple[int, float] | None = None  # index and capture of the frame before
        self._interval_s: float | None = None  # from one captured frame to the next
        self._entered_s = 0.0  # when a frame did, at last
        self._sent: list[_Sent] = []  # under way; the newest stays
        self._shown: _Shown | None = None
        self._aside: FrameWorld | None = None  # of the newest frame, for what goes on beside frames
        self._ticking = False
        self._produced_bytes = 0  # since the last tick, frames and probes
        self._waiting_bytes = 0.0  # at the last tick, likewise
        self._probes: list[BackgroundTransfer] = []
        self._stepped_s = 0.0  # when the probe's last step began

    def process(self, frame: Frame, world: FrameWorld) -> Generator[Any, Any, Outcome]:
        """Leave the frame out, or degrade it, send it, and have it inferred densely."""
        self._enter(frame, world)
        skipped = self.levels[self.controller.level].degradation.skipped
        if self._sent and 0 < frame.index - self._sent[-1].index <= skipped:
            return (yield from self._leave_out(self._sent[-1], world))
        sent = _Sent(frame.index, world.event(), world.account)
        self._sent = [one for one in self._sent if not one.over] + [sent]
        try:
            outcome = yield from self.offload.process(frame, world)
        except Unreachable:
            self.controller.take(Signal.RECEIVER)
            self._stop_probing(world)
            raise
        else:
            if self._shown is None or self._shown.frame < frame.index:
                self._shown = _Shown(frame.index, outcome.result, outcome.rests_on)
            return outcome
        finally:
            sent.over = True
            # Not at once: those that wait are newer, and must not end before it.
            world.later(0.0, sent.tell)

    def _leave_out(self, sent: _Sent, world: FrameWorld) -> Generator[Any, Any, Outcome]:
        """Show the result of the frame that was sent before; if that is lost, the newest there is."""
        if not sent.over:
            yield world.wait_for(sent.ended)
        shown = self._shown
        if shown is None:
            raise Unreachable("no frame has had a result yet")
        return Outcome("reused", 0, 0, 0, result=shown.result, rests_on=shown.rests_on, computed=0, sent=0)

    # -- what the encoder and the modem are told -----------------------------------------------------

    def _degrade(self, frame: Frame, world: FrameWorld) -> None:
        """Have the frame encoded as the level is now."""
        world.bandwidth_bps()  # noted on its account
        self.stream.degradation = self.levels[self.controller.level].degradation

    def _handed_over(self, message: EncodedFrame, world: FrameWorld) -> None:
        """The modem has the frame."""
        sent = next(one for one in self._sent if one.account is world.account and not one.over)
        sent.handed_s, sent.size_bytes = world.now_s, message.size_bytes
        self._produced_bytes += message.size_bytes

    # -- the queue ----------------------------------------------------------------------------------

    def _enter(self, frame: Frame, world: FrameWorld) -> None:
        """Learn the frames' rate, and have the queue looked at as long as frames come."""
        if self._before is not None and self._interval_s is None:
            index, captured_s = self._before
            self._interval_s = (frame.captured_s - captured_s) / (frame.index - index)
            self._check_fit(1.0 / self._interval_s)
        self._before = frame.index, frame.captured_s
        self._aside, self._entered_s = world.aside(), world.now_s
        if not self._ticking:
            self._ticking = True
            world.later(self.options.tick_s, self._tick)

    def _tick(self) -> None:
        """Look at the queue, and move the controller."""
        world = self._aside
        assert world is not None
        if world.now_s - self._entered_s > world.patience_s + self.options.tick_s:
            self._ticking = False  # no frame comes any more; the next one begins anew
            return
        self._probes = [probe for probe in self._probes if probe.ended_s > world.now_s]
        probe_bytes = sum(world.uplink.unsent_bytes(probe) for probe in self._probes)
        waiting_bytes = self._backlog_bytes(world) + probe_bytes
        consumed_bytes = self._waiting_bytes + self._produced_bytes - waiting_bytes
        self._waiting_bytes, self._produced_bytes = waiting_bytes, 0
        congested = self.monitor.look(max(consumed_bytes, 0.0), self._overdue_bytes(world) + probe_bytes)
        if congested:
            self.controller.take(Signal.CONGESTED, HEADROOM * self._rate_bps(world))
        elif congested is not None and self._step_is_through(world):
            self.controller.take(Signal.EMPTY)
            self._stepped_s = world.now_s
        self._probe(world)
        world.later(self.options.tick_s, self._tick)

    def _backlog_bytes(self, world: FrameWorld) -> float:
        """What the modem has of frames that has not left.

        A link that is shared evenly says only afterwards when a message was through: all of it counts until
        then.
        """
        of_shared = sum(
            one.size_bytes for one in self._handed() if math.isnan(one.account.uplink_delivered_s)
        )
        return world.camera.meter.backlog_bytes() + of_shared

    def _handed(self) -> list[_Sent]:
        return [one for one in self._sent if not one.over and math.isfinite(one.handed_s)]

    def _overdue_bytes(self, world: FrameWorld) -> float:
        """What would wait in the queue: of frames but the newest, and of that once the next one is due.

        The world lets a frame in only when the link is about to be free for it, so that no queue of frames
        forms; the frame that is due then is the one that would have queued.
        """
        backlog_bytes = self._backlog_bytes(world)
        handed = self._handed()
        if not handed:
            return backlog_bytes
        newest = handed[-1]
        if world.now_s < newest.handed_s + self._send_interval_s():
            return max(0.0, backlog_bytes - newest.size_bytes)
        return backlog_bytes

    def _send_interval_s(self) -> float:
        skipped = self.levels[self.controller.level].degradation.skipped
        return (skipped + 1) * (self._interval_s or 0.0)

    def _rate_bps(self, world: FrameWorld) -> float:
        if self.options.rate == "consumed":
            return self.monitor.rate_bps
        estimate_bps = world.bandwidth_bps()
        return self.monitor.rate_bps if estimate_bps is None else estimate_bps

    # -- probing ------------------------------------------------------------------------------------

    def _step_is_through(self, world: FrameWorld) -> bool:
        """A step of the probe lasts as long as a frame: between two frames the link is idle anyway."""
        if self.controller.state is not State.PROBE:
            return True
        return world.now_s - self._stepped_s >= self._send_interval_s()

    def _probe(self, world: FrameWorld) -> None:
        """Send a tick's worth of bytes without content, or take back those that have not left."""
        size_bytes = round(self.controller.probe_bps * self.options.tick_s / 8.0)
        if size_bytes == 0:
            self._stop_probing(world)
            return
        self._probes.append(world.send_background(size_bytes, lambda: None, lambda: None))
        self._produced_bytes += size_bytes

    def _stop_probing(self, world: FrameWorld) -> None:
        if self.controller.state is State.PROBE:
            return
        for probe in self._probes:
            if probe.ended_s > world.now_s:
                self._waiting_bytes -= world.uplink.unsent_bytes(probe)
                world.uplink.cancel(probe)
        self._probes = []

    # -- the profile --------------------------------------------------------------------------------

    def _check_fit(self, fps: float | None) -> None:
        """Say in what the run is not what the profile was made with."""
        for misfit in self.profile.misfits(
            self._network, self.geometry.height_px, self.geometry.width_px, fps
        ):
            warn_once(f"system.profile: measured with {misfit}: rates and accuracies are others here")
