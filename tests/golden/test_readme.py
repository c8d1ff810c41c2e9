"""The README's numbers come from a file that the main job made, and the main job still makes them."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from analysis.__main__ import BEGIN, END, QUICKSTART, readme_table
from sim.assembly import assemble
from sim.config import read_config
from sim.results import summarise


def test_readme_shows_the_golden_table(repository: Path) -> None:
    text = (repository / "README.md").read_text(encoding="utf-8")
    shown = text.split(BEGIN)[1].split(END)[0].strip()
    assert shown == readme_table(pd.read_csv(QUICKSTART))


@pytest.mark.parametrize("system", ["fluxshard_ea", "edge_only"])
def test_main_job_reproduces_its_golden_row(system: str) -> None:
    """Within 2 %: other processors round a scene's pixels differently, and a few blocks follow."""
    content = {
        "system": {"name": system},
        "trace": {"name": "medium", "mean_mbps": 56.0, "seed": 2},
        "frames": 600,
    }
    config = read_config(content)
    assembly = assemble(config)
    summary = summarise(config, content, assembly, assembly.simulation.run(), 0.0).summary
    golden = pd.read_csv(QUICKSTART).set_index("system").loc[system]
    assert summary["frames_captured"] == golden["frames_captured"]
    for key in ("ea_mean", "latency_mean_s", "latency_p95_s", "reuse_ratio_mean", "uplink_bps_mean"):
        assert summary[key] == pytest.approx(golden[key], rel=0.02, abs=1e-9), key
