"""The pages beside the code: they exist, say what is there, and their commands run.

    python -m tests.golden.test_pages

writes the figures of the golden results into the systems' pages.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from dataclasses import MISSING, fields
from importlib import import_module
from pathlib import Path

import pytest
import yaml

from analysis.pages import TABLES, golden_results
from analysis.tables import mean_over_videos, summary_table, system_name
from sim import run
from sim.configuration import lookup, plugins

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = sorted(path.parent.name for path in ROOT.glob("*/__init__.py"))
SYSTEMS = sorted(path.parent.name for path in ROOT.glob("sim/systems/*/__init__.py"))
PAGES = [f"{package}/README.md" for package in PACKAGES] + [
    f"sim/systems/{name}/README.md" for name in SYSTEMS
]
OWN_TESTS = ("traces/README.md", "profiler/README.md")  # test_readme_traces.py runs their commands
PLACEHOLDER = re.compile(r"\b[A-Z]{2,}\b")  # in an argument: the user's own file, folder or name

CHEAPER = ("frames=3",)  # what makes a run cheap


def page(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def cells_of(line: str) -> list[str]:
    """The cells of a table's row; none of any other line."""
    return [cell.strip() for cell in line.strip("|").split(" | ")] if line.startswith("|") else []


def tables(text: str, first: str) -> list[list[dict[str, str]]]:
    """The page's tables whose first column has this heading, each row by heading."""
    found: list[list[dict[str, str]]] = []
    heads: list[str] = []
    for line in [*text.splitlines(), ""]:
        cells = cells_of(line)
        if not cells:
            heads = []
        elif not heads:
            heads = cells
            if heads[0] == first:
                found.append([])
        elif not line.startswith("|---") and heads[0] == first:
            found[-1].append(dict(zip(heads, cells, strict=True)))
    return found


def quoted(cell: str) -> list[str]:
    """What stands in backticks."""
    return re.findall(r"`([^`]+)`", cell)


def commands(name: str) -> list[list[str]]:
    """The commands of a page that need nothing of the user's: `$ python -m …` and `$ fluxshard …`."""
    blocks = re.findall(r"^```console\n(.*?)^```", page(name), flags=re.DOTALL | re.MULTILINE)
    lines = [shlex.split(line[2:], comments=True) for block in blocks for line in block.splitlines()]
    for words in lines:
        assert words[:2] == ["python", "-m"] or words[0] == "fluxshard", f"{name}: {shlex.join(words)}"
    return [words for words in lines if not PLACEHOLDER.search(" ".join(words))]


# -- what is there ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PAGES)
def test_every_package_and_every_system_has_a_page(name: str) -> None:
    assert (ROOT / name).is_file(), f"{name}: expected a page, found none"


@pytest.mark.parametrize("package", PACKAGES)
def test_a_page_names_the_rooms_that_there_are(package: str) -> None:
    (rows,) = tables(page(f"{package}/README.md"), "room")
    named = {name for row in rows for name in quoted(row["room"])}
    folder = ROOT / package
    for name in named:
        there = (folder / name).is_dir() if name.endswith("/") else (folder / f"{name}.py").is_file()
        assert there, f"{package}/README.md: names {name}, which is not there"
    rooms = {
        f"{path.name}/"
        for path in folder.iterdir()
        if path.is_dir() and any(file.suffix in (".py", ".yaml", ".json") for file in path.rglob("*"))
    }
    assert rooms - named == set(), f"{package}/README.md: does not name these rooms"


def test_the_glossary_points_to_what_exists() -> None:
    (rows,) = tables(page("GLOSSARY.md"), "word")
    assert len(rows) > 30
    for row in rows:
        for place in quoted(row["where"]):
            assert (ROOT / place).exists(), f"GLOSSARY.md: {row['word']}: no {place}"


@pytest.mark.parametrize("name", ["GLOSSARY.md", *PAGES])
def test_files_that_a_page_names_exist(name: str) -> None:
    """Whatever looks like a path from the root of the repository."""
    for place in re.findall(rf"`((?:{'|'.join(PACKAGES)})/[\w./-]+)`", page(name)):
        if "mybox" not in place:  # a device of the reader's
            assert (ROOT / place).exists(), f"{name}: no {place}"


# -- the systems' options ---------------------------------------------------------------------------


def options_of(system: str) -> dict[str, object]:
    """The fields of a system's `Options`, as YAML has them, with their defaults."""
    kind = plugins.load_class(lookup.read(lookup.find("system", system))["_target_"], system)
    found = fields(kind.Options)  # type: ignore[attr-defined]
    assert all(field.default is not MISSING for field in found)
    return {field.name: field.default for field in found}


