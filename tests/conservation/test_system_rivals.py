"""What the rivals keep on both ends stays the same, and no second or byte of a frame goes missing."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernels.codecs.frame_codecs import H264Codec
from kernels.codecs.scaling import scaled
from profiler.latency import CodecTime, CodecTimes
from sim.physics.arrivals import PeriodicLatest
from sim.physics.events import Unreachable
from sim.systems.awstream import AwStream
from sim.systems.coach import Coach
from sim.systems.deltacnn import DeltaCnn
from sim.systems.edge_only import EdgeOnly
from sim.systems.full_offload import FullOffload, FullOffloadStream
from sim.systems.h264_offload import H264Offload
from sim.systems.motion_deltacnn import MotionDeltaCnn
from sim.systems.roi import Roi
from sim.systems.spinn import Spinn
from tests.strategies.images import texture
from tests.strategies.systems import (
    CLOUD,
    EDGE,
    KnownRegions,
    clips,
    crashes,
    invented_profile,
    outages,
    run,
    with_codecs,
)

SYSTEMS = {
    "full_offload": (FullOffload, FullOffload.Options("raw")),
    "full_offload png": (FullOffload, FullOffload.Options("png")),
    "full_offload h264": (FullOffloadStream, FullOffloadStream.Options()),
    "edge_only": EdgeOnly,
    "deltacnn": DeltaCnn,
    "deltacnn cloud": (DeltaCnn, DeltaCnn.Options(placement="cloud")),
    "deltacnn pixels": (DeltaCnn, DeltaCnn.Options(placement="cloud", codec="delta")),
    "spinn": Spinn,
    "coach": Coach,
    "coach quantised": (Coach, Coach.Options(codec="quantised")),
    "coach split": (Coach, Coach.Options(variant="split")),
    "motion_deltacnn": MotionDeltaCnn,
    "motion_deltacnn cloud": (MotionDeltaCnn, MotionDeltaCnn.Options(placement="cloud")),
    "h264_offload": H264Offload,
    "awstream": (AwStream, AwStream.Options(invented_profile(), start_level=1, empty_ticks=1)),
    "roi": Roi,
    "roi grey": (Roi, Roi.Options(background="grey")),
}
REGIONS = [[(5.0, 8.0, 20.0, 30.0)], [], [(30.0, 30.0, 60.0, 60.0)]]
TIME = CodecTimes(CodecTime(0.003, 1e-7, 1e-8), CodecTime(0.002, 1e-7, 2e-8))
TIMES = dict.fromkeys(("raw", "png", "jpeg", "h264", "delta", "quantised"), TIME)
FRAMES = 14
SECONDS = 1.4
FAST_FPS = 40.0  # a frame takes longer than it takes the next one to come
FAST_FRAMES = 28


@pytest.mark.parametrize("in_flight", [1, 4])
@pytest.mark.parametrize("name", SYSTEMS)
@settings(max_examples=12)
@given(data=st.data())
def test_time_frames_and_bytes_are_accounted_for(name, in_flight, data):
    """Latency is the sum of its parts; frames are completed, replaced or dropped; the link has every byte."""
    frames = data.draw(clips(FRAMES))
    result = run(
        SYSTEMS[name],
        frames,
        uplink=data.draw(outages(SECONDS)),
        crashes_s=data.draw(crashes(SECONDS)),
        patience_s=0.3,
        edge=with_codecs(EDGE, TIMES),
        cloud=with_codecs(CLOUD, TIMES),
        codec_time=True,
        in_flight=in_flight,
        finder=KnownRegions(REGIONS),
    )
    rows = result.rows
    completed, dropped = rows["outcome"] == 0, rows["outcome"] == 2
    assert list(rows["frame"]) == list(range(FRAMES))
    assert np.all(completed | dropped | (rows["outcome"] == 1))
    parts = (
        "extract_s",
        "encode_s",
        "decode_s",
        "queue_s",
        "transmit_s",
        "edge_compute_s",
        "cloud_compute_s",
    )
    spent_s = sum(rows[part][completed] for part in parts)
    assert spent_s == pytest.approx((rows["completed_s"] - rows["captured_s"])[completed], abs=1e-9)
    assert all(np.all(rows[part][completed] >= -1e-12) for part in parts)
    uplink = result.world.uplink.statistics()
    assert rows["uplink_bytes"].sum() == uplink.offered_bytes
    assert uplink.offered_bytes == uplink.delivered_bytes + uplink.queued_bytes
    assert np.all(rows["blocks_processed"][completed] <= rows["blocks_active"][completed])
    assert np.all(rows["blocks_stale"][completed] <= 16)


@pytest.mark.parametrize(
    "system",
    [
        (DeltaCnn, DeltaCnn.Options(placement="cloud")),
        (MotionDeltaCnn, MotionDeltaCnn.Options(placement="cloud", min_inliers=0.3)),
    ],
)
@settings(max_examples=15)
@given(uplink=outages(0.7), crashes_s=crashes(0.7), step_px=st.integers(0, 6), seed=st.integers(0, 9))
def test_deltas_that_overlap_end_with_one_reference_on_both_ends(system, uplink, crashes_s, step_px, seed):
    """Whatever was lost: once a frame's result has come and no later one is under way, both hold the same."""
    wide = texture(64, 64 + step_px * FAST_FRAMES, np.random.default_rng(seed), 2.0, True)
    frames = [np.ascontiguousarray(wide[:, step_px * i : step_px * i + 64]) for i in range(FAST_FRAMES)]
    made = []

    def build(context):
        kind, options = system
        made.append(kind(context, options))
        return made[0]

    rows = run(
        build,
        frames,
        uplink=uplink,
        crashes_s=crashes_s,
        patience_s=0.3,
        in_flight=4,
        arrivals=PeriodicLatest(FAST_FPS, FAST_FRAMES),
    ).rows
    if rows["outcome"][-1] == 0:
        assert np.array_equal(made[0].server.reference, made[0].shared.image)


