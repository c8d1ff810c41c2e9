"""Pictures show a system as its YAML says, and any other by its name and in a colour of its own."""

from __future__ import annotations

import itertools
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from analysis.figures.display import system_display
from analysis.figures.pictures import MOST_RUNS, check_format, draw_runs
from analysis.figures.styles import Display, run_styles
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
        ({"color": "#123456"}, "display.color: expected one of label, colour, dash, marker, found 'color'"),
        ({"dash": "wavy"}, "display.dash: expected one of solid, dashed, .* found 'wavy'"),
        ({"marker": "x"}, "display.marker: expected one of circle, square, .* found 'x'"),
    ],
)
def test_what_cannot_be_shown_is_named(tmp_path: Path, display: dict[str, object], expected: str) -> None:
    folder = kept_by(tmp_path, {"display": display})
    with pytest.raises(InputError, match=expected) as raised:
        system_display(folder, "mine")
    assert str(raised.value).startswith(str(folder))


def test_every_run_has_a_style_of_its_own() -> None:
    shown = [Display("a", "#D55E00"), Display("b"), Display("a", "#D55E00"), Display("c", "#000000")]
    styles = run_styles(shown)
    assert (styles[0].colour, styles[0].dashes) == ("#D55E00", "solid")
    assert (styles[3].colour, styles[3].dashes) == ("#000000", "solid")
    assert len({style.colour for style in styles}) == 4
    for same in (Display("a"), Display("a", "#123456")):
        assert len(set(run_styles([same] * MOST_RUNS))) == MOST_RUNS


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


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """The figures that are drawn instead of written."""
    figures: list[Figure] = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, part, **_: (figures.append(figure), part.touch()))
    return figures


def runs_in(folder: Path, values: Sequence[str], **same: object) -> list[Path]:
    """Runs that all gave the same frames, with different values of trace.path."""
    record = run(["video=statistical", "frames=10"])
    folders = []
    for number, value in enumerate(values):
        run_folder = kept_by(folder / str(number), {"display": {"label": "Mine"}})
        (run_folder / ".hydra" / "overrides.yaml").write_text(yaml.safe_dump([f"trace.path='{value}'"]))
        frames = record.frames.assign(latency_s=record.frames["latency_s"] * (1 if same else 1 + number / 99))
        frames.to_parquet(run_folder / "frames.parquet")
        (run_folder / "summary.json").write_text(json.dumps({**record.summary, "trace": "a.csv"}))
        folders.append(run_folder)
    return folders


def test_long_paths_leave_room_for_the_curves(tmp_path: Path, drawn: list[Figure]) -> None:
    base = "/a/very/long/way/" + "down/" * 30
    folders = runs_in(tmp_path, [f"{base}{name}/{'x' * 90}{name}.csv" for name in ("one", "two", "three")])
    draw_runs(folders, tmp_path / "runs.png")
    (figure,) = drawn
    figure.canvas.draw()
    curve, strip = figure.axes
    for axes in (curve, strip):
        assert axes.get_position().width * figure.get_figwidth() > 4.0
    labels = [text.get_text() for text in strip.get_yticklabels()]
    assert len(set(labels)) == 3
    assert all("down" not in label and "one" in label for label in labels[:1])
    for texts in (strip.get_yticklabels(), curve.get_xticklabels()):
        boxes = [text.get_window_extent() for text in texts if text.get_text()]
        assert not any(a.overlaps(b) for a, b in itertools.combinations(boxes, 2))


def test_identical_curves_are_one_line_and_said_to_be(tmp_path: Path, drawn: list[Figure]) -> None:
    draw_runs(runs_in(tmp_path, ["a.csv", "b.csv", "c.csv"], same=True), tmp_path / "runs.png")
    lines = [line for line in drawn[0].axes[0].lines if len(line.get_xdata())]
    assert [line.get_linewidth() for line in lines] == [1.5]
    legend = [text.get_text() for text in drawn[0].axes[0].get_legend().get_texts()]
    assert ["same curve" in text for text in legend] == [False, True, True]


def test_more_runs_than_can_be_told_apart_are_left_out_and_said(tmp_path: Path, drawn: list[Figure]) -> None:
    folders = runs_in(tmp_path, [f"{number}.csv" for number in range(MOST_RUNS + 3)])
    draw_runs(folders, tmp_path / "runs.png")
    curve, _ = drawn[0].axes
    assert len(curve.lines) == MOST_RUNS
    assert len({(line.get_color(), str(line._dash_pattern)) for line in curve.lines}) == MOST_RUNS  # type: ignore[attr-defined]
    assert f"the first {MOST_RUNS} of {MOST_RUNS + 3} runs" in curve.get_title()


@pytest.mark.parametrize("spread", [1.001, 1.5, 3.0, 30.0, 3e3, 3e6])
def test_numbers_at_the_latency_axis_have_room(tmp_path: Path, drawn: list[Figure], spread: float) -> None:
    (folder,) = runs_in(tmp_path, ["a.csv"])
    frames = pd.read_parquet(folder / "frames.parquet")
    frames["latency_s"] = np.geomspace(0.0123, 0.0123 * spread, len(frames))
    frames["outcome"] = "completed"
    frames.to_parquet(folder / "frames.parquet")
    draw_runs([folder], tmp_path / "runs.png")
    drawn[0].canvas.draw()
    axes = drawn[0].axes[0]
    low, high = axes.get_xlim()
    within = [
        text for text in axes.get_xticklabels() if text.get_text() and low <= text.get_position()[0] <= high
    ]
    boxes = [text.get_window_extent().padded(1) for text in within]
    assert len(boxes) >= 2
    assert not any(a.overlaps(b) for a, b in itertools.combinations(boxes, 2))


@pytest.mark.parametrize(("suffix", "magic"), [("png", b"\x89PNG"), ("pdf", b"%PDF"), ("svg", b"<?xml")])
def test_a_picture_is_what_its_suffix_says(tmp_path: Path, suffix: str, magic: bytes) -> None:
    target = tmp_path / "made on the way" / f"picture.{suffix}"
    draw_runs(runs_in(tmp_path, ["a.csv"]), target)
    assert target.read_bytes().startswith(magic)


@pytest.mark.parametrize("name", ["picture", "picture.txt", "picture.png.part"])
def test_another_suffix_is_refused(name: str) -> None:
    with pytest.raises(InputError, match=rf"--picture: expected a file that ends in one of .*found '{name}'"):
        check_format(Path(name))
