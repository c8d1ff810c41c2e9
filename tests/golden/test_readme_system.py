"""The README's recipe for a system of one's own works as it stands there."""

from __future__ import annotations

import re
import sys
import textwrap
import types
from pathlib import Path

import pytest

from sim.assembly import assemble
from sim.configuration import read_config
from sim.systems import registry


@pytest.mark.filterwarnings("ignore:video.size_px")
def test_the_readmes_system_runs(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (repository / "README.md").read_text(encoding="utf-8")
    block = next(code for code in re.findall(r"```python\n(.*?)```", text, re.S) if "class Mine:" in code)
    module = types.ModuleType("sim.systems.mine")
    monkeypatch.setitem(sys.modules, "sim.systems.mine", module)
    exec(compile(textwrap.dedent(block), "README.md", "exec"), module.__dict__)
    entry = registry._Entry(
        "sim.systems.mine", "MineOptions", lambda home, around, options: home.Mine(around.content, options)
    )
    monkeypatch.setitem(registry._ENTRIES, "mine", entry)
    monkeypatch.setattr(registry, "SYSTEMS", (*registry.SYSTEMS, "mine"))
    config = read_config(
        {
            "system": {"name": "mine", "quality": 30},
            "video": {"size_px": 160},
            "trace": {"mean_mbps": 56.0},
            "frames": 4,
        }
    )
    simulation = assemble(config).simulation
    simulation.run()
    outcomes = simulation.table.columns()["outcome"]
    assert len(outcomes) == 4
    assert (outcomes == 0).sum() >= 2
