"""The kit's code is that of the project, in Python 3.8: nothing newer is left, and it says the same."""

from __future__ import annotations

import ast
import itertools
import json
import math
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from profiler.kit.archive import archived
from profiler.kit.carried import older_python
from profiler.kit.contents import (
    CARRIED,
    DESK,
    LEFT_OUT,
    OPTIONAL,
    PACKAGES,
    REQUIRED,
    ROOT,
    carried_modules,
    imports_of,
    is_left_out,
    kit_files,
    module_path,
)
from profiler.kit.lowering import CannotLower, check, lower
from tests.strategies.board import old_python

FUTURE = "from __future__ import annotations\n"


def run(source: str) -> dict[str, object]:
    names: dict[str, object] = {}
    source = source.replace("from older_python", "from profiler.kit.carried.older_python")
    exec(compile(source, "lowered", "exec"), names)
    return names


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("x = list(zip([1], [2], strict=True))", [(1, 2)]),
        ("x = list(zip([1, 3], [2], strict=False))", [(1, 2)]),
        ("from itertools import pairwise\nx = list(pairwise([1, 2, 3]))", [(1, 2), (2, 3)]),
        ("from math import lcm\nx = lcm(4, 6, 5)", 60),
        ("import math\nx = math.gcd(12, 18, 9)", 3),
        ("x = 'layer:a'.removeprefix('layer:')", "a"),
        ("x = f\"m.{'b.'}\".removesuffix('.')", "m.b"),
        ("from functools import cache, partial\n@cache\ndef f():\n    return 7\nx = f()", 7),
        ("x = set[int]()", set()),
        ("from collections.abc import Callable\nA = Callable[[int], str]\nx = 1", 1),
        ("A = tuple[int, ...]\nB = dict[str, A]\nx = 1", 1),
        ("A = int | None\nx = 1", 1),
        ("class A: pass\nclass B: pass\nC = (\n    A\n    | B\n    | A\n)\nx = 1", 1),
        (
            "from dataclasses import dataclass\n@dataclass(frozen=True, slots=True)\n"
            "class A:\n    b: int = 4\nx = A().b",
            4,
        ),
        ("from dataclasses import dataclass\n@dataclass(slots=True)\nclass A:\n    b: int = 4\nx = A().b", 4),
        ("def f(a: int | None, *, b: list[int] = [2]) -> dict[str, int]:\n    return b\nx = f(1)", [2]),
        ("x = {1, 2} | {3}", {1, 2, 3}),
        ("é = 'ä'; x = é.removeprefix('a') + 'ß'.removesuffix('ß')", "ä"),
    ],
)
def test_what_is_rewritten_means_the_same(written: str, value: object) -> None:
    lowered = lower(FUTURE + written, "here")
    assert lowered.count("\n") == (FUTURE + written).count("\n")  # a traceback names the project's own line
    ast.parse(lowered, feature_version=(3, 8))
    assert run(lowered)["x"] == run(FUTURE + written)["x"] == value


@pytest.mark.parametrize(
    ("written", "found"),
    [
        ("match 1:\n    case 1: pass", "expected syntax of Python 3.8"),
        ("from typing import TypeAlias", "from typing import TypeAlias"),
        ("with (open('a') as a, open('b') as b): pass", "here:2"),
        ("from pathlib import Path\nPath('a').is_relative_to('b')", ".is_relative_to"),
        ("from dataclasses import dataclass\n@dataclass(kw_only=True)\nclass A: pass", "kw_only="),
    ],
)
def test_what_is_not_rewritten_is_refused(written: str, found: str) -> None:
    with pytest.raises(CannotLower, match="here:") as error:
        lower(FUTURE + written, "here")
    assert found in str(error.value)


@given(st.lists(st.lists(st.integers(), max_size=4), min_size=1, max_size=3))
def test_the_strict_zip_is_the_one_of_later_pythons(rows: list[list[int]]) -> None:
    def outcome(zipped: object) -> object:
        try:
            return list(zipped(*rows))  # type: ignore[operator]
        except ValueError:
            return "of different lengths"

    assert outcome(older_python.strict_zip) == outcome(lambda *all_: zip(*all_, strict=True))


@given(st.lists(st.integers(-50, 50), min_size=1, max_size=4))
def test_helpers_are_those_of_later_pythons(numbers: list[int]) -> None:
    assert older_python.lcm(*numbers) == math.lcm(*numbers)
    assert older_python.gcd(*numbers) == math.gcd(*numbers)
    assert list(older_python.pairwise(numbers)) == list(itertools.pairwise(numbers))
    text, part = "".join(map(str, numbers)), str(numbers[0])
    assert older_python.removeprefix(text, part) == text.removeprefix(part)
    assert older_python.removesuffix(text, part) == text.removesuffix(part)


def test_every_module_of_the_kit_is_python_3_8() -> None:
    files = kit_files(None)
    modules = {path: content for path, content in files.items() if path.endswith(".py")}
    assert len(modules) > 100
    for path, content in modules.items():
        check(content.decode(), path)


def test_the_kit_imports_what_its_list_says_and_nothing_else() -> None:
    """At import torch and numpy alone; within functions what a board may have, and what only a desk calls."""
    modules = carried_modules()
    standard = _standard_library()
    for path in sorted(modules):
        for name, at_once in imports_of(ROOT / CARRIED.get(path, path)):
            top = name.split(".")[0]
            if top in PACKAGES:
                place = module_path(name)
                assert place is None or place in modules or is_left_out(name), f"{path} imports {name}"
                assert not (at_once and is_left_out(name) and place), (
                    f"{path} imports {name}, which is left out"
                )
            elif top in ("safetensors", "older_python"):
                assert f"{top}.py" in modules or f"{top}/__init__.py" in modules
            else:
                allowed = standard | set(REQUIRED) | (set() if at_once else {*OPTIONAL, *DESK})
                assert top in allowed or path == "kernels/ops/triton/fused.py", f"{path} imports {name}"


def _standard_library() -> set[str]:
    return set(sys.stdlib_module_names) - {"tomllib"}


def test_what_is_left_out_exists() -> None:
    assert [name for name in LEFT_OUT if module_path(name) is None] == []


def test_the_same_sources_make_the_same_bytes() -> None:
    first, second = (archived(kit_files("abc")) for _ in range(2))
    assert first == second
    assert len(first) < 2_000_000
    assert archived(kit_files("abd")) != first


def test_a_real_python_3_8_compiles_all_of_it() -> None:
    python = old_python()
    if python is None:
        pytest.skip("no Python 3.8 here: only its grammar was checked")
    program = (
        "import sys, json\n"
        "for path, text in json.load(sys.stdin).items(): compile(text, path, 'exec')\n"
        "print('compiled')"
    )
    sources = {path: one.decode() for path, one in kit_files(None).items() if path.endswith(".py")}
    done = subprocess.run([python, "-c", program], input=json.dumps(sources), capture_output=True, text=True)
    assert (done.stdout.strip(), done.stderr) == ("compiled", "")
