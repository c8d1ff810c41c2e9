"""Which folder may import which, and what must not be loaded by importing one."""

from __future__ import annotations

import ast
import subprocess
import sys

import pytest

FOLDERS = ("traces", "kernels", "profiler", "sim", "analysis", "conf")

# Folder → modules it may import of the project's others; a name covers everything below it.
ALLOWED = {
    "traces": ("conf.search_path",),
    "kernels": ("conf.search_path",),
    "profiler": ("kernels", "traces", "conf.search_path"),
    "sim": ("traces", "kernels", "profiler.latency", "conf.search_path", "conf.version"),
    "analysis": ("traces.errors", "conf.search_path"),  # reads result files: no object of the simulation
    "conf": (),
}
# Commands, which nothing imports, may reach further: one shows what it has written (analysis reads the
# files), one trains the default network on the embedded scenes.
COMMANDS = {
    "sim/__main__.py": ("analysis",),
    "kernels/models/train_default.py": ("traces.video.scenes.scene",),
}
HEAVY = ("torch", "numba", "av", "skimage", "matplotlib", "pandas")


def imported_modules(path, repository):
    """Every module that a file imports, wherever in it; ``from a import b`` counts as a and as a.b."""
    package = path.relative_to(repository).with_suffix("").parts[:-1]
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), filename=str(path))):
        if isinstance(node, ast.Import):
            found |= {(node.lineno, alias.name, ()) for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            origin = [*package[: len(package) + 1 - node.level]] if node.level else []
            module = ".".join([*origin, *([node.module] if node.module else [])])
            found.add((node.lineno, module, tuple(alias.name for alias in node.names)))
    return found


def lies_in(module, names, allowed):
    """Whether an import stays within what is allowed: the module itself, or each name taken from it."""
    if any(module == name or module.startswith(f"{name}.") for name in allowed):
        return True
    return bool(names) and all(f"{module}.{name}" in allowed for name in names)


@pytest.mark.parametrize("folder", FOLDERS)
def test_imports_point_one_way(folder, repository):
    wrong = [
        f"{path.relative_to(repository)}:{line}: imports {module}"
        for path in sorted((repository / folder).rglob("*.py"))
        for line, module, names in sorted(imported_modules(path, repository))
        if module.split(".")[0] in {*FOLDERS, "tests"} - {folder}
        and not lies_in(module, names, ALLOWED[folder] + COMMANDS.get(str(path.relative_to(repository)), ()))
    ]
    assert wrong == []


def test_only_the_commands_know_hydra(repository):
    """The library below them takes frozen dataclasses; what Hydra itself calls is in hydra_*.py files."""
    wrong = [
        f"{path.relative_to(repository)}:{line}: imports {module}"
        for folder in FOLDERS
        for path in sorted((repository / folder).rglob("*.py"))
        if path.name != "__main__.py" and not path.name.startswith("hydra_")
        for line, module, _ in sorted(imported_modules(path, repository))
        if module.split(".")[0] == "hydra"
    ]
    assert wrong == []


@pytest.mark.parametrize(
    "folder", ["traces", "kernels", "profiler", "profiler.latency", "sim", "sim.schedulers"]
)
def test_importing_a_package_loads_nothing_heavy(folder, repository):
    script = f"import sys, {folder}; print(*sorted(set({HEAVY!r}) & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=repository,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout.split(), done.stderr) == (0, [], "")


def test_a_folder_is_a_package_of_its_name(repository):
    assert [folder for folder in FOLDERS if not (repository / folder / "__init__.py").is_file()] == []
    assert [
        folder for folder in ("sim", "traces", "profiler") if not (repository / folder / "py.typed").is_file()
    ] == []


def test_the_two_ways_an_arrow_could_be_hidden_are_seen(tmp_path):
    """The check itself: relative imports resolve, and a name taken from a package counts as a module."""
    (tmp_path / "sim").mkdir()
    module = tmp_path / "sim" / "a.py"
    module.write_text(
        "from ..profiler import fit\nfrom profiler import latency\ndef f():\n    import analysis.x\n"
    )
    assert imported_modules(module, tmp_path) == {
        (1, "profiler", ("fit",)),
        (2, "profiler", ("latency",)),
        (4, "analysis.x", ()),
    }
    assert lies_in("profiler", ("latency",), ALLOWED["sim"])
    assert not lies_in("profiler", ("fit",), ALLOWED["sim"])
    assert not lies_in("analysis.x", (), ALLOWED["sim"])