@pytest.mark.parametrize("codec", [None, "delta"])
@settings(max_examples=20)
@given(frames=clips(FRAMES), uplink=outages(SECONDS), crashes_s=crashes(SECONDS))
def test_deltacnn_has_one_reference_on_both_ends(codec, frames, uplink, crashes_s):
    """After every frame whose result came, and once the link is back, both hold the same bytes."""
    seen = []

    class Watched(DeltaCnn):
        __slots__ = ()

        def process(self, frame, world):
            try:
                outcome = yield from super().process(frame, world)
            except Unreachable:
                assert self.shared.image is None  # the next delta is a whole frame
                raise
            seen.append(np.array_equal(self.server.reference, self.shared.image))
            return outcome

    run(
        (Watched, DeltaCnn.Options(placement="cloud", codec=codec)),
        frames,
        uplink=uplink,
        crashes_s=crashes_s,
        patience_s=0.3,
    )
    assert all(seen)


@pytest.mark.parametrize("codec", ["delta", "png"])  # lossless
@settings(max_examples=15)
@given(frames=clips(FRAMES), uplink=outages(SECONDS), crashes_s=crashes(SECONDS))
def test_deltacnn_is_never_further_from_the_frame_than_its_threshold(codec, frames, uplink, crashes_s):
    """What was truncated adds up in the reference's difference until it is sent."""

    class Watched(DeltaCnn):
        __slots__ = ()

        def process(self, frame, world):
            outcome = yield from super().process(frame, world)
            gap = np.abs(self.server.reference.astype(int) - frame.image)
            assert gap.max() <= 0.15 * 255
            return outcome

    run(
        (Watched, DeltaCnn.Options(placement="cloud", codec=codec)),
        frames,
        uplink=uplink,
        crashes_s=crashes_s,
        patience_s=0.3,
    )


