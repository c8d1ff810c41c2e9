"""The uplink's mean rate is what it carried: never more than it can carry, however much is queued."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sim.assembly import assemble
from sim.command.single_run import summarise
from sim.configuration import read_config


def test_overloaded_uplink_reports_no_more_than_it_carries() -> None:
    content = {
        "system": {"name": "fluxshard_ea"},
        "trace": {"mean_mbps": 5.0, "duration_s": 3.0},
        "video": {"kind": "statistical", "statistics": "scene_walk"},
        "frames": 60,
        "cameras": 64,
    }
    config = read_config(content)
    assembly = assemble(config)
    result = assembly.simulation.run()
    summary = summarise(config, content, assembly, result, 0.0).summary
    assert result.uplink.queued_bytes > 0, "the cameras ought to offer more than the uplink can carry"
    assert (
        0.0 < summary["uplink_bps_mean"] < 2 * 5e6
    )  # the trace's mean, and its bursts in a run's first seconds


@pytest.mark.parametrize("kind", ["opportunities", "rates"])
@pytest.mark.parametrize("sharing", ["fifo", "fair"])
def test_what_has_left_of_messages_that_never_got_through_counts(
    tmp_path: Path, sharing: str, kind: str
) -> None:
    """Messages of megabytes before and in an outage: what its trace offers since the first has left."""
    trace: dict[str, Any] = {"mean_mbps": 25.0, "duration_s": 20.0}
    if kind == "rates":
        path = tmp_path / "steady.csv"
        path.write_text("time_s,rate_mbps\n0,25\n10,30\n20,20\n")
        trace = {"name": "file", "path": str(path)}
    content = {
        "system": {"name": "spinn"},
        "trace": trace,
        "video": {"kind": "statistical", "statistics": "scene_walk"},
        "link": {"outages_s": [[0.5, 5.0]], "sharing": sharing},
        "frames": 30,
        "cameras": 2,
        "patience_s": 1.0,
    }
    config = read_config(content)
    assembly = assemble(config)
    result = assembly.simulation.run()
    record = summarise(config, content, assembly, result, 0.0)
    first_s = float(record.frames["uplink_enqueued_s"].min())
    offered = assembly.simulation.uplink.replay.capacity_bytes(first_s, result.simulated_s)
    assert result.uplink.delivered_bytes == 0.0
    assert offered > 1e6
    assert record.summary["uplink_bps_mean"] * result.simulated_s / 8.0 == pytest.approx(offered, abs=1500)
    if sharing == "fifo":
        assert record.cameras["uplink_carried_bytes"].sum() == pytest.approx(offered, abs=1500)
