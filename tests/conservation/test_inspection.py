"""Inspection: it changes nothing of a run, and its blocks add up to the frames' table."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from kernels.models.predictions.results import Boxes, Labels, Pose, Segmentation
from sim import __main__ as command_line
from sim.records.account import ShownBlocks
from sim.records.inspection import STATES, Inspection
from sim.records.outcome import Outcome
from sim.records.overlay import ShownFrame

pytestmark = pytest.mark.filterwarnings("ignore:video.size_px")
COLUMNS = {"stale": "blocks_stale", "sent": "blocks_sent", "computed": "blocks_computed"}
SMALL = ("video=scene", "frames=24", "video.size_px=128")
LARGE = ("video.size_px=640", "accuracy=coverage")  # enough blocks for the server to be worth asking
# What each knows of its blocks; of the others every state is unknown at times.
SYSTEMS: dict[tuple[str, ...], set[str]] = {
    # A frame that the edge infers densely, having no state yet, rests on itself alone, as with edge_only.
    ("system=fluxshard_ea",): set(STATES) - {"stale"},
    ("system=fluxshard_ea", "system.margin_px=16"): set(STATES) - {"stale"},
    ("system=fluxshard_ea", *LARGE, "link.outages_s=[[0.4,0.9]]", "system.patience_s=0.12"): set(STATES),
    # Both sides may compute one block, which the table counts twice: which they were is not known then.
    ("system=fluxshard_ea", *LARGE, "scheduler=split"): set(STATES) - {"computed"},
    ("system=fluxshard_remap",): set(STATES) - {"stale"},
    ("system=deltacnn",): set(STATES),
    ("system=motion_deltacnn",): set(STATES),
    ("system=roi",): {"active", "reused", "stale", "sent", "computed"},
    ("system=full_offload",): {"stale", "sent", "computed"},
    ("system=edge_only",): {"sent", "computed"},
}


def run(folder: Path, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> Path:
    monkeypatch.setattr(
        "sys.argv",
        ["sim", *SMALL[: 2 if LARGE[0] in arguments else 3], *arguments, f"hydra.run.dir={folder}"],
    )
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    command_line.main()
    return folder


def arrays(path: Path) -> dict[str, NDArray[Any]]:
    with np.load(path) as file:
        return {name: file[name] for name in file.files}


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("arguments", SYSTEMS, ids=" ".join)
def test_blocks_add_up_to_the_table_and_leave_it_as_it_is(
    arguments: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = run(tmp_path / "plain", monkeypatch, *arguments)
    folder = run(tmp_path / "inspected", monkeypatch, *arguments, "inspect=true")
    assert digest(folder / "frames.parquet") == digest(plain / "frames.parquet")
    assert not (plain / "inspection").exists()
    content = json.loads((folder / "inspection" / "inspection.json").read_text())
    blocks = arrays(folder / "inspection" / "blocks.npz")
    frames = pd.read_parquet(folder / "frames.parquet").set_index("frame")
    done = frames[frames["outcome"] == "completed"]
    assert [one["frame"] for one in content["frames"]] == done.index.tolist()
    known_of: dict[str, list[bool]] = {name: [] for name in STATES}
    for place, number in enumerate(done.index):
        states, known, row = blocks["states"][place], int(blocks["known"][place]), done.loc[number]
        counts = {name: int(np.count_nonzero(states & bit)) for name, bit in STATES.items()}
        for name, bit in STATES.items():
            known_of[name].append(bool(known & bit))
            assert known & bit or counts[name] == 0
        for name, column in COLUMNS.items():
            if known & STATES[name]:
                assert counts[name] == row[column], (number, name)
        if not known & STATES["stale"]:
            assert row["blocks_stale"] == 0  # it is dense inference of the frame itself
        assert not np.any((states & STATES["reused"] > 0) & (states & STATES["active"] > 0))
        if known & STATES["active"] and arguments[0].startswith("system=fluxshard"):
            side = "blocks_active_edge" if row["path"] == "edge" else "blocks_active_cloud"
            assert row["path"] == "split" or counts["active"] == row[side]
    assert {name for name, found in known_of.items() if all(found)} >= SYSTEMS[arguments]
    if "active" not in SYSTEMS[arguments]:
        assert not any(known_of["active"])
        assert not any(known_of["reused"])


def test_the_same_run_leaves_the_same_inspection(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = (run(tmp_path / name, monkeypatch, "inspect=true") / "inspection" for name in ("a", "b"))
    names = sorted(path.name for path in one.iterdir())
    assert names == sorted(path.name for path in other.iterdir())
    assert {"blocks.npz", "inspection.json", "link.csv", "results.npz"} < set(names)
    assert [name for name in names if digest(one / name) != digest(other / name)] == []


def test_it_records_what_was_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from PIL import Image

    asked = ("inspect=true", "inspection.frames=7", "inspection.width_px=64")
    folder = run(tmp_path, monkeypatch, *asked) / "inspection"
    content = json.loads((folder / "inspection.json").read_text())
    assert all(one["frame"] < 7 for one in content["frames"])
    pictures = sorted(folder.glob("frame-*.jpg"))
    assert [path.name for path in pictures] == [one["picture"] for one in content["frames"]]
    for path in pictures:
        with Image.open(path) as picture:
            assert picture.size == (64, 64)
    results = arrays(folder / "results.npz")
    assert results["shown"].shape == results["dense"].shape == (len(pictures), 64, 64)
    rates = pd.read_csv(folder / "link.csv")
    assert (rates["rate_bps"] > 0).all()
    assert np.allclose(rates["time_s"].diff().dropna(), 0.1)


def test_an_earlier_inspection_does_not_stay_beside_new_results(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = run(tmp_path, monkeypatch, "inspect=true")
    assert (folder / "inspection").is_dir()
    run(tmp_path, monkeypatch)
    assert not (folder / "inspection").exists()
    assert not (folder / ".earlier").exists()


# -- what it takes of what a system says -------------------------------------------------------------


def inspected(outcome: Outcome, blocks: ShownBlocks | None) -> dict[str, set[int] | None]:
    """The blocks of each state of one frame of 3×4 blocks; None: not known."""
    inspection = Inspection(3, 4, 16, 100, 320, stale_map=lambda *_: np.zeros((3, 4), np.bool_))
    image = np.zeros((48, 64, 3), np.uint8)
    inspection.add(ShownFrame(0, 0.0, 0.1, image, outcome, blocks))
    frame: Any = inspection._seen[0]
    return {
        name: set(np.flatnonzero(frame.states & bit).tolist()) if frame.known & bit else None
        for name, bit in STATES.items()
    }


def test_blocks_are_where_the_system_says() -> None:
    found = inspected(
        Outcome("cloud", 3, 2, 1, sent=2, computed=4), ShownBlocks([5, 0, 7], None, [5, 0], [5, 0, 9, 10])
    )
    assert found == {
        "active": {0, 5, 7},
        "reused": {1, 2, 3, 4, 6, 8, 11},
        "stale": None,  # it names nothing that its result rests on
        "sent": {0, 5},
        "computed": {0, 5, 9, 10},
    }


def test_a_margin_is_computed_around_blocks() -> None:
    found = inspected(
        Outcome("edge", 1, 1, 0, sent=0, computed=9), ShownBlocks([5], computed=[5], margin_px=16)
    )
    assert found["computed"] == {0, 1, 2, 4, 5, 6, 8, 9, 10}
    assert found["reused"] == {3, 7, 11}
    assert found["sent"] == set()
    at_the_border = Outcome("edge", 1, 1, 0, sent=0, computed=4)
    assert inspected(at_the_border, ShownBlocks([0], computed=[0], margin_px=1))["computed"] == {0, 1, 4, 5}


@pytest.mark.parametrize("computed", [None, 3])
def test_a_set_of_another_size_than_the_table_says_is_not_taken(computed: int | None) -> None:
    found = inspected(
        Outcome("cloud", 2, 2, 0, sent=1, computed=computed), ShownBlocks([5, 0], None, [5, 0], [5, 0])
    )
    assert found["computed"] is None
    assert found["sent"] is None
    assert found["active"] == {0, 5}
    assert found["reused"] == set(range(12)) - {0, 5}


@pytest.mark.parametrize(
    ("found", "outlined"),
    [
        (
            Boxes(np.array([[1.0, 2.0, 30.0, 40.04]]), np.array([4]), 48, 64),
            {"boxes": [[1.0, 2.0, 30.0, 40.0, 4]], "points": [], "labels": []},
        ),
        (
            Pose(np.array([[3.0, 4.0, 0.9]]), 48, 64),
            {"boxes": [], "points": [[3.0, 4.0]], "labels": []},
        ),
        (
            Labels(np.array([2, 0]), np.array([0.9, 0.1]), 48, 64),
            {"boxes": [], "points": [], "labels": [[2, 0.9], [0, 0.1]]},
        ),
        (
            Segmentation(np.pad(np.full((8, 16), 3, np.uint8), ((0, 40), (0, 48)))),
            {"boxes": [[0.0, 0.0, 15.0, 7.0, 2]], "points": [], "labels": []},
        ),
    ],
    ids=["boxes", "pose", "labels", "masks"],
)
def test_what_was_found_is_outlined(found: Any, outlined: dict[str, Any], tmp_path: Path) -> None:
    inspection = Inspection(3, 4, 16, 100, 320, stale_map=lambda *_: np.zeros((3, 4), np.bool_))
    inspection.unpack = lambda packed: packed
    image = np.zeros((48, 64, 3), np.uint8)
    inspection.add(ShownFrame(0, 0.0, 0.1, image, Outcome("cloud", 12, 12, 0, result=found), None))
    inspection.write(tmp_path, [(0.0, 1e6)])
    content = json.loads((tmp_path / "inspection.json").read_text())
    assert content["frames"] == [{"frame": 0, "picture": "frame-00000.jpg", "shown": outlined, "dense": None}]


def test_a_system_of_whole_frames_has_no_blocks() -> None:
    found = inspected(Outcome("cloud", 12, 12, 0, sent=12, computed=12), None)
    assert (found["active"], found["reused"]) == (None, None)
    assert found["sent"] == found["computed"] == set(range(12))
