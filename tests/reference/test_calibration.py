"""The fit to numbers that are not held out: it finds what a made-up world was made of; no others count."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd
import pytest
import yaml

from analysis.published.numbers import read_published
from analysis.reproduction.calibration import (
    DELAYS_S,
    GRID_DELAY_S,
    Fit,
    GridCell,
    Setting,
    Variant,
    fit,
    fitted_text,
    grid_of,
    reckoned,
    value_in,
    write_fitted,
)
from analysis.reproduction.experiments import Data
from analysis.reproduction.mapping import read_mapping

PAPER = "fluxshard_remap"
SYSTEMS = ("full_offload", "roi", "coach", "deltacnn", "fluxshard_remap")
TASKS = ("yolo11m-seg-1024", "yolo11m-1024")
SECONDS = {"jpeg": 0.08, "png": 0.30}  # what a frame of either codec takes, the delay of 25 ms included
TRUE = Setting(
    {system: Variant("png" if system == "full_offload" else "jpeg") for system in SYSTEMS},
    0.04,
)


@pytest.fixture(scope="module")
def grid():
    """Each system twice, by codec."""
    return {
        (system, Variant(codec), (task, level)): GridCell(
            latency_mean_s=seconds
            * (1 + 0.1 * place + 0.05 * (task == TASKS[1]) + 0.2 * (level == "medium")),
            critical_uplink_bps=8e6 * seconds * (1 + 0.3 * place),
            reuse_ratio_mean=0.1 + 0.15 * place,
            foreground_iou_mean=0.99 - 0.1 * place - 0.2 * (codec == "jpeg"),
            offload_ratio=1.0,
        )
        for place, system in enumerate(SYSTEMS)
        for codec, seconds in SECONDS.items()
        for task in TASKS
        for level in ("high", "medium")
    }


@pytest.fixture(scope="module")
def mapping():
    return read_mapping(PAPER, read_published(PAPER))


@pytest.fixture(scope="module")
def made_up(grid, mapping):
    """The paper's numbers, those that the grid answers for replaced by what the true setting gives."""
    world = reckoned(grid, TRUE)
    numbers = read_published(PAPER)
    for id in fit(grid, numbers, mapping).seen:
        numbers[id] = replace(numbers[id], value=value_in(world, mapping.quantities[id]))
    return numbers


def test_it_finds_the_setting_that_the_numbers_were_made_with(grid, mapping, made_up):
    found = fit(grid, made_up, mapping)
    assert found.setting == TRUE
    assert found.loss == pytest.approx(0.0, abs=1e-9)
    assert found.loss_before > 0.1
    assert len(found.seen) > 15
    assert "delay 40 ms one way" in fitted_text(found)


def test_it_sees_no_number_that_is_held_out(grid, mapping, made_up):
    """Whatever held-out numbers are, the fit is the same to the last digit."""
    found = fit(grid, made_up, mapping)
    assert not [id for id in found.seen if made_up[id].held_out]
    spoilt = {id: replace(one, value=one.value * 7) if one.held_out else one for id, one in made_up.items()}
    assert fit(grid, spoilt, mapping) == found


def test_it_looks_at_every_kind_and_at_no_number_that_another_contradicts(grid, mapping, made_up):
    seen = fit(grid, made_up, mapping).seen
    assert {mapping.quantities[id].kind for id in seen} == {"latency", "bytes", "ratio", "accuracy"}
    assert not [id for id in seen if made_up[id].contradicts or made_up[id].repeats]


def test_the_grid_runs_with_the_projects_own_delay(repository):
    """What is reckoned for another delay starts from it."""
    configured = yaml.safe_load((repository / "conf" / "config.yaml").read_text(encoding="utf-8"))
    assert configured["link"]["delay_s"] == configured["downlink"]["delay_s"] == GRID_DELAY_S


def test_a_delay_makes_results_later_both_ways_and_frames_rarer(grid):
    near, far = (reckoned(grid, Setting(TRUE.variants, delay_s)) for delay_s in (DELAYS_S[0], DELAYS_S[-1]))
    for place in near:
        one, other = near[place], far[place]
        assert other.latency_mean_s - one.latency_mean_s == pytest.approx(2 * (DELAYS_S[-1] - DELAYS_S[0]))
        # Bytes a frame are the same: rate times time.
        assert other.critical_uplink_bps * other.latency_mean_s == pytest.approx(
            one.critical_uplink_bps * one.latency_mean_s
        )


def test_a_grid_averages_replicates_and_tells_similarities_apart():
    plain = {
        "system": "coach",
        "model": "m",
        "swept.trace": "high",
        "system.codec": "png",
        "critical_uplink_bps": 1.0,
        "foreground_iou_mean": 0.9,
        "offload_ratio": 1.0,
    }
    runs = pd.DataFrame(
        [
            {**plain, "system.similarity": similarity, "latency_mean_s": seconds, "reuse_ratio_mean": 0.5}
            for similarity, seconds in ((0.96, 0.1), (0.96, 0.3), (0.99, 0.9))
        ]
        + [
            {
                **plain,
                "system": "roi",
                "system.similarity": None,
                "latency_mean_s": 0.5,
                "reuse_ratio_mean": 0.5,
            }
        ]
    )
    grid = grid_of(runs)
    assert {key: cell.latency_mean_s for key, cell in grid.items()} == {
        ("coach", Variant("png", 0.96), ("m", "high")): pytest.approx(0.2),
        ("coach", Variant("png", 0.99), ("m", "high")): 0.9,
        ("roi", Variant("png"), ("m", "high")): 0.5,
    }


def test_a_grid_tells_rules_of_salience_apart():
    plain = {
        "system": "fluxshard_remap",
        "model": "m",
        "swept.trace": "high",
        "system.codec": "jpeg",
        "latency_mean_s": 0.1,
        "critical_uplink_bps": 1.0,
        "reuse_ratio_mean": 0.5,
        "foreground_iou_mean": 0.9,
        "offload_ratio": 1.0,
    }
    rules = [("filter", 0.0), ("threshold", 16.0)]  # whole numbers become floats beside systems without
    runs = pd.DataFrame(
        [{**plain, "system.salience_rule": rule, "system.margin_px": margin} for rule, margin in rules]
    )
    assert [key[1] for key in grid_of(runs)] == [
        Variant("jpeg", None, "filter", 0),
        Variant("jpeg", None, "threshold", 16),
    ]


def test_what_was_fitted_is_written_as_a_choice_that_experiments_can_take(tmp_path):
    variants = {
        "coach": Variant("png", 0.99),
        "roi": Variant("raw"),
        "fluxshard_remap": Variant("jpeg", None, "threshold", 16),
    }
    setting = Setting(variants, 0.015)
    write_fitted(Fit(setting, 0.4, 0.9, ("a", "b")), Data(), tmp_path / "fitted.yaml")
    text = (tmp_path / "fitted.yaml").read_text(encoding="utf-8")
    assert text.startswith("# @package _global_\n")
    assert yaml.safe_load(text) == {
        "link": {"delay_s": 0.015},
        "downlink": {"delay_s": 0.015},
        "codec_time": "none",
        "experiment": {
            "codecs": {"coach": "png", "roi": "raw", "fluxshard_remap": "jpeg"},
            "similarity": {"coach": 0.99},
            "salience_rule": {"fluxshard_remap": "threshold"},
            "margin_px": {"fluxshard_remap": 16},
        },
    }
