"""Codecs take time: the right one, on the right side, beside the accelerator, and it can be written down."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from kernels.codecs.block_codecs import block_codec
from kernels.codecs.frame_codecs import H264Codec, make_frame_codec
from kernels.codecs.payload_frames import frame_codec_of
from profiler.latency import CodecTime, CodecTimes, Encoding
from sim.components.message_sizes import RESULT_BYTES
from sim.physics.arrivals import ClosedLoop
from sim.records.outcome import Outcome
from sim.systems.coach import Coach
from sim.systems.deltacnn import DeltaCnn
from sim.systems.fluxshard_ea import FluxShard
from sim.systems.full_offload import FullOffload
from tests.strategies.images import texture
from tests.strategies.sim import pixels
from tests.strategies.sim import run as run_content
from tests.strategies.systems import (
    CLOUD,
    DELAY_S,
    DOWNLINK_BPS,
    EDGE,
    SIDE_PX,
    UPLINK_BPS,
    run,
    whole_frames,
    with_codecs,
)
from traces.notices import InputWarning

PIXELS = SIDE_PX**2
AROUND_S = 2 * DELAY_S + 8 * RESULT_BYTES / DOWNLINK_BPS


def times(scale):
    """Codecs whose times tell codec, way and side apart."""
    return {
        name: CodecTimes(
            CodecTime(scale * (0.001 + 0.0001 * at), scale * 1e-8, scale * 1e-7),
            CodecTime(scale * (0.002 + 0.0001 * at), scale * 2e-8, scale * 2e-7),
        )
        for at, name in enumerate(("raw", "png", "jpeg", "h264", "h264_keyframe", "delta", "quantised"))
    }


EDGE_TIMES, CLOUD_TIMES = times(2.0), times(1.0)
NEAR, FAR = with_codecs(EDGE, EDGE_TIMES), with_codecs(CLOUD, CLOUD_TIMES)


def picture(seed):
    return texture(SIDE_PX, SIDE_PX, np.random.default_rng(seed), 2.0, True)


FRAMES = [picture(0), picture(1), picture(2)]


def timed(system_of, frames=FRAMES, edge=NEAR, cloud=FAR, **changes):
    arrivals = changes.pop("arrivals", None) or ClosedLoop(len(frames))
    return run(system_of, frames, arrivals=arrivals, edge=edge, cloud=cloud, codec_time=True, **changes)


@pytest.mark.parametrize("codec", ["raw", "png", "jpeg", "h264"])
def test_full_offload_encodes_on_the_edge_and_decodes_on_the_server(codec):
    encoder = H264Codec() if codec == "h264" else make_frame_codec(codec)
    sizes = [len(encoder.encode(frame)) for frame in FRAMES]
    names = ["h264_keyframe", "h264", "h264"] if codec == "h264" else [codec] * 3
    encode_s = [EDGE_TIMES[n].encode.seconds(PIXELS, s) for n, s in zip(names, sizes, strict=True)]
    decode_s = [CLOUD_TIMES[n].decode.seconds(PIXELS, s) for n, s in zip(names, sizes, strict=True)]
    rows = timed(whole_frames(codec)).rows
    assert list(rows["encode_s"]) == pytest.approx(encode_s)
    assert list(rows["decode_s"]) == pytest.approx(decode_s)
    sent_s = [8 * size / UPLINK_BPS for size in sizes]
    expected_s = np.array(encode_s) + sent_s + decode_s + 0.020 + AROUND_S
    assert rows["completed_s"] - rows["started_s"] == pytest.approx(expected_s)


@pytest.mark.parametrize(
    ("system_of", "name"),
    [
        ((Coach, Coach.Options(similarity=1.0)), "jpeg"),
        ((Coach, Coach.Options(similarity=1.0, codec="quantised")), "quantised"),
        ((DeltaCnn, DeltaCnn.Options(placement="cloud")), "jpeg"),
        ((DeltaCnn, DeltaCnn.Options(placement="cloud", codec="delta")), "delta"),
    ],
)
def test_rivals_pay_for_their_own_codec(system_of, name):
    rows = timed(system_of).rows
    for size, encode_s, decode_s in zip(
        rows["uplink_bytes"], rows["encode_s"], rows["decode_s"], strict=True
    ):
        assert encode_s == pytest.approx(EDGE_TIMES[name].encode.seconds(PIXELS, size))
        assert decode_s == pytest.approx(CLOUD_TIMES[name].decode.seconds(PIXELS, size))


def test_blocks_have_times_of_their_own_where_the_profile_has_them():
    own = CodecTimes(CodecTime(0.5, 0.0, 0.0), CodecTime(0.0, 0.0, 0.0))
    for name in ("jpeg_blocks", "jpeg"):
        edge = with_codecs(EDGE, {**EDGE_TIMES, name: own})
        rows = timed((DeltaCnn, DeltaCnn.Options(placement="cloud")), edge=edge).rows
        assert list(rows["encode_s"]) == pytest.approx([0.5] * 3)
    rows = timed(
        (FullOffload, FullOffload.Options()), edge=with_codecs(EDGE, {**EDGE_TIMES, "jpeg_blocks": own})
    ).rows
    assert rows["encode_s"].max() < 0.1


def test_encoding_neither_waits_for_a_refresh_nor_holds_one_up():
    """FluxShard's first frame is encoded while the edge begins its refresh, which takes its own time."""
    slow = {"jpeg": CodecTimes(CodecTime(0.040, 0.0, 0.0), CodecTime(0.0, 0.0, 0.0))}
    result = timed(FluxShard, [picture(0)], edge=with_codecs(EDGE, slow))
    assert result.rows["encode_s"][0] == pytest.approx(0.040)
    assert result.rows["queue_s"][0] == pytest.approx(0.0, abs=1e-12)
    assert result.world.edge.processor.background_busy_s() == pytest.approx(EDGE.dense_s)


