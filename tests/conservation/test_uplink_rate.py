"""The uplink's mean rate is what it carried: never more than it can carry, however much is queued."""

from __future__ import annotations

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
