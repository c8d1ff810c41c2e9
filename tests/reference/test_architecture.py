"""Which folder may import which, and what must not be loaded by importing one."""

from __future__ import annotations

import ast
import re
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
    # Reads result files: no object of the simulation. How an interval is made is said in one place.
    "analysis": ("traces.errors", "conf.search_path", "sim.records.intervals"),
    "conf": (),
}
# Two may reach further: a command, which shows what it has written (analysis reads the files), and what the
# small networks are trained and measured on, which only commands and benchmarks import.
COMMANDS = {
    "sim/__main__.py": ("analysis",),
    "kernels/models/composed_scenes.py": ("traces.video.scenes.scene",),
}
# Package → its rooms, lowest first: a room imports from earlier lines only, not from its own line.
LAYERS = {
    "traces": (("errors", "notices"), ("bandwidth", "video", "downloads"), ("__main__",)),
    "kernels": (
        ("ops", "allocator", "similarity", "torch_versions"),
        ("motion", "executor"),
        ("codecs",),
        ("models",),
        ("bench",),
        ("__main__",),
    ),
    "kernels.executor": (
        ("graph",),
        ("plan",),
        ("state",),
        ("certificates", "reports"),
        ("policies",),
        ("calibration", "samples", "arguments"),
        ("executor", "cuda_graph"),
    ),
    "profiler": (
        ("latency", "options"),
        ("fit", "plan", "split_table", "published"),
        ("measure",),
        ("compare", "refit", "codecs"),
        ("kit",),
        ("report",),
        ("run",),
        ("__main__",),
    ),
    "sim": (
        ("physics", "records", "schedulers", "shared_work"),
        ("world", "configuration"),
        ("accuracy",),
        ("components",),
        ("systems", "assembly", "record_statistics"),
        ("command",),
        ("__main__",),
    ),
    "analysis": (
        ("settings",),
        ("replicates",),
        ("results",),
        ("tables", "idle_seeds"),
        ("comparison", "published"),
        ("figures", "pages"),
        ("capacity", "report", "reproduction"),
        ("commands",),
        ("__main__",),
    ),
    "sim.components": (
        ("context", "message_sizes", "payload", "server_memory", "splits", "turns", "frame_encoders"),
        ("blocks", "message_chain"),
        ("path_costs", "frame_offload", "deltas"),
        ("synchronisation",),
        ("both_paths",),
        ("motion_reuse",),
    ),
}
# Room → all that it may import from other packages, where that is less than its package may.
NARROWER = {
    "sim/physics": ("traces.bandwidth", "traces.errors"),  # no word of video
    "sim/schedulers": ("profiler.latency",),
    "sim/world": ("profiler.latency", "traces.errors", "traces.notices"),
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


def module_name(path, repository):
    parts = list(path.relative_to(repository).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def import_graph(repository, folders=FOLDERS):
    """Every module with the modules of the project that it imports, wherever in it."""
    paths = {
        module_name(path, repository): path
        for folder in folders
        for path in (repository / folder).rglob("*.py")
    }
    graph = {}
    for name, path in paths.items():
        wanted = graph[name] = set()
        for _, module, taken in imported_modules(path, repository):
            members = {f"{module}.{one}" for one in taken} & paths.keys()
            wanted |= members
            if module in paths and len(members) < max(1, len(taken)):
                wanted.add(module)
        wanted.discard(name)
    return graph


def circles(graph):
    """Groups of nodes that reach each other (Tarjan's strongly connected components)."""
    index, low, stack, found = {}, {}, [], []

    def visit(node):
        index[node] = low[node] = len(index)
        stack.append(node)
        for other in sorted(graph.get(node, ())):
            if other not in index:
                visit(other)
                low[node] = min(low[node], low[other])
            elif other in stack:
                low[node] = min(low[node], index[other])
        if low[node] == index[node]:
            group = stack[stack.index(node) :]
            del stack[stack.index(node) :]
            if len(group) > 1:
                found.append(sorted(group))

    for node in sorted(graph):
        if node not in index:
            visit(node)
    return found


def rooms(graph, folder):
    """The import graph of a folder's entries: modules, and folders as one node each."""
    depth = folder.count(".") + 2
    within = {name: ".".join(name.split(".")[:depth]) for name in graph if name.startswith(f"{folder}.")}
    return {
        room: {
            within[other]
            for name, own in within.items()
            if own == room
            for other in graph[name]
            if within.get(other, room) != room
        }
        for room in within.values()
    }


def test_no_modules_import_each_other_in_a_circle_of_any_length(repository):
    assert circles(import_graph(repository)) == []


def test_within_every_folder_the_arrows_run_one_way(repository):
    graph = import_graph(repository)
    folders = {name.rpartition(".")[0] for name in graph if "." in name}
    assert {folder: found for folder in sorted(folders) if (found := circles(rooms(graph, folder)))} == {}


@pytest.mark.parametrize("package", LAYERS)
def test_a_room_imports_from_lower_ones_only(package, repository):
    height = {room: level for level, line in enumerate(LAYERS[package]) for room in line}
    graph = rooms(import_graph(repository), package)
    assert {name.rpartition(".")[2] for name in graph} == set(height), "a room without a place"
    wrong = [
        f"{room} imports {other}"
        for room, wanted in graph.items()
        for other in wanted
        if height[room.rpartition(".")[2]] <= height[other.rpartition(".")[2]]
    ]
    assert wrong == []


@pytest.mark.parametrize("room", NARROWER)
def test_what_a_room_knows_of_other_packages(room, repository):
    wrong = [
        f"{path.relative_to(repository)}:{line}: imports {module}"
        for path in sorted((repository / room).rglob("*.py"))
        for line, module, names in sorted(imported_modules(path, repository))
        if module.split(".")[0] in set(FOLDERS) - {room.split("/")[0]}
        and not lies_in(module, names, NARROWER[room])
    ]
    assert wrong == []


def test_circles_are_found_however_they_are_hidden(tmp_path):
    (tmp_path / "sim" / "room").mkdir(parents=True)
    for name, text in {
        "__init__.py": "",
        "a.py": "def f():\n    from sim.room import b\n",
        "room/__init__.py": "",
        "room/b.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from sim.c import C\n",
        "c.py": "from sim.room.d import x\n",
        "room/d.py": "import sim.a\n",
    }.items():
        (tmp_path / "sim" / name).write_text(text)
    graph = import_graph(tmp_path, ["sim"])
    assert circles(graph) == [["sim.a", "sim.c", "sim.room.b", "sim.room.d"]]
    assert circles(rooms(graph, "sim")) == [["sim.a", "sim.c", "sim.room"]]


def tracked(repository):
    """Every file of the project, built and hidden ones left out."""
    return [
        path
        for folder in (*FOLDERS, "tests")
        for path in sorted((repository / folder).rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts and path.suffix not in (".nbi", ".nbc")
    ]


def test_a_level_has_at_most_sixteen_entries(repository):
    levels = {}
    for path in tracked(repository):
        for place in path.relative_to(repository).parents:
            if place != place.parent:
                levels.setdefault(str(place.parent), set()).add(place.name)
        if path.name not in ("__init__.py", "py.typed"):
            levels.setdefault(str(path.parent.relative_to(repository)), set()).add(path.name)
    # One entry a system, and the names that a user can choose from are as many as they are.
    open_ended = ("sim/systems", "conf/system", "conf/model", "conf/profile", "conf/experiment")
    crowded = {place: len(names) for place, names in levels.items() if len(names) > 16}
    assert {place: count for place, count in crowded.items() if place not in open_ended} == {}


def test_a_module_stays_under_450_lines(repository):
    long = {
        str(path.relative_to(repository)): lines
        for path in tracked(repository)
        if path.suffix == ".py" and path.relative_to(repository).parts[0] != "tests"
        for lines in [len(path.read_text(encoding="utf-8").splitlines())]
        if lines >= 450
    }
    assert long == {}


def test_a_class_name_means_one_class(repository):
    """Private ones aside, and the nested options of classes that a YAML names."""
    places = {}
    for folder in FOLDERS:
        for path in sorted((repository / folder).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.ClassDef) and node.name != "Options" and node.name[0] != "_":
                    places.setdefault(node.name, []).append(str(path.relative_to(repository)))
    assert {name: paths for name, paths in places.items() if len(paths) > 1} == {}


def test_no_module_outside_a_systems_own_folder_names_it(repository):
    names = sorted(path.stem for path in (repository / "conf" / "system").glob("*.yaml"))
    assert names
    word = re.compile(rf"\b({'|'.join(map(re.escape, names))})\b", re.IGNORECASE)
    wrong = [
        f"{path.relative_to(repository)}:{number}: {found[0]}"
        for folder in FOLDERS
        for path in sorted((repository / folder).rglob("*.py"))
        if path.relative_to(repository).parts[:2] != ("sim", "systems")
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if (found := word.search(line))
    ]
    assert wrong == []


def test_no_system_names_another(repository):
    """Each is built from shared parts: the only arrows out of a system's folder lead down."""
    graph = import_graph(repository)
    wrong = [
        f"{name} imports {other}"
        for name, wanted in graph.items()
        if name.startswith("sim.systems.")
        for other in wanted
        if other.startswith("sim.systems.") and other.split(".")[2] != name.split(".")[2]
    ]
    assert wrong == []