@pytest.mark.parametrize("system", SYSTEMS)
def test_a_systems_page_lists_its_options(system: str) -> None:
    listed = tables(page(f"sim/systems/{system}/README.md"), "name")
    rows = listed[0] if listed else []
    expected = {}
    for path in sorted((ROOT / "conf" / "system").glob("*.yaml")):  # a folder may hold more than one system
        if lookup.read(path)["_target_"].startswith(f"sim.systems.{system}."):
            expected |= {name: value for name, value in options_of(path.stem).items() if name not in expected}
    assert {quoted(row["name"])[0]: yaml.safe_load(quoted(row["default"])[0]) for row in rows} == expected
    assert all(row["unit"] and row["meaning"] for row in rows)


@pytest.mark.parametrize(
    "path", sorted((ROOT / "conf" / "system").glob("*.yaml")), ids=lambda path: path.stem
)
def test_a_systems_yaml_has_its_options(path: Path) -> None:
    keys = {key: value for key, value in lookup.read(path).items() if key not in ("_target_", "display")}
    options = options_of(path.stem)
    assert list(keys) == list(options)
    if path.stem in SYSTEMS:  # the YAML named like the folder holds the defaults; others differ from them
        assert keys == options


# -- the figures ------------------------------------------------------------------------------------


def golden_row(experiment: str, system: str) -> dict[str, object]:
    results = golden_results(experiment)
    results = mean_over_videos(results) if TABLES[experiment].pooled else results
    for row in results.to_dict("records"):
        overrides = str(row.get("overrides", "")).split()
        if system_name(row, overrides) == system:
            return {str(key): value for key, value in row.items() if key != "overrides"}
    raise AssertionError(f"{experiment}: no row of {system}")


def with_figures(text: str) -> str:
    """A page with the rows of its tables of experiments as the golden results have them."""
    lines: list[str] = []
    heads: list[str] = []
    for line in text.splitlines():
        cells = cells_of(line)
        if cells and heads and heads[0] == "experiment" and not line.startswith("|---"):
            (experiment,), (system,) = quoted(cells[0]), quoted(cells[1])
            head, _, figures, *_ = summary_table([golden_row(experiment, system)], heads[2:]).splitlines()
            assert re.split(r"\s{2,}", head.strip()) == heads[2:]
            values = re.split(r"\s{2,}", figures.strip())
            line = f"| {' | '.join([*cells[:2], *values])} |"
        heads = (heads or cells) if cells else []
        lines.append(line)
    return "\n".join([*lines, ""])


@pytest.mark.parametrize("system", SYSTEMS)
def test_a_systems_figures_are_those_of_the_golden_tables(system: str) -> None:
    text = page(f"sim/systems/{system}/README.md")
    assert tables(text, "experiment")
    assert text == with_figures(text)


# -- the commands -----------------------------------------------------------------------------------


def run_apart(words: list[str], folder: Path) -> None:
    """Run `python -m …` in a process and folder of its own."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, *words],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, f"{shlex.join(words)}: {done.stderr or done.stdout}"


def run_command(words: list[str], folder: Path) -> None:
    """Run a command of a page, cheaply: fewer frames; of an experiment, no more than its configuration."""
    if words[0] == "fluxshard":
        run_apart(["-m", "conf.entry_point", *words[1:]], folder)
        return
    module, arguments = words[2], words[3:]
    shows = bool({"--help", "--cfg", "--info"} & set(arguments))
    if module == "pytest":
        run_apart([*words[1:], "--collect-only"], ROOT)
    elif shows:
        run_apart(words[1:], folder)
    elif module == "sim" and any(word.startswith("experiment=") for word in arguments):
        run_apart([*words[1:], "--cfg", "job"], folder)
    elif module == "sim" and any(word.startswith(("-", "hydra.")) for word in arguments):
        run_apart([*words[1:], *CHEAPER], folder)
    elif module == "sim":
        assert len(run([*arguments, *CHEAPER]).frames) > 0
    else:
        assert not import_module(f"{module}.__main__").main(arguments), shlex.join(words)


@pytest.mark.parametrize("name", [name for name in PAGES if name not in OWN_TESTS])
def test_the_commands_of_a_page_run(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = commands(name)
    assert found
    monkeypatch.chdir(tmp_path)
    for words in found:
        run_command(words, tmp_path)


def test_the_run_in_python_runs() -> None:
    (code,) = re.findall(r"^```python\n(.*?)^```", page("sim/README.md"), flags=re.DOTALL | re.MULTILINE)
    names: dict[str, object] = {}
    exec(compile(code.replace("frames=40", "frames=3"), "sim/README.md", "exec"), names)
    assert len(names["record"].frames) == 3  # type: ignore[attr-defined]


if __name__ == "__main__":
    for name in SYSTEMS:
        path = ROOT / "sim" / "systems" / name / "README.md"
        path.write_text(with_figures(path.read_text(encoding="utf-8")), encoding="utf-8")
