"""Rivals' options out of range: one line with the config key, what was expected and what was found."""

from __future__ import annotations

import pytest

from sim.assembly import assemble
from sim.configuration import read_config
from sim.systems.awstream import AwStream
from sim.systems.coach import Coach
from sim.systems.deltacnn import DeltaCnn
from sim.systems.fluxshard_remap import FluxShardRemap
from sim.systems.full_offload import FullOffload, FullOffloadStream
from sim.systems.h264_offload import H264Offload
from sim.systems.motion_deltacnn import MotionDeltaCnn
from sim.systems.roi import Roi
from sim.systems.spinn import Spinn
from tests.strategies.sim import pixels, statistical
from tests.strategies.systems import CUTS, context, invented_profile
from traces.errors import InputError
from traces.notices import InputWarning

NAN = float("nan")


@pytest.mark.parametrize(
    ("options", "changes", "key", "found"),
    [
        (FullOffload.Options, {"codec": "h264"}, "codec", "'h264'"),
        (FullOffloadStream.Options, {"crf": NAN}, "crf", "nan"),
        (FullOffloadStream.Options, {"keyframe_interval": 0}, "keyframe_interval", "0"),
        (FullOffload.Options, {"result_bytes": -1}, "result_bytes", "-1"),
        (DeltaCnn.Options, {"threshold": 15.0}, "threshold", "15.0"),
        (DeltaCnn.Options, {"dilation_px": 2}, "dilation_px", "2"),
        (DeltaCnn.Options, {"placement": "fog"}, "placement", "'fog'"),
        (DeltaCnn.Options, {"difference_s": -1.0}, "difference_s", "-1.0"),
        (DeltaCnn.Options, {"result_bytes": -1}, "result_bytes", "-1"),
        (MotionDeltaCnn.Options, {"threshold": -0.1}, "threshold", "-0.1"),
        (MotionDeltaCnn.Options, {"alignment_s": NAN}, "alignment_s", "nan"),
        (MotionDeltaCnn.Options, {"min_inliers": 50.0}, "min_inliers", "50.0"),
        (MotionDeltaCnn.Options, {"min_overlap": NAN}, "min_overlap", "nan"),
        (MotionDeltaCnn.Options, {"period_px": 0}, "period_px", "0"),
        (Roi.Options, {"detector_s": -0.1}, "detector_s", "-0.1"),
        (Roi.Options, {"stand_in_px": 0}, "stand_in_px", "0"),
        (Roi.Options, {"margin_px": NAN}, "margin_px", "nan"),
        (Roi.Options, {"background": "black"}, "background", "'black'"),
        (Roi.Options, {"keyframe_interval": -1}, "keyframe_interval", "-1"),
        (H264Offload.Options, {"share": 0.0}, "share", "0.0"),
        (H264Offload.Options, {"best_qp": 0}, "best_qp", "0"),
        (H264Offload.Options, {"worst_qp": 52}, "worst_qp", "52"),
        (H264Offload.Options, {"start_qp": 12}, "start_qp", "12"),
        (H264Offload.Options, {"keyframe_interval": 0}, "keyframe_interval", "0"),
        (AwStream.Options, {"start_level": -1}, "start_level", "-1"),
        (AwStream.Options, {"tick_s": 0.0}, "tick_s", "0.0"),
        (AwStream.Options, {"empty_ticks": -1}, "empty_ticks", "-1"),
        (AwStream.Options, {"rate": "oracle"}, "rate", "'oracle'"),
        (AwStream.Options, {"keyframe_interval": 0}, "keyframe_interval", "0"),
        (AwStream.Options, {"result_bytes": -1}, "result_bytes", "-1"),
        (FluxShardRemap.Options, {"salience_rule": "sigma"}, "salience_rule", "'sigma'"),
        (FluxShardRemap.Options, {"paths": "ea"}, "paths", "'ea'"),
        (FluxShardRemap.Options, {"proxy": "none"}, "proxy", "'none'"),
        (FluxShardRemap.Options, {"threshold": 25.0}, "threshold", "25.0"),
        (FluxShardRemap.Options, {"near_threshold": NAN}, "near_threshold", "nan"),
        (FluxShardRemap.Options, {"salience_share": -0.1}, "salience_share", "-0.1"),
        (FluxShardRemap.Options, {"salience_reach_blocks": -1}, "salience_reach_blocks", "-1"),
        (FluxShardRemap.Options, {"chunk_blocks": 0}, "chunk_blocks", "0"),
        (FluxShardRemap.Options, {"patience_s": 0.0}, "patience_s", "0.0"),
        (FluxShardRemap.Options, {"result_bytes": -1}, "result_bytes", "-1"),
        (Spinn.Options, {"variant": "adaptive"}, "variant", "'adaptive'"),
        (Spinn.Options, {"nominal_bps": 0.0}, "nominal_bps", "0.0"),
        (Spinn.Options, {"bits": 33}, "bits", "33"),
        (Spinn.Options, {"variant": "progressive", "bits": 9}, "bits", "9"),
        (Spinn.Options, {"variant": "progressive", "bits": 1}, "bits", "1"),
        (Spinn.Options, {"threshold": 1.5}, "threshold", "1.5"),
        (Spinn.Options, {"accuracy_floor": NAN}, "accuracy_floor", "nan"),
        (Spinn.Options, {"deadline_s": 0.0}, "deadline_s", "0.0"),
        (Spinn.Options, {"result_bytes": -1}, "result_bytes", "-1"),
        (Coach.Options, {"variant": "video"}, "variant", "'video'"),
        (Coach.Options, {"separability": NAN}, "separability", "nan"),
        (Coach.Options, {"loss": 2.0}, "loss", "2.0"),
        (Coach.Options, {"variant": "pipelined", "min_bits": 1}, "min_bits, system.max_bits", "1 and 8"),
        (Coach.Options, {"variant": "pipelined", "quality": 85}, "quality", "85"),
        (Coach.Options, {"variant": "pipelined", "codec": "jpeg"}, "codec", "'jpeg'"),
        (Coach.Options, {"similarity": NAN}, "similarity", "nan"),
        (Coach.Options, {"history_frames": 0}, "history_frames", "0"),
        (Coach.Options, {"similarity_s": float("inf")}, "similarity_s", "inf"),
        (Coach.Options, {"codec": "quantised", "min_bits": 7, "max_bits": 6}, "max_bits", "7 and 6"),
        (Coach.Options, {"min_bits": 7}, "min_bits", "7"),
        (Coach.Options, {"codec": "quantised", "quality": 85}, "quality", "85"),
        (Coach.Options, {"variant": "split", "codec": "png"}, "codec", "'png'"),
        (DeltaCnn.Options, {"codec": "delta", "quality": 85}, "quality", "85"),
        (Coach.Options, {"nominal_bps": NAN}, "nominal_bps", "nan"),
        (Coach.Options, {"result_bytes": -1}, "result_bytes", "-1"),
    ],
)
def test_an_option_out_of_range_names_its_key(options, changes, key, found):
    with pytest.raises(InputError) as caught:
        options(**changes)
    message = str(caught.value)
    assert f"system.{key}: expected" in message
    assert message.endswith(f"found {found}")
    assert "\n" not in message


