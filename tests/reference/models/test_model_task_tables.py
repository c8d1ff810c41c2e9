"""The weights of the token and the keypoint network do what the committed tables and the page say."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from kernels.models.composed_scenes import HELD_OUT_SEEDS, MEASURED_FRAMES, labelled_objects
from kernels.models.evaluation.evaluate_tasks import measure_keypoints, measure_tokens
from kernels.models.network import KeypointSceneNetwork
from kernels.models.networks.keypoint_network import load_keypoint_network
from kernels.models.networks.token_network import load_token_network
from kernels.models.train_tasks import SIZES_PX, WEIGHTS

SEEDS = "+".join(str(seed) for seed in HELD_OUT_SEEDS)
PRESETS = ("calm", "walk", "drive")


def table(task: str) -> list[dict[str, str]]:
    with WEIGHTS[task].with_suffix(".csv").open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


@pytest.mark.parametrize("task", WEIGHTS)
def test_a_table_has_every_preset_and_size_on_held_out_scenes(task: str) -> None:
    assert len(table(task)) == len(PRESETS) * len(SIZES_PX[task])
    assert [row["preset"] for row in table(task)] == [p for p in PRESETS for _ in SIZES_PX[task]]
    assert {row["seeds"] for row in table(task)} == {SEEDS}
    assert {row["frames"] for row in table(task)} == {str(len(HELD_OUT_SEEDS) * len(MEASURED_FRAMES))}


def test_a_row_of_each_table_is_what_the_weights_give() -> None:
    """Versions of Pillow resize the photographs a little differently, which may turn a frame or two of 40."""
    asked = labelled_objects, "walk", HELD_OUT_SEEDS, MEASURED_FRAMES, 320
    own = {task: next(r for r in table(task) if r["preset"] == "walk") for task in WEIGHTS}
    tokens = measure_tokens(load_token_network(), *asked).row()
    assert float(tokens["top_1"]) == pytest.approx(float(own["tokens"]["top_1"]), abs=0.06)
    assert tokens["commonest"] == own["tokens"]["commonest"]
    threshold = KeypointSceneNetwork.Options().score_threshold
    keypoints = measure_keypoints(load_keypoint_network(), *asked, threshold).row()
    assert keypoints["keypoints"] == own["keypoints"]["keypoints"]
    assert float(keypoints["f1"]) == pytest.approx(float(own["keypoints"]["f1"]), abs=0.03)


def test_networks_are_worth_more_than_a_guess() -> None:
    for row in table("tokens"):
        assert float(row["top_1"]) > float(row["commonest"]) + 0.15, row
        assert float(row["clear_top_1"]) >= float(row["top_1"]) - 0.02, row
    assert min(float(row["f1"]) for row in table("keypoints")) > 0.5


@pytest.mark.parametrize("task", WEIGHTS)
def test_the_page_shows_the_table(task: str, repository: Path) -> None:
    text = (repository / "kernels" / "README.md").read_text(encoding="utf-8")
    begin, end = f"<!-- {task} table -->\n", f"<!-- end of {task} table -->"
    assert text.partition(begin)[2].partition(end)[0] == shown(table(task))


def shown(rows: list[dict[str, str]]) -> str:
    """The table as the page has it."""
    names = [name for name in rows[0] if name not in ("seeds", "frames")]
    lines = [names, ["---"] * len(names), *([cell(row[name]) for name in names] for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def cell(value: str) -> str:
    return f"{float(value):.3f}" if "." in value else value.replace("x", "×")


@pytest.mark.parametrize("task", WEIGHTS)
def test_weights_are_small_enough_to_ship(task: str) -> None:
    assert WEIGHTS[task].stat().st_size < 300_000
