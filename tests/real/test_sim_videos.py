"""FluxShard on real video under a real uplink: the figures that a run leaves must hang together."""

from __future__ import annotations

from pathlib import Path

import pytest

from sim.systems.fluxshard_ea import FluxShard
from tests.strategies.sim import run


def clips(data_dir: Path) -> list[Path]:
    """The DAVIS sequences and the driving clip."""
    root = data_dir / "videos"
    folders = sorted({path.parent for path in root.rglob("*.jpg")})
    return [*folders, *sorted(root.rglob("*.mp4"))]


@pytest.mark.data
@pytest.mark.filterwarnings("ignore:video.size_px")
def test_real_video_over_a_real_uplink(data_dir: Path) -> None:
    found = clips(data_dir)
    assert len(found) >= 5, found
    for path in found:
        content = {
            "system": {"name": "fluxshard_ea"},
            "video": {"kind": "file", "name": "file", "path": str(path), "size_px": 320},
            "trace": {
                "name": "file",
                "path": str(data_dir / "traces" / "mahimahi" / "Verizon-LTE-short.up"),
                "format": "mahimahi",
            },
            "frames": 40,
        }
        done = run(content, drain=True)
        table = done.frames
        finished = table[table["outcome"] == "completed"]
        assert len(table) == 40
        assert len(finished) >= 5
        assert finished["reuse_ratio"].between(0.0, 1.0).all()
        assert finished["reuse_ratio"].iloc[1:].mean() > 0.05, "neighbouring frames have something in common"
        assert (finished["ea"] <= finished["accuracy"]).all()
        assert finished["accuracy"].between(0.0, 1.0).all()
        assert finished["extrapolated"].all(), "frames of 320 px, a profile of 640 px"
        assert (finished["latency_s"] > 0.0).all()
        sent = finished["uplink_bytes"] > 0
        assert (finished.loc[sent, "uplink_delivered_s"] > finished.loc[sent, "uplink_enqueued_s"]).all()
        system = done.assembly.simulation.cameras[0].system
        assert isinstance(system, FluxShard)
        assert system.proxy.same_as(system.server.image)