def test_an_unknown_layer_names_those_to_cut_after():
    with pytest.raises(
        InputError, match=r"system.after: expected .* one of stem, middle, neck, found 'tail'"
    ):
        Spinn(context(), Spinn.Options(after="tail"))
    with pytest.raises(InputError, match="found 'input'"):
        Coach(context(), Coach.Options(variant="split", after="input"))


def test_a_network_that_cannot_be_cut_inside_is_refused():
    with pytest.raises(InputError, match="expected a network with a cut inside it, found 2 cuts"):
        Spinn(context(cuts=(CUTS[0], CUTS[-1])), Spinn.Options())
    with pytest.raises(InputError, match="found 0 cuts"):
        Coach(context(cuts=()), Coach.Options(variant="split"))


HEAD = "network,height_px,width_px,fps,clip,frames,scale,skipped,qp,rate_bps,accuracy"
ROW = "default,64,64,10,walk,60,0.5,2,30,20000,0.4"


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([], r":1: expected the columns network,.*,accuracy, found ''"),
        (["a,b"], r":1: expected the columns .* found 'a,b'"),
        ([HEAD], r": expected a measured configuration at least, found none"),
        ([HEAD, "x"], r":2: expected a measured configuration, found 1 values instead of 11"),
        ([HEAD, ROW, ROW.replace("0.5,2", "1.5,2")], r":3: .* found scale 1.5 outside 0.001 to 1"),
        ([HEAD, ROW.replace(",2,30", ",2.5,30")], r":2: .* found skipped 2.5, which is not whole"),
        ([HEAD, ROW.replace("30,", "60,")], r":2: .* found qp 60 outside 1 to 51"),
        ([HEAD, ROW.replace("20000", "nan")], r":2: .* found rate_bps nan outside"),
        ([HEAD, ROW, ROW.replace("walk", "run")], r":3: expected .* walk, 60, as above, found .* run, 60"),
    ],
)
def test_a_profile_that_is_none_names_its_line(lines, message, tmp_path):
    path = tmp_path / "profile.csv"
    path.write_text("".join(f"{line}\n" for line in lines))
    with pytest.raises(InputError, match=message) as caught:
        AwStream(context(), AwStream.Options(str(path)))
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_a_profile_that_is_not_there_or_has_fewer_levels_names_its_key(tmp_path):
    with pytest.raises(
        InputError, match=r"system.profile: expected a CSV file at .*none.csv, found: No such"
    ):
        AwStream(context(), AwStream.Options(str(tmp_path / "none.csv")))
    with pytest.raises(InputError, match=r"system.start_level: expected 0 to 3, the levels of .*, found 4"):
        AwStream(context(), AwStream.Options(invented_profile(), start_level=4))


