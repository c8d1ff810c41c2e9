"""Pictures show a system as its YAML says, and any other by its name and in a colour of its own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from analysis.display import CYCLE, Display, run_colours, system_display
from analysis.pictures import draw_runs
from sim import run
from traces.errors import InputError


def kept_by(folder: Path, system: dict[str, object]) -> Path:
    """A run's folder with the configuration that Hydra keeps."""
    path = folder / ".hydra" / "config.yaml"
    path.parent.mkdir(parents=True)
    path.write_text(yaml.safe_dump({"system": system}))
    return folder


def test_a_run_remembers_how_its_system_is_shown(tmp_path: Path) -> None:
    own = {"display": {"label": "My system", "colour": "#123456"}}
    assert system_display(kept_by(tmp_path / "a", own), "mine") == Display("My system", "#123456")
    assert system_display(kept_by(tmp_path / "b", {"quality": 3}), "mine") == Display("mine")
    assert system_display(kept_by(tmp_path / "c", {"display": {"label": "My system"}}), "mine") == Display(
        "My system"
    )


def test_a_run_without_configuration_is_shown_as_the_yaml_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLUXSHARD_CONFIG", str(tmp_path))
    (tmp_path / "system").mkdir()
    (tmp_path / "system" / "mine.yaml").write_text("display:\n  colour: '#654321'\n")
    assert system_display(tmp_path / "run", "mine") == Display("mine", "#654321")
    assert system_display(tmp_path / "run", "no_such_system") == Display("no_such_system")


@pytest.mark.parametrize(
    ("display", "expected"),
    [
        ({"colour": "reddish"}, "display.colour: expected \"#rrggbb\" or none, found 'reddish'"),
        ({"colour": 7}, "display.colour"),
        ({"label": 7}, "display.label: expected a text, found 7"),
    ],
)
def test_what_cannot_be_shown_is_named(tmp_path: Path, display: dict[str, object], expected: str) -> None:
    folder = kept_by(tmp_path, {"display": display})
    with pytest.raises(InputError, match=expected) as raised:
        system_display(folder, "mine")
    assert str(raised.value).startswith(str(folder))


def test_every_run_has_a_colour_of_its_own() -> None:
    shown = [Display("a", CYCLE[0]), Display("b"), Display("a", CYCLE[0]), Display("c", "#000000")]
    colours = run_colours(shown)
    assert colours[0] == CYCLE[0]
    assert colours[3] == "#000000"
    assert len(set(colours)) == 4
    assert len(run_colours([Display("a")] * 30)) == 30


def test_the_picture_has_the_systems_label_and_colour(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = kept_by(tmp_path / "run", {"display": {"label": "My system", "colour": "#123456"}})
    record = run(["video=statistical", "frames=10"])
    record.frames.to_parquet(folder / "frames.parquet")
    (folder / "summary.json").write_text(json.dumps(record.summary))
    drawn: list[Figure] = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, part, **_: (drawn.append(figure), part.touch()))
    draw_runs([folder], tmp_path / "run.png")
    (line,) = drawn[0].axes[0].lines
    assert str(line.get_label()).startswith("My system")
    assert to_hex(line.get_color()) == "#123456"
