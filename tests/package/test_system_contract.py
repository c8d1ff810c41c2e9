"""A system that breaks the world's rules is told so with its own file and line."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import pytest

from sim.assembly import assemble
from sim.configuration import read_config
from tests.strategies.sim import pixels
from traces.errors import InputError

pytestmark = pytest.mark.filterwarnings("ignore:video.size_px")
MODULE = "own_careless_system"
SYSTEM = """\
from dataclasses import dataclass

from sim.records.outcome import Outcome


class Careless:
    max_in_flight = BOUND

    @dataclass(frozen=True, slots=True)
    class Options:
        pass

    def __init__(self, context, options):
        self.total = context.geometry.blocks_total

    def process(self, frame, world):
        yield world.work_edge(0.001)
        yield world.send(1000)
        yield world.infer_cloud(self.total)
        yield world.reply(100)
        return Outcome("cloud", self.total, self.total, 0)
"""
TOTAL, CLASS = "self.total = context.geometry.blocks_total", 6  # a line of its, and that of the class
RESULT = ", self.total, self.total, 0)"
PROCESS, EDGE, SEND, CLOUD, REPLY = 16, 17, 18, 19, 20  # lines


def refused(folder: Path, monkeypatch: pytest.MonkeyPatch, old: str, new: str, bound: int) -> str:
    assert old in SYSTEM
    (folder / f"{MODULE}.py").write_text(SYSTEM.replace(old, new).replace("BOUND", str(bound)))
    (folder / "system").mkdir()
    (folder / "system" / "careless.yaml").write_text(f"_target_: {MODULE}.Careless\n")
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.delitem(sys.modules, MODULE, raising=False)
    content: dict[str, Any] = pixels("careless", config_folders=[str(folder)], frames=6)
    with pytest.raises(InputError) as caught:
        assemble(read_config(content)).simulation.run()
    return str(caught.value)


@pytest.mark.parametrize("bound", [1, 4])
@pytest.mark.parametrize(
    ("old", "new", "line", "problem"),
    [
        ('return Outcome("cloud", self.total, self.total, 0)', "pass", PROCESS, "found None"),
        (
            "self.total, self.total, 0)",
            "self.total, self.total, -3)",
            PROCESS,
            "stale is a number of blocks, found -3",
        ),
        (
            "self.total, self.total, 0)",
            "self.total, 0.5, 0)",
            PROCESS,
            "processed is a number of blocks, found 0.5",
        ),
        (RESULT, ", self.total, self.total, None)", PROCESS, "stale is a .*, found None"),
        (
            "self.total, self.total, 0)",
            "-1, self.total, 0)",
            PROCESS,
            "active is a number of blocks, found -1",
        ),
        (RESULT, ", self.total, self.total, 0, computed=-1)", PROCESS, "computed is a .*, found -1"),
        (RESULT, ", self.total, self.total, 0, sent=1.5)", PROCESS, "sent is a .*, found 1.5"),
        (
            "yield world.work_edge(0.001)",
            "world.decided('clowd', 9, 9)",
            EDGE,
            "a path that is one of edge, cloud, split, reused, found 'clowd'",
        ),
        ("send(1000)", "send(-1)", SEND, "expected a whole number of bytes, found -1"),
        ("send(1000)", "send(10.5)", SEND, "expected a whole number of bytes, found 10.5"),
        ("send(1000)", "send(b'image')", SEND, "expected a whole number of bytes, found b'image'"),
        ("reply(100)", "reply(None)", REPLY, "expected a whole number of bytes, found None"),
        ("work_edge(0.001)", "work_edge(-1.0)", EDGE, "expected work that takes 0 s or more, found -1.0 s"),
        ("work_edge(0.001)", "work_edge(float('nan'))", EDGE, "found nan s"),
        ("infer_cloud(self.total)", "infer_cloud_dense(-1.0)", CLOUD, "found -.* s"),
        (
            "work_edge(0.001)",
            "encode('jpeg', -1e9, 0)",
            EDGE,
            "expected work that takes 0 s or more, found -.* s",
        ),
        (
            TOTAL,
            f"{TOTAL}; self.payload_codec = 3",
            CLASS,
            "payload_codec to be a codec's name or None, found 3",
        ),
        (
            TOTAL,
            f"{TOTAL}; self.payload_quality = '85'",
            CLASS,
            "payload_quality to be a number or None, found '85'",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_it_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bound: int, old: str, new: str, line: int, problem: str
) -> None:
    message = refused(tmp_path, monkeypatch, old, new, bound)
    assert message.startswith(f"{tmp_path / MODULE}.py:{line}: expected ")
    assert re.search(f"{problem}$", message), message


def test_counts_and_sizes_of_numpy_are_numbers_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = SYSTEM.replace("from dataclasses", "import numpy as np\nfrom dataclasses", 1)
    source = source.replace("send(1000)", "send(np.int64(1000))").replace(", 0)", ", np.int32(0))")
    (tmp_path / f"{MODULE}.py").write_text(source.replace("BOUND", "1"))
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.delitem(sys.modules, MODULE, raising=False)
    assembly = assemble(
        read_config(
            {**pixels(), "system": {"_target_": f"{MODULE}.Careless", "name": "careless"}, "frames": 3}
        )
    )
    assembly.simulation.run()
    assert assembly.simulation.table.columns()["outcome"][0] == 0