def test_a_profile_of_another_network_or_size_is_said():
    from dataclasses import replace

    with pytest.warns(InputWarning, match="system.profile: measured with network 'invented', found 'other'"):
        AwStream(replace(context(), network_name="other"), AwStream.Options(invented_profile()))
    with pytest.warns(InputWarning, match="frames of 64x64 px, found 96x64"):
        AwStream(context(96, 64), AwStream.Options(invented_profile()))


@pytest.mark.parametrize("margin_px", [-1, 1.5, True])
def test_a_margin_is_a_whole_number_of_pixels(margin_px):
    with pytest.raises(InputError, match=r"system.margin_px: expected a whole number of pixels >= 0, found"):
        FluxShardRemap(context(), FluxShardRemap.Options(margin_px=margin_px, salience=False))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "fluxshard_remap"}, r"fluxshard_remap.*pixels"),
        (
            {"name": "fluxshard_ea", "margin_px": 16},
            "system.margin_px: expected 0 for a video without pixels",
        ),
    ],
)
def test_what_needs_pixels_refuses_a_video_without_them(options, message):
    content = statistical(options.pop("name"), options=options)
    with pytest.raises(InputError, match=message) as caught:
        assemble(read_config(content))
    assert "\n" not in str(caught.value)


@pytest.mark.filterwarnings("ignore:video.size_px")
@pytest.mark.parametrize("scheduler", ["oracle", "split"])
def test_a_scheduler_that_something_else_was_expected_of_is_said_to_have_no_effect(scheduler):
    with pytest.warns(InputWarning, match="scheduler: has no effect with system.paths=latency"):
        assemble(
            read_config(pixels("fluxshard_remap", scheduler={"name": scheduler}, options={"salience": False}))
        )
