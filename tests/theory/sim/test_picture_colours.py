"""Colours of pictures stay apart, for readers who see no red or no green as well."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
import yaml

from analysis.figures.pictures import COLOURS
from analysis.figures.styles import CYCLE, DASHES, MARKERS, Display, difference, lightness, run_styles
from sim.records.overlay import COLOURS as PATHS
from sim.records.overlay import STALE


def hexadecimal(rgb: tuple[int, int, int]) -> str:
    return "#{:02X}{:02X}{:02X}".format(*rgb)


def test_the_difference_is_that_of_cielab() -> None:
    assert difference("#123456", "#123456") == 0.0
    assert difference("#000000", "#FFFFFF") == pytest.approx(100.0, abs=0.1)  # L* from 0 to 100
    # Red and green of equal lightness: far apart for most, near for who sees no green (Machado et al. 2009).
    assert difference("#CC4444", "#7A7A00") < 30.0 < difference("#CC4444", "#4444CC")


@pytest.mark.parametrize(
    ("colours", "least"),
    [
        pytest.param(CYCLE, 25.0, id="runs"),
        pytest.param(tuple(COLOURS.values()), 20.0, id="paths and outcomes"),
        pytest.param(tuple(map(hexadecimal, (*PATHS.values(), STALE))), 18.0, id="overlay"),
    ],
)
def test_colours_of_one_picture_stay_apart(colours: tuple[str, ...], least: float) -> None:
    for one, other in itertools.combinations(colours, 2):
        assert difference(one, other) >= least, (one, other)


def test_the_systems_colours_stay_apart(repository: Path) -> None:
    displays = {
        path.stem: yaml.safe_load(path.read_text()).get("display", {})
        for path in (repository / "conf" / "system").glob("*.yaml")
    }
    colours = {name: display["colour"] for name, display in displays.items() if "colour" in display}
    assert len(colours) >= 6
    for one, other in itertools.combinations(colours, 2):
        assert difference(colours[one], colours[other]) >= 20.0, (one, other)


def test_systems_stay_apart_in_grey(repository: Path) -> None:
    """No two have one marker, and two of like lightness differ in their dashes."""
    displays = [
        yaml.safe_load(path.read_text()).get("display", {})
        for path in sorted((repository / "conf" / "system").glob("*.yaml"))
    ]
    shown = [display for display in displays if "colour" in display]
    assert all(display["dash"] in DASHES and display["marker"] in MARKERS for display in shown)
    for one, other in itertools.combinations(shown, 2):
        assert one["marker"] != other["marker"], (one, other)
        apart = abs(lightness(one["colour"]) - lightness(other["colour"]))
        assert one["dash"] != other["dash"] or apart >= 20.0, (one, other)


def test_what_a_yaml_does_not_say_follows_from_the_name_alone() -> None:
    (alone,) = run_styles([Display("mine")])
    unlike = next(one for one in CYCLE if difference(one, alone.colour) >= 25.0)
    beside = run_styles([Display("other", unlike, "long"), Display("mine"), Display("third", None, "short")])
    assert beside[1] == alone
    alike = run_styles([Display("other", alone.colour), Display("mine")])
    assert difference(alike[0].colour, alike[1].colour) >= 25.0