def is_keyframe(packet):
    """Whether a unit of type 5 (IDR) follows any start code: the decoder needs nothing before it."""
    return any(unit and unit[0] & 0x1F == 5 for unit in packet.split(b"\x00\x00\x01")[1:])


class KeepsPacket:
    """An encoder that keeps the last packet it made."""

    def __init__(self, encoder):
        self.codec, self.restart, self._encode = encoder.codec, encoder.restart, encoder.encode
        self.builds_on_last = encoder.builds_on_last
        self.packet = b""

    def encode(self, frame):
        message = self._encode(frame)
        self.packet = message.data
        return message


class WatchedStream(FullOffloadStream):
    """Decodes beside the system: on the edge every packet made, on the server those whose result came."""

    __slots__ = ("keyframes", "mirror", "pairs", "server")

    def process(self, frame, world):
        frames_before = self.encoder.codec.frames_encoded
        try:
            outcome = yield from super().process(frame, world)
        except Unreachable:
            if self.encoder.codec.frames_encoded > frames_before:
                self.mirror.decode(self.encoder.packet)
            raise
        packet = self.encoder.packet
        self.pairs.append((self.mirror.decode(packet), self.server.decode(packet), frame.image))
        self.keyframes.append(is_keyframe(packet))
        return outcome


@pytest.mark.parametrize(
    ("uplink", "crashes_s"),
    [
        ([(0.0, 8e6)], []),
        ([(0.0, 8e6), (0.35, 0.0), (0.95, 8e6)], []),
        ([(0.0, 8e6)], [(0.25, 0.28)]),  # between two frames: only the server knows
        ([(0.0, 8e6)], [(0.301, 0.62)]),
    ],
    ids=["calm", "outage", "crash between frames", "crash"],
)
def test_h264_stream_decodes_on_the_server_to_what_the_encoder_made(uplink, crashes_s):
    """Frames that never arrived are missing from the server's stream, and no image shows it."""
    wide = texture(64, 64 + 2 * FRAMES, np.random.default_rng(5), 2.0, True)
    frames = [np.ascontiguousarray(wide[:, 2 * i : 2 * i + 64]) for i in range(FRAMES)]
    systems = []

    def build(context):
        system = WatchedStream(context, FullOffloadStream.Options())
        system.offload.encoder = KeepsPacket(system.encoder)
        system.mirror, system.server, system.pairs, system.keyframes = H264Codec(), H264Codec(), [], []
        systems.append(system)
        return system

    result = run(build, frames, uplink, crashes_s, 0.2, PeriodicLatest(10.0, FRAMES))
    (system,) = systems
    assert len(system.pairs) == np.count_nonzero(result.rows["outcome"] == 0) >= 6
    if uplink[1:] or crashes_s:
        assert np.count_nonzero(result.rows["outcome"] == 2) >= 1
    for mirrored, received, sent in system.pairs:
        assert np.array_equal(mirrored, received)
        assert np.abs(received.astype(int) - sent).mean() < 12
    assert sum(system.keyframes) == (1 if len(uplink) == 1 and not crashes_s else 2)


def fast_pan():
    """Frames of a pan, which come faster than one is answered."""
    wide = texture(64, 64 + 2 * FAST_FRAMES, np.random.default_rng(5), 2.0, True)
    return [np.ascontiguousarray(wide[:, 2 * i : 2 * i + 64]) for i in range(FAST_FRAMES)]


def run_fast(build, frames, uplink, crashes_s):
    """A run of them, up to four under way."""
    return run(
        build,
        frames,
        uplink=uplink,
        crashes_s=crashes_s,
        patience_s=0.3,
        in_flight=4,
        arrivals=PeriodicLatest(FAST_FPS, FAST_FRAMES),
    )


