"""A package outside the project brings one of everything, and runs through YAMLs alone."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from sim import run
from tests.strategies.own_package import RUNS, overrides, write_own_package


@pytest.mark.parametrize("chosen", RUNS, ids=lambda chosen: chosen[0])
def test_a_run_needs_nothing_but_yamls(chosen: tuple[str, ...], tmp_path: Path, repository: Path) -> None:
    folder = write_own_package(tmp_path)
    command = [sys.executable, "-m", "sim", "--config-dir", str(folder), *overrides(folder, chosen)]
    done = subprocess.run(
        [*command, f"hydra.run.dir={tmp_path / 'out'}"], cwd=repository, capture_output=True, text=True
    )
    assert done.returncode == 0
    # All that is said: of no device is known how long it codes blocks that are squeezed.
    squeezed = "payload.codec=squeeze" in chosen
    assert done.stderr.splitlines() == [
        f"note: codec_time: the profile of yolo11m-seg on {device} does not say how long it takes to encode "
        "or decode 'squeeze_blocks', which is taken to be no time; codecs.yaml beside it may "
        "say it"
        for device in ("jetson_xavier_nx", "rtx_3080")
        if squeezed
    ]
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["system"] == chosen[0].partition("=")[2]
    assert summary["frames_completed"] >= 2
    assert summary["trace"] == "uplink.txt"


def test_its_server_half_decides_what_is_measured(tmp_path: Path) -> None:
    folder = write_own_package(tmp_path)
    record = run(overrides(folder, RUNS[0]), config_dir=folder)
    assert record.summary["network"] == "bright"
    assert record.summary["model"] == "bright"
    # Half of the rows are copies of their neighbours: nearly right, and not quite.
    assert 0.8 < record.summary["measured_accuracy_mean"] < 1.0
    sizes = record.frames["uplink_bytes"]
    assert (sizes[record.frames["outcome"] == "completed"] < 640 * 640 * 3 / 2).all()


@pytest.mark.filterwarnings("ignore:codec_time")
def test_its_radio_and_its_scheduler_are_in_the_records(tmp_path: Path) -> None:
    """A scheduler that looks at one path only leaves the other unknown; a radio's states are columns."""
    folder = write_own_package(tmp_path)
    record = run(overrides(folder, RUNS[1]), config_dir=folder)
    (camera,) = record.cameras.to_dict("records")
    assert record.summary["radio"] == "lamp"
    assert 0.0 < camera["radio_on_s"] < record.summary["simulated_s"]
    assert record.summary["radio_energy_j"] == pytest.approx(3.0 * camera["radio_on_s"])
    decided = record.frames[record.frames["decided_path"].notna()]
    assert len(decided) > 0
    assert decided["predicted_latency_s"].notna().all()
    assert decided[["predicted_other_latency_s", "predicted_other_ea"]].isna().all(axis=None)


def test_its_randomness_follows_the_seed(tmp_path: Path) -> None:
    folder = write_own_package(tmp_path)
    first, again, other = (
        run(
            ["system=stripes", "accuracy=coverage", "frames=5", f"seed={seed}", "video.seed=1"],
            config_dir=folder,
        ).frames
        for seed in (1, 1, 2)
    )
    assert first.equals(again)
    assert not first["edge_compute_s"].equals(other["edge_compute_s"])


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("yield 5", "expected yield of what a method of world returned, found 5"),
        ("yield from self.deeper()", "expected yield of what a method of world returned, found nothing"),
        ("return 3", "expected Wrong.process to yield what it asks of the world"),
        ("yield world.infer_cloud_dense(); return 3", "expected Wrong.process to return an Outcome"),
    ],
)
def test_a_system_that_breaks_the_rules_is_told_where(body: str, message: str, tmp_path: Path) -> None:
    module = f"wrong_{abs(hash(body))}"
    (tmp_path / f"{module}.py").write_text(
        "from dataclasses import dataclass\n\n\nclass Wrong:\n    @dataclass(frozen=True)\n"
        "    class Options:\n        pass\n\n    def __init__(self, context, options):\n        pass\n\n"
        "    def deeper(self):\n        yield 'nothing'\n\n"
        f"    def process(self, frame, world):\n        {body}\n"
    )
    (tmp_path / "system").mkdir()
    (tmp_path / "system" / "wrong.yaml").write_text(f"_target_: {module}.Wrong\n")
    with pytest.raises(ValueError, match=message) as caught:
        run(["system=wrong", "accuracy=coverage", "frames=3"], config_dir=tmp_path)
    place = {"yield 5": 16, "yield from self.deeper()": 13}.get(body, 15)
    assert str(caught.value).startswith(f"{tmp_path / module}.py:{place}: ")


@pytest.mark.parametrize("bound", [1, 4])
@pytest.mark.parametrize("forgotten", ["world.send(", "world.infer_cloud_dense(", "world.reply("])
def test_a_forgotten_yield_is_no_faster_system(forgotten: str, bound: int, tmp_path: Path) -> None:
    """Work that is asked for and not waited for would be booked, and take no time."""
    folder = write_own_package(tmp_path)
    path = folder / "camera_lab" / "stripes.py"
    text = path.read_text().replace(f"yield {forgotten}", forgotten).replace("= 2\n", f"= {bound}\n")
    path.write_text(text)
    with pytest.raises(ValueError, match=r"stripes\.py:\d+: expected `yield` before everything"):
        run(["system=stripes", "accuracy=coverage", "frames=6"], config_dir=folder)


def test_two_things_at_once_are_waited_for_together(tmp_path: Path) -> None:
    folder = write_own_package(tmp_path)
    path = folder / "camera_lab" / "stripes.py"
    together = "yield world.work_edge(0.01) & world.send(len(data))"
    text = path.read_text().replace("yield world.send(len(data))", together)
    assert together in text
    path.write_text(text)
    assert (
        run(["system=stripes", "accuracy=coverage", "frames=6"], config_dir=folder).summary[
            "frames_completed"
        ]
        >= 2
    )
