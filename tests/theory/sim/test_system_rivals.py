"""On a link of constant rate every rival's latency is a sum that can be written down."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernels.codecs.block_codecs import block_codec
from kernels.codecs.block_delta import BlockDeltaSender
from kernels.codecs.frame_codecs import H264Codec, QuantisedCodec, make_frame_codec
from kernels.codecs.pixel_delta import PixelDeltaSender
from kernels.similarity import cosine_similarity, embed
from sim.components.message_sizes import RESULT_BYTES
from sim.components.splits import fastest_cut, feature_bytes, highest_precision, most_even_cut
from sim.physics.arrivals import ClosedLoop
from sim.records.outcome import Outcome
from sim.systems.coach import Coach
from sim.systems.deltacnn import DeltaCnn
from sim.systems.edge_only import EdgeOnly
from sim.systems.spinn import Spinn
from sim.world.contract import checked_bound
from tests.strategies.images import texture
from tests.strategies.systems import (
    CUTS,
    DELAY_S,
    DOWNLINK_BPS,
    EDGE,
    SIDE_PX,
    UPLINK_BPS,
    context,
    differing_blocks,
    run,
    whole_frames,
)

CODECS = ("raw", "png", "jpeg", "h264")
BLOCKS = (SIDE_PX // 16) ** 2
AROUND_S = 2 * DELAY_S + 8 * RESULT_BYTES / DOWNLINK_BPS  # delays and result, however the frame was sent


def up_s(size_bytes):
    return 8 * size_bytes / UPLINK_BPS


def picture(seed):
    return texture(SIDE_PX, SIDE_PX, np.random.default_rng(seed), 2.0, True)


def with_patch(image, blocks):
    """The image with its first `blocks` blocks inverted."""
    changed = image.copy()
    for block in range(blocks):
        y, x = 16 * (block // 4), 16 * (block % 4)
        changed[y : y + 16, x : x + 16] += 128  # uint8: every channel of every pixel by half its range
    return changed


def latency_s(result):
    return result.rows["completed_s"] - result.rows["captured_s"]


FRAMES = [picture(0), with_patch(picture(0), 3), with_patch(picture(0), 13)]


def test_edge_only_takes_one_dense_inference():
    result = run(EdgeOnly, FRAMES)
    assert latency_s(result) == pytest.approx([0.060] * 3)
    assert list(result.rows["uplink_bytes"]) == [0, 0, 0]


@pytest.mark.parametrize("codec", CODECS)
def test_full_offload_takes_transmission_dense_inference_and_reply(codec):
    encoder = H264Codec() if codec == "h264" else make_frame_codec(codec)
    messages = [encoder.encode(frame) for frame in FRAMES]
    sizes = [len(message) for message in messages]
    result = run(whole_frames(codec), FRAMES)
    assert list(result.rows["uplink_bytes"]) == sizes
    assert latency_s(result) == pytest.approx([up_s(size) + 0.020 + AROUND_S for size in sizes])
    arrived = [encoder.decode(message) for message in messages]
    stale = [differing_blocks(frame, seen) for frame, seen in zip(FRAMES, arrived, strict=True)]
    assert list(result.rows["blocks_stale"]) == stale
    if codec in ("raw", "png"):
        assert stale == [0, 0, 0]


@pytest.mark.parametrize("codec", CODECS)
def test_frames_overlap_in_a_stream_too_where_each_builds_on_the_last(codec):
    kind, options = whole_frames(codec)
    system = kind(context(), options)
    assert make_frame_codec(codec).builds_on_last == (codec == "h264")
    assert checked_bound(system) == 4


class DecodesOnTheServer:
    """Sends nothing but a header, and has the server work 7 ms before it infers."""

    def __init__(self, context):
        self.blocks_total = context.geometry.blocks_total

    def process(self, frame, world):
        yield world.send(0)
        yield world.work_cloud(0.007)
        yield world.infer_cloud_dense()
        return Outcome("cloud", self.blocks_total, self.blocks_total, 0)


def test_other_work_on_the_server_takes_its_time_and_is_booked_there():
    result = run(DecodesOnTheServer, FRAMES)
    assert latency_s(result) == pytest.approx([DELAY_S + 0.007 + 0.020] * 3)
    assert list(result.rows["cloud_compute_s"]) == pytest.approx([0.027] * 3)


@pytest.mark.parametrize("after", ["stem", "middle", "neck"])
def test_spinn_takes_both_parts_and_its_features_in_float32(after):
    cut = next(cut for cut in CUTS if cut.after == after)
    options = Spinn.Options(after=after)
    result = run((Spinn, options), FRAMES, arrivals=ClosedLoop(3))
    size_bytes = 8 + 24 * cut.tensors + 4 * cut.elements
    share = cut.arithmetic_share
    expected = share * 0.060 + up_s(size_bytes) + (1 - share) * 0.020 + AROUND_S
    assert latency_s(result) == pytest.approx([expected] * 3)
    assert list(result.rows["uplink_bytes"]) == [size_bytes] * 3


@pytest.mark.parametrize("codec", ["delta", None, "png"])
@pytest.mark.parametrize("placement", ["cloud", "edge"])
def test_deltacnn_computes_the_blocks_that_changed(placement, codec):
    """Whole, three blocks (sparse), ten more (dense where the edge's T(k) exceeds dense inference)."""
    if codec == "delta":
        sender = PixelDeltaSender(0.15)
    else:
        sender = BlockDeltaSender(0.15, 1, 16, block_codec(codec or "jpeg"))
    deltas = [sender.encode(frame) for frame in FRAMES]
    active = [16, 3, 10]
    if codec is None and placement == "cloud":  # JPEG is off by more than ε along the edges of these blocks
        active[2] = 13
    if placement == "cloud" or codec == "delta":
        assert [len(delta.blocks) for delta in deltas] == active
    options = DeltaCnn.Options(placement=placement, difference_s=0.003, codec=codec)
    result = run((DeltaCnn, options), FRAMES)
    if placement == "edge":
        inference_s = [0.060, 0.005 * 3 + 0.002, 0.005 * 10 + 0.002]
        expected = [0.003 + s for s in inference_s]
    else:
        inference_s = [0.020, 0.001 * 3 + 0.002, 0.001 * active[2] + 0.002]
        expected = [
            0.003 + up_s(len(d.data)) + s + AROUND_S for d, s in zip(deltas, inference_s, strict=True)
        ]
    assert latency_s(result) == pytest.approx(expected)
    assert list(result.rows["blocks_active"]) == active


def test_deltacnn_infers_densely_where_that_is_faster():
    frames = [picture(0), with_patch(picture(0), 14)]  # 0.005 · 14 + 0.002 > 0.060
    for fallback, expected in ((True, 0.060), (False, 0.072)):
        options = DeltaCnn.Options(placement="edge", dense_fallback=fallback, difference_s=0.0)
        result = run((DeltaCnn, options), frames)
        assert latency_s(result)[1] == pytest.approx(expected)


@pytest.mark.parametrize(("rate_bps", "path"), [(8e6, "cloud"), (0.1e6, "edge")])
def test_deltacnn_goes_where_it_is_through_sooner(rate_bps, path):
    """The first frame, offloaded whole, tells the link's rate."""
    frames = [picture(0), picture(0), picture(0), with_patch(picture(0), 3)]
    result = run(
        (DeltaCnn, DeltaCnn.Options(codec="delta")),
        frames,
        uplink=[(0.0, rate_bps)],
        arrivals=ClosedLoop(len(frames)),
        edge=EDGE if path == "edge" else replace(EDGE, dense_s=1.0),
    )
    assert result.rows["path"][0] == 1
    assert result.rows["path"][-1] == {"edge": 0, "cloud": 1}[path]


def test_deltacnn_looks_at_the_link_again_after_a_while():
    """A slow link keeps frames on the edge; probes find within two seconds that it has recovered."""
    frames = [picture(seed) for seed in range(40)]
    result = run(
        (DeltaCnn, DeltaCnn.Options()),
        frames,
        uplink=[(0.0, 0.1e6), (2.5, 80e6)],
    )
    began_s, on_edge = result.rows["started_s"], result.rows["path"] == 0
    assert on_edge[(began_s > result.rows["completed_s"][0]) & (began_s <= 2.5)].all()
    assert np.count_nonzero(on_edge[began_s <= 2.5]) > 3
    assert began_s[(began_s > 2.5) & ~on_edge].min() <= 2.5 + 2.0


@pytest.mark.parametrize("codec", ["quantised", None, "raw"])
def test_coach_reuses_the_result_of_a_like_frame_and_books_what_changed(codec):
    first = picture(1)
    like = first.copy()
    like[:16, :32] += 20  # two blocks, by 20/255 > τ; the whole hardly differs
    result = run(
        (Coach, Coach.Options(similarity=0.9, similarity_s=0.005, codec=codec)),
        [first, like, picture(2)],
    )
    assert list(result.rows["path"]) == [1, 3, 1]
    assert latency_s(result)[1] == pytest.approx(0.005)
    assert list(result.rows["blocks_stale"]) == [0, 2, 0]
    assert list(result.rows["blocks_active"]) == [16, 0, 16]
    encoder = QuantisedCodec(6, 4) if codec == "quantised" else make_frame_codec(codec or "jpeg")
    sizes = [len(encoder.encode(frame)) for frame in (first, picture(2))]
    assert result.rows["uplink_bytes"][0] == sizes[0]
    assert latency_s(result)[0] == pytest.approx(0.005 + up_s(sizes[0]) + 0.020 + AROUND_S)


def test_coach_reuses_only_results_that_it_has():
    """A frame whose result was reused is no history: a slow drift does not carry one result along."""
    frames = [picture(3)]
    for step in range(1, 25):
        mixed = (1 - step / 25) * picture(3) + step / 25 * picture(4)
        frames.append(np.rint(mixed).astype(np.uint8))
    options = Coach.Options(similarity=0.95, history_frames=2)
    result = run((Coach, options), frames)
    history: list[int] = []
    for index, path in enumerate(result.rows["path"]):
        alike = [cosine_similarity(embed(frames[index]), embed(frames[old])) for old in history[-2:]]
        assert (path == 3) == any(similarity >= 0.95 for similarity in alike)
        if path != 3:
            history.append(index)
    assert 1 < len(history) < len(frames)


def test_coach_split_takes_both_parts_and_quantised_features():
    """Six bits before the link is known; then seven: 18 ms of it, the server's stage, carry 18 kB."""
    options = Coach.Options(variant="split", after="stem", min_bits=6)
    result = run((Coach, options), FRAMES)
    sizes = [8 + 24 + 15_000, 8 + 24 + 17_500, 8 + 24 + 17_500]
    assert list(result.rows["uplink_bytes"]) == sizes
    parts_s = 0.1 * 0.060 + 0.9 * 0.020
    assert latency_s(result) == pytest.approx([up_s(size) + parts_s + AROUND_S for size in sizes])


@given(
    per_bit_bytes=st.floats(1, 1e6),
    bandwidth_bps=st.floats(0, 1e9),
    limit_s=st.floats(1e-4, 1),
    bits=st.tuples(st.integers(1, 8), st.integers(1, 8)),
)
def test_precision_is_the_highest_that_transmits_in_time(per_bit_bytes, bandwidth_bps, limit_s, bits):
    low, high = sorted(bits)
    fits = [b for b in range(low, high + 1) if 8 * b * per_bit_bytes <= limit_s * bandwidth_bps]
    chosen = highest_precision(lambda b: b * per_bit_bytes, low, high, bandwidth_bps, limit_s)
    assert chosen == max([low, *fits])


@pytest.mark.parametrize(
    ("bandwidth_bps", "fastest", "even"),
    # stem: 6 ms edge, 80 kB, 18 ms cloud; middle: 24, 20 kB, 12; neck: 48, 4 kB, 4
    [(1e9, "stem", "stem"), (1e7, "middle", "middle"), (1e5, "neck", "neck"), (6e6, "neck", "middle")],
)
def test_cuts_minimise_the_sum_or_the_slowest_stage(bandwidth_bps, fastest, even):
    assert fastest_cut(CUTS, 0.060, 0.020, bandwidth_bps, 32).after == fastest
    assert most_even_cut(CUTS, 0.060, 0.020, bandwidth_bps, 32).after == even


def test_feature_bytes_round_up_and_count_headers():
    assert feature_bytes(CUTS[3], 3) == 8 + 3 * 24 + 375