def test_frames_of_a_camera_are_encoded_one_after_another():
    """Several are under way, their encoding is the bottleneck: PNG on the board, a fast link."""
    content = pixels("full_offload", options={"codec": "png"}, trace={"mean_mbps": 800.0, "duration_s": 5.0})
    content["video"]["size_px"] = 640
    rows = run_content({**content, "frames": 40}).frames
    rows = rows[rows["outcome"] == "completed"]
    parts = (
        "extract_s",
        "encode_s",
        "decode_s",
        "queue_s",
        "transmit_s",
        "edge_compute_s",
        "cloud_compute_s",
    )
    assert rows[list(parts)].sum(axis=1).to_numpy() == pytest.approx(rows["latency_s"].to_numpy())
    encoded_s = rows["uplink_enqueued_s"].to_numpy()
    apart_s = np.diff(encoded_s)
    assert (apart_s >= rows["encode_s"].to_numpy()[1:] - 1e-9).all()
    overlap = rows["started_s"].to_numpy()[1:] < rows["completed_s"].to_numpy()[:-1]
    assert overlap.mean() > 0.5
    # Just in time: the next frame begins to be encoded as the one before it leaves the encoder.
    assert np.median(apart_s - rows["encode_s"].to_numpy()[1:]) < 0.003


class Reverse:
    """Sends frames up, and has the server send one back: every way of coding, on both sides."""

    def __init__(self, context):
        self.total = context.geometry.blocks_total

    def process(self, frame, world):
        began_s = world.now_s
        yield world.encode("png", PIXELS, 1000)
        world.reconstruct("png", PIXELS, 1000)
        yield world.decode_edge("jpeg", PIXELS, 500)  # behind the reconstruction
        self.edge_s = world.now_s - began_s
        yield world.send(1000)
        yield world.decode("png", PIXELS, 1000)
        yield world.encode_cloud("jpeg", PIXELS, 500)
        yield world.reply(500)
        return Outcome("cloud", self.total, self.total, 0)


def test_either_side_encodes_and_decodes_and_a_reconstruction_keeps_its_thread_busy():
    made = []

    def build(given):
        made.append(Reverse(given))
        return made[0]

    rows = timed(build, FRAMES[:1]).rows
    encode_s = EDGE_TIMES["png"].encode.seconds(PIXELS, 1000) + CLOUD_TIMES["jpeg"].encode.seconds(
        PIXELS, 500
    )
    decode_s = EDGE_TIMES["jpeg"].decode.seconds(PIXELS, 500) + CLOUD_TIMES["png"].decode.seconds(
        PIXELS, 1000
    )
    again_s = EDGE_TIMES["png"].decode.seconds(PIXELS, 1000)
    assert rows["encode_s"][0] == pytest.approx(encode_s)
    assert rows["decode_s"][0] == pytest.approx(decode_s)
    assert rows["queue_s"][0] == pytest.approx(again_s)


def test_a_codec_that_nobody_measured_takes_no_time_and_says_so_once():
    known = {name: value for name, value in EDGE_TIMES.items() if name != "png"}
    edge = replace(with_codecs(EDGE, known), device="without_png")
    notice = r"invented on without_png does not say .* encode or decode 'png'"
    with pytest.warns(InputWarning, match=notice) as said:
        rows = timed((FullOffload, FullOffload.Options("png")), edge=edge).rows
    assert len(said) == 1
    assert list(rows["encode_s"]) == [0.0] * 3
    assert (rows["decode_s"] > 0.0).all()


def test_a_profile_without_codecs_charges_its_atlas_time_to_blocks_in_jpeg_alone():
    old = replace(EDGE, encode_s=Encoding(0.5, 0.25))
    assert old.codec_times("jpeg_blocks").encode.seconds(4 * 256, 123) == pytest.approx(1.5)
    assert old.codec_times("jpeg_blocks").decode is None
    assert old.codec_times("jpeg") is None
    assert old.codec_times("png_blocks") is None


@pytest.mark.parametrize("name", ["raw", "png", "jpeg", "jpeg_420"])
def test_a_frame_and_its_blocks_are_coded_alike(name):
    """Lossless both, or off by the same errors but for where blocks meet."""
    frame = picture(3)
    codec = block_codec(name, 85)
    whole = frame_codec_of(codec)
    blocks = frame.reshape(4, 16, 4, 16, 3).swapaxes(1, 2).reshape(16, 16, 16, 3)
    decoded = codec.decode(codec.encode(blocks), 16, 16, 3)
    decoded = decoded.reshape(4, 4, 16, 16, 3).swapaxes(1, 2).reshape(frame.shape)
    arrived = whole.decode(whole.encode(frame))
    error, block_error = (np.abs(image.astype(int) - frame).mean() for image in (arrived, decoded))
    assert error == pytest.approx(block_error, rel=0.05)
    assert (error == 0.0) == (name in ("raw", "png"))
