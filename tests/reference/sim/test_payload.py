"""One payload for all: what every system says it codes pixels with, and what it really sends."""

from __future__ import annotations

from typing import Any

import pytest

from sim import run

FAST = ("frames=4", "video.size_px=160", "accuracy=coverage", "codec_time=none")
pytestmark = pytest.mark.filterwarnings("ignore:video.size_px", "ignore:trace")
SENDERS = ("fluxshard_ea", "full_offload", "deltacnn", "coach")


def summary(*overrides: str) -> dict[str, Any]:
    return dict(run([*overrides, *FAST]).summary)


@pytest.mark.parametrize("system", SENDERS)
def test_the_payload_is_that_of_every_system_that_sends_pixels(system: str) -> None:
    found = {
        given: summary(f"system={system}", *given)
        for given in (
            (),
            ("payload.quality=50",),
            ("payload.codec=jpeg_420",),
            ("payload.codec=png",),
            ("payload.codec=raw",),
            ("payload.codec=png", "system.codec=jpeg", "system.quality=40"),
            ("system.quality=40",),
            ("payload.quality=50", "system.codec=jpeg"),
            ("payload.quality=50", "system.codec=jpeg_420"),
            ("payload.quality=50", "system.codec=png"),
        )
    }
    said = [(one["codec"], one["quality"]) for one in found.values()]
    assert said == [
        ("jpeg", 85),
        ("jpeg", 50),
        ("jpeg_420", 85),
        ("png", None),
        ("raw", None),
        ("jpeg", 40),
        ("jpeg", 40),
        ("jpeg", 50),  # the payload's codec by its name: the payload's quality
        ("jpeg_420", 85),  # of another it says nothing
        ("png", None),
    ]
    first_bytes = [one["uplink_bytes"] / one["frames_completed"] for one in found.values()]
    default, coarse, half, lossless, plain, own, own_quality, named, _, _ = first_bytes
    assert own == own_quality < coarse < default < lossless < plain
    assert half < default
    assert named == coarse


@pytest.mark.parametrize(
    ("overrides", "codec", "quality"),
    [
        (("system=full_offload_h264",), "h264", 23.0),
        (("system=deltacnn", "system.codec=delta"), "delta", None),
        (("system=coach", "system.codec=quantised"), "quantised", None),
        (("system=coach", "system.variant=split"), None, None),
        (("system=spinn",), None, None),
        (("system=edge_only",), None, None),
    ],
)
def test_a_systems_own_codec_is_named_too(overrides: tuple[str, ...], codec: Any, quality: Any) -> None:
    found = summary(*overrides)
    assert (found["codec"], found["quality"]) == (codec, quality)


def test_results_of_a_network_have_their_own_size() -> None:
    measured = run(["system=full_offload", "accuracy=measured", "frames=6"])
    assumed = run(["system=full_offload", "accuracy=coverage", "frames=6"])
    chosen = run(["system=full_offload", "accuracy=measured", "frames=6", "system.result_bytes=777"])
    down = [
        record.frames["downlink_bytes"][record.frames["outcome"] == "completed"].to_numpy()
        for record in (measured, assumed, chosen)
    ]
    assert set(down[1]) == {4096}
    assert set(down[2]) == {777}
    sizes = down[0]
    assert len(set(sizes)) > 1
    assert ((sizes > 100) & (sizes < 4096)).all()


def test_without_codec_time_nothing_is_charged_and_with_it_frames_are_later() -> None:
    free, timed = (
        run(["system=full_offload", "frames=6", "accuracy=coverage", f"codec_time={kind}"]).frames.query(
            "outcome == 'completed'"
        )
        for kind in ("none", "profile")
    )
    assert free[["encode_s", "decode_s"]].to_numpy().max() == 0.0
    assert timed[["encode_s", "decode_s"]].to_numpy().min() > 0.001
    assert timed["latency_s"].mean() > free["latency_s"].mean()
