"""Rivals' options out of range: one line with the config key, what was expected and what was found."""

from __future__ import annotations

import pytest
from sim.content.pixels import PixelContent, PixelOptions

from sim.systems.coach import Coach, CoachOptions
from sim.systems.deltacnn import DeltaCnnOptions
from sim.systems.full_offload import FullOffloadOptions
from sim.systems.spinn import Spinn, SpinnOptions
from tests.strategies.systems import CUTS
from traces.errors import InputError

NAN = float("nan")
CONTENT = PixelContent(64, 64, PixelOptions())


@pytest.mark.parametrize(
    ("options", "changes", "key", "found"),
    [
        (FullOffloadOptions, {"codec": "webp"}, "codec", "'webp'"),
        (FullOffloadOptions, {"quality": 0}, "quality", "0"),
        (FullOffloadOptions, {"crf": NAN}, "crf", "nan"),
        (FullOffloadOptions, {"keyframe_interval": 0}, "keyframe_interval", "0"),
        (FullOffloadOptions, {"result_bytes": -1}, "result_bytes", "-1"),
        (DeltaCnnOptions, {"threshold": 15.0}, "threshold", "15.0"),
        (DeltaCnnOptions, {"dilation_px": 2}, "dilation_px", "2"),
        (DeltaCnnOptions, {"placement": "fog"}, "placement", "'fog'"),
        (DeltaCnnOptions, {"difference_s": -1.0}, "difference_s", "-1.0"),
        (DeltaCnnOptions, {"probe_s": NAN}, "probe_s", "nan"),
        (DeltaCnnOptions, {"result_bytes": -1}, "result_bytes", "-1"),
        (SpinnOptions, {"variant": "adaptive"}, "variant", "'adaptive'"),
        (SpinnOptions, {"nominal_bps": 0.0}, "nominal_bps", "0.0"),
        (SpinnOptions, {"bits": 33}, "bits", "33"),
        (SpinnOptions, {"result_bytes": -1}, "result_bytes", "-1"),
        (CoachOptions, {"variant": "video"}, "variant", "'video'"),
        (CoachOptions, {"similarity": NAN}, "similarity", "nan"),
        (CoachOptions, {"history_frames": 0}, "history_frames", "0"),
        (CoachOptions, {"similarity_s": float("inf")}, "similarity_s", "inf"),
        (CoachOptions, {"min_bits": 7, "max_bits": 6}, "max_bits", "7 and 6"),
        (CoachOptions, {"nominal_bps": NAN}, "nominal_bps", "nan"),
        (CoachOptions, {"result_bytes": -1}, "result_bytes", "-1"),
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
        Spinn(CONTENT, CUTS, SpinnOptions(after="tail"))
    with pytest.raises(InputError, match="found 'input'"):
        Coach(CONTENT, CoachOptions(variant="split", after="input"), CUTS)


def test_a_network_that_cannot_be_cut_inside_is_refused():
    with pytest.raises(InputError, match="expected a network with a cut inside it, found 2 cuts"):
        Spinn(CONTENT, [CUTS[0], CUTS[-1]])
    with pytest.raises(InputError, match="found 0 cuts"):
        Coach(CONTENT, CoachOptions(variant="split"))