def decoded_anew(packets, index):
    """A frame as a decoder of its own makes it, of every packet since the last keyframe."""
    mirror = H264Codec()
    first = max(i for i in packets if i <= index and is_keyframe(packets[i]))
    return [mirror.decode(packets[i]) for i in sorted(packets) if first <= i <= index][-1]


@settings(max_examples=15)
@given(uplink=outages(0.7), crashes_s=crashes(0.7))
def test_a_stream_whose_frames_overlap_decodes_to_what_was_encoded(uplink, crashes_s):
    """A frame's result rests on what a decoder of its own makes of every packet since the last keyframe."""
    frames = fast_pan()
    packets, pairs = {}, []

    class Watched(H264Offload):
        __slots__ = ()

        def process(self, frame, world):
            outcome = yield from super().process(frame, world)
            pairs.append((frame.index, outcome.rests_on()))
            return outcome

    def build(context):
        system = Watched(context, H264Offload.Options())
        encode = system.encoder.codec.encode_at

        def kept(image, qp):
            data = encode(image, qp)
            packets[next(i for i in range(FAST_FRAMES) if image is frames[i])] = data
            return data

        system.encoder.codec.encode_at = kept
        return system

    result = run_fast(build, frames, uplink, crashes_s)
    began_s, ended_s = result.rows["started_s"][1:], result.rows["completed_s"][:-1]
    if not crashes_s and len(uplink) == 1:
        assert np.count_nonzero(began_s < ended_s) > FAST_FRAMES // 4  # they do overlap
    for index, received in pairs:
        assert np.array_equal(decoded_anew(packets, index), received)


@settings(max_examples=15)
@given(uplink=outages(0.7), crashes_s=crashes(0.7))
def test_a_stream_that_changes_its_size_decodes_to_what_was_encoded(uplink, crashes_s):
    """A result rests on what a decoder of its own makes of every packet since the last keyframe."""
    frames = fast_pan()
    packets, pairs, sizes = {}, [], set()

    class Watched(AwStream):
        def process(self, frame, world):
            outcome = yield from super().process(frame, world)
            if outcome.path == "cloud":
                pairs.append((frame.index, outcome.rests_on()))
            return outcome

    def build(context):
        options = AwStream.Options(invented_profile(fps=FAST_FPS), start_level=1, tick_s=0.03, empty_ticks=1)
        system = Watched(context, options)
        stream = system.stream

        class Kept:
            restart = stream.restart
            builds_on_last = True

            def encode(self, frame):
                packet = packets[frame.index] = stream.encode(frame)
                sizes.add(packet.coded_pixels)
                return packet

        system.offload.encoder = Kept()
        return system

    result = run_fast(build, frames, uplink, crashes_s)
    if not crashes_s and len(uplink) == 1:
        assert len(sizes) == 3
    assert result.rows["uplink_bytes"].sum() == sum(len(packet.data) for packet in packets.values())
    data = {index: packet.data for index, packet in packets.items()}
    for index, received in pairs:
        assert np.array_equal(scaled(decoded_anew(data, index), 64, 64), received)


@pytest.mark.parametrize("system", ["deltacnn", "h264"])
def test_a_server_that_crashed_unseen_refuses_the_next_message_and_gets_a_whole_one(system):
    image = texture(64, 64, np.random.default_rng(6), 2.0, True)
    result = run(
        (DeltaCnn, DeltaCnn.Options(placement="cloud"))
        if system == "deltacnn"
        else (FullOffloadStream, FullOffloadStream.Options()),
        [image] * 5,
        crashes_s=[(0.16, 0.19)],  # after the second frame
    )
    assert list(result.rows["outcome"]) == [0, 0, 2, 0, 0]
    sizes = result.rows["uplink_bytes"]
    assert sizes[1] == pytest.approx(sizes[2], abs=30)
    assert sizes[3] > 10 * sizes[2]
    assert result.rows["downlink_bytes"][2] == 16  # the notice
