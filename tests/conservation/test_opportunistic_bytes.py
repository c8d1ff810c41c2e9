"""Opportunistic bytes of frames add up to the link's, and radios' times to the run's, whatever happens."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sim.assembly import Assembly, assemble
from sim.command.camera_accounts import camera_accounts
from sim.configuration import read_config
from sim.physics.fair_link import FairLink
from sim.world.simulation import RunResult
from tests.strategies.sim import outages, statistical

CHANGES = st.fixed_dictionaries(
    {
        "trace": st.fixed_dictionaries(
            {
                "mean_mbps": st.sampled_from([0.3, 2.0, 8.0, 60.0]),
                "duration_s": st.just(5.0),
                "seed": st.integers(0, 3),
                "radio": st.just("lte"),
            }
        ),
        "link": st.one_of(
            st.fixed_dictionaries(
                {"outages_s": outages(max_ms=1500), "loss": st.sampled_from([0.0, 0.05, 0.4])}
            ),
            st.fixed_dictionaries({"outages_s": outages(max_ms=1500), "sharing": st.just("fair")}),
        ),
        "server": st.fixed_dictionaries({"crashes_s": outages(max_ms=1500)}),
        "cameras": st.integers(1, 3),
        "payload": st.fixed_dictionaries({"codec": st.sampled_from(["raw", "jpeg"])}),
    }
)
OPTIONS = st.fixed_dictionaries(
    {
        "patience_s": st.sampled_from([0.02, 0.2, 1.0]),
        "opportunistic": st.booleans(),
        "chunk_blocks": st.sampled_from([16, 64]),
    }
)


def check(assembly: Assembly, result: RunResult) -> int:
    """The balances of a run; returns the opportunistic bytes."""
    frames = result.table.to_frame(assembly.metric)
    accounts = camera_accounts(frames, assembly, result)
    table = accounts.table
    opportunistic = int(frames["uplink_opportunistic_bytes"].sum())
    assert opportunistic == pytest.approx(result.uplink.opportunistic_delivered_bytes, abs=1e-6)
    for name in ("uplink_bytes", "uplink_opportunistic_bytes"):
        assert table[name].sum() == frames[name].sum()
    assert table["downlink_bytes"].sum() == result.downlink.offered_bytes
    carried = result.uplink.carried_bytes + result.uplink.opportunistic_delivered_bytes
    waiting = result.uplink.queued_bytes if isinstance(assembly.simulation.uplink, FairLink) else 0.0
    assert carried - waiting - 1e-3 <= table["uplink_carried_bytes"].sum() <= carried + 1e-3
    assert table["frames_captured"].sum() == len(frames)
    states = [name for name in table.columns if name.startswith("radio_") and name.endswith("_s")]
    for _, row in table.iterrows():
        assert math.fsum(row[states]) == pytest.approx(result.simulated_s, abs=1e-6)
    return opportunistic


@settings(max_examples=40)
@given(CHANGES, OPTIONS)
def test_frames_have_all_opportunistic_bytes_under_withdrawals_outages_and_crashes(
    changes: dict[str, Any], options: dict[str, Any]
) -> None:
    assembly = assemble(read_config(statistical(options=options, **changes)))
    check(assembly, assembly.simulation.run())


@pytest.mark.parametrize("sharing", ["fifo", "fair"])
def test_cameras_that_stay_on_the_edge_send_much_beside_it(sharing: str) -> None:
    """Several cameras, raw blocks: most sends are withdrawn half-way, and the halves are counted."""
    content = statistical(
        payload={"codec": "raw"},
        scheduler={"name": "latency"},
        trace={"mean_mbps": 8.0, "duration_s": 5.0, "seed": 2, "radio": "lte"},
        link={"sharing": sharing, "outages_s": [(2.5, 2.8)]},
        cameras=3,
        frames=300,
    )
    assembly = assemble(read_config(content))
    result = assembly.simulation.run()
    assert check(assembly, result) > 1_000_000
    assert result.uplink.opportunistic_dropped_bytes > 1_000_000


@pytest.mark.parametrize("sharing", ["fifo", "fair"])
@pytest.mark.parametrize("system", ["fluxshard_ea", "full_offload", "spinn"])
def test_cameras_carried_what_the_link_did(system: str, sharing: str) -> None:
    """Each camera's messages, put together again from rows and notes, are what left the shared link."""
    content = statistical(
        system,
        trace={"mean_mbps": 40.0, "duration_s": 5.0, "seed": 2, "radio": "lte"},
        link={"sharing": sharing},
        cameras=2,
        in_flight=1,
    )
    assembly = assemble(read_config(content))
    result = assembly.simulation.run()
    frames = result.table.to_frame(assembly.metric)
    carried = camera_accounts(frames, assembly, result).table["uplink_carried_bytes"].sum()
    link = result.uplink.carried_bytes + result.uplink.opportunistic_delivered_bytes
    waiting = result.uplink.queued_bytes if sharing == "fair" else 0.0
    assert link - waiting - 1e-3 <= carried <= link + 1e-3


def test_what_leaves_after_the_end_is_in_no_row() -> None:
    content = statistical(
        payload={"codec": "raw"}, trace={"mean_mbps": 2.0, "duration_s": 5.0, "seed": 2, "radio": "lte"}
    )
    assembly = assemble(read_config(content))
    check(assembly, assembly.simulation.run(drain=True))
