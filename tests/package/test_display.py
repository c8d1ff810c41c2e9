"""Pictures show a system as its YAML says, and any other by its name and in a colour of its own."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import yaml
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from analysis.display import CYCLE, Display, run_colours, system_display
from analysis.pictures import draw_runs
from sim import __main__ as command_line
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
        ({"color": "#123456"}, "display.color: expected one of label, colour, found 'color'"),
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


def test_a_wrong_display_is_refused_before_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "system").mkdir()
    text = "_target_: sim.systems.edge_only.EdgeOnly\ndisplay:\n  colour: reddish\n"
    (tmp_path / "system" / "mine.yaml").write_text(text)
    folder = tmp_path / "run"
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    monkeypatch.setattr(
        sys, "argv", ["sim", "--config-dir", str(tmp_path), "system=mine", f"hydra.run.dir={folder}"]
    )
    with pytest.raises(SystemExit) as ended:
        command_line.main()
    assert ended.value.code == command_line.BAD_INPUT
    assert capsys.readouterr().err == (
        "error: system.display.colour: expected \"#rrggbb\" or none, found 'reddish'\n"
    )
    assert not (folder / "frames.parquet").exists()


@pytest.mark.filterwarnings("error")
def test_results_that_are_all_equally_late_have_a_picture(tmp_path: Path) -> None:
    """Equal but for rounding, which a logarithmic axis cannot resolve."""
    record = run(["video=statistical", "frames=4", "system=edge_only", "arrival=closed_loop"])
    record.frames["latency_s"] = [0.02222768, 0.02222768, 0.02222768, 0.022227679999999986]
    record.frames.to_parquet(tmp_path / "frames.parquet")
    (tmp_path / "summary.json").write_text(json.dumps(record.summary))
    draw_runs([tmp_path], tmp_path / "run.png")
    assert (tmp_path / "run.png").is_file()
