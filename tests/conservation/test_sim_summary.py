"""The summary counts every captured frame once, and says how many of a camera could be under way."""

from __future__ import annotations

from typing import Any

import pytest

from sim.assembly import assemble
from sim.command.single_run import summarise
from sim.configuration import read_config
from tests.strategies.sim import statistical


@pytest.mark.parametrize(
    ("system", "options", "asked", "bound"),
    [
        ("full_offload", {"codec": "png"}, None, 4),
        ("full_offload", {"codec": "jpeg"}, 2, 2),
        ("full_offload_h264", {}, None, 4),
        ("full_offload", {"codec": "raw"}, 9, 4),
        ("spinn", {}, None, 4),
        ("coach", {"variant": "split"}, 1, 1),
        ("coach", {"variant": "split"}, None, 4),
        ("fluxshard_ea", {}, 4, 4),
        ("edge_only", {}, None, 1),
    ],
)
@pytest.mark.parametrize("until_s", [None, 0.7])
def test_captured_is_completed_replaced_dropped_and_in_flight(
    system: str, options: dict[str, Any], asked: int | None, bound: int, until_s: float | None
) -> None:
    content = statistical(system, options=options, in_flight=asked)
    config = read_config(content)
    assembly = assemble(config)
    result = assembly.simulation.run(until_s=until_s)
    summary = summarise(config, content, assembly, result, 0.0).summary
    assert summary["in_flight"] == bound
    ends = ("completed", "replaced", "dropped", "in_flight")
    assert summary["frames_captured"] == sum(summary[f"frames_{end}"] for end in ends)
    assert (summary["frames_in_flight"] > 0) == (until_s is not None)
