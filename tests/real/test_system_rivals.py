"""The rivals on DAVIS sequences, over a link of the papers' medium level."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from profiler.latency import load_profile, load_split_table
from sim.physics.arrivals import ClosedLoop, PeriodicLatest
from sim.systems.coach import Coach
from sim.systems.deltacnn import DeltaCnn
from sim.systems.full_offload import FullOffload
from sim.systems.h264_offload import H264Offload
from sim.systems.motion_deltacnn import MotionDeltaCnn
from sim.systems.spinn import Spinn
from tests.strategies.systems import run, whole_frames
from traces.video.loading import load_video

pytestmark = pytest.mark.data
SEQUENCES = ("blackswan", "bmx-trees", "car-shadow", "dance-twirl")
COUNT = 10
CODECS = ("raw", "png", "jpeg", "h264")  # each loses more, or knows more, than the one before
MEDIUM = [(0.0, 56e6)]
EDGE = load_profile("jetson_xavier_nx", "yolo11m-seg")
CLOUD = load_profile("rtx_3080", "yolo11m-seg")


@pytest.fixture(scope="module", params=SEQUENCES)
def frames(request, data_dir):
    folder = data_dir / "videos" / "davis" / request.param / "JPEGImages"
    video = load_video(folder, size_px=320, fit="stretch")
    return [video.image(index) for index in range(COUNT)]


def offload(system_of, frames):
    return run(system_of, frames, MEDIUM, arrivals=ClosedLoop(COUNT), edge=EDGE, cloud=CLOUD).rows


def test_each_codec_sends_less_than_the_one_before(frames):
    means = [offload(whole_frames(codec), frames)["uplink_bytes"].mean() for codec in CODECS]
    assert means[0] == 320 * 320 * 3 + 4
    assert means == sorted(means, reverse=True)
    assert means[2] < 0.3 * means[1]  # what lossless coding costs


def test_pixel_deltas_of_a_moving_camera_reuse_little(frames):
    """The remap paper's Table III: 22 to 24 % on DAVIS."""
    rows = offload((DeltaCnn, DeltaCnn.Options(placement="cloud")), frames)
    reuse = 1 - rows["blocks_active"][1:].mean() / 400
    assert 0.0 <= reuse < 0.6
    assert rows["blocks_stale"][0] == 0
    assert 0 < rows["blocks_stale"][1:].mean() < 400  # ε = 0.15 hides what τ₀ = 0.025 sees
    whole = offload(FullOffload, frames)["uplink_bytes"]  # of the same frames, by the same codec
    assert (rows["uplink_bytes"] < whole).all()


def test_pixel_deltas_alone_cost_less_than_the_frame_that_opens_them(frames):
    """The first frame's pixels all change, and go losslessly."""
    alone = offload((DeltaCnn, DeltaCnn.Options(placement="cloud", codec="delta")), frames)["uplink_bytes"]
    assert alone[0] >= 320 * 320 * 3
    assert (alone[1:] < 0.5 * alone[0]).all()


def test_aligned_deltas_send_less_than_deltas_in_place(frames):
    """One homography explains much of what a camera does in these sequences."""
    aligned = offload((MotionDeltaCnn, MotionDeltaCnn.Options(placement="cloud")), frames)
    in_place = offload((DeltaCnn, DeltaCnn.Options(placement="cloud")), frames)
    assert aligned["uplink_bytes"][1:].mean() < 0.8 * in_place["uplink_bytes"][1:].mean()


def test_a_stream_keeps_to_a_thin_link(frames):
    """Of 1 Mbit/s, half: from the fourth frame on, when the link and the content are known, on average."""
    options = H264Offload.Options(best_qp=1, worst_qp=51)
    rows = run(
        (H264Offload, options),
        frames * 3,
        [(0.0, 1e6)],
        arrivals=PeriodicLatest(24.0, 3 * COUNT),
        edge=EDGE,
        cloud=CLOUD,
    ).rows
    sent = np.flatnonzero(rows["outcome"] == 0)[4:]
    assert rows["uplink_bytes"][sent].mean() < 1.5 * 0.5 * 1e6 / 24 / 8


def test_coach_sends_six_bits_a_value_and_rarely_reuses(frames):
    rows = offload((Coach, Coach.Options(codec="quantised")), frames)
    sent = rows["path"] == 1
    assert sent.mean() >= 0.5
    png = offload((FullOffload, FullOffload.Options("png")), frames)["uplink_bytes"].mean()
    assert 0.5 * png < rows["uplink_bytes"][sent].mean() < png


def test_coach_sends_frames_as_full_offload_does(frames):
    """One payload codec for all: what COACH saves is what it does not send."""
    rows, all_rows = offload(Coach, frames), offload(FullOffload, frames)
    sent = rows["path"] == 1
    assert sent.mean() >= 0.5
    assert rows["uplink_bytes"][sent].tolist() == all_rows["uplink_bytes"][sent].tolist()
    assert not rows["uplink_bytes"][~sent].any()


def test_coach_that_asks_less_likeness_reuses_more_and_is_more_often_wrong(frames):
    strict, lax = (offload((Coach, Coach.Options(similarity=at)), frames) for at in (0.99, 0.8))
    assert np.count_nonzero(lax["path"] == 3) >= np.count_nonzero(strict["path"] == 3)
    assert lax["blocks_stale"].sum() >= strict["blocks_stale"].sum()
    assert lax["blocks_stale"].sum() > 0


def test_spinn_cuts_yolo_where_its_features_are_smallest_and_sends_more_than_pixels(frames):
    """After layer 3 the features are 1.6 M values: five times the bytes of the raw frame (640×640)."""
    systems = []

    def build(context):
        systems.append(
            Spinn(replace(context, cuts=lambda: load_split_table("yolo11m-seg").cuts), Spinn.Options())
        )
        return systems[0]

    rows = offload(build, frames)
    assert systems[0].way.cut.after == "3"
    assert rows["uplink_bytes"][0] > 5 * 640 * 640 * 3
    assert rows["edge_compute_s"][0] == pytest.approx(0.152988 * EDGE.dense_s)
