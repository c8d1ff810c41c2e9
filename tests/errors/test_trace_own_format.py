"""A trace format that a user brings: it reads, and what goes wrong in it names its own file and line."""

from __future__ import annotations

import importlib
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import yaml

from traces import InputError, RateTrace, TraceFormat, load_trace
from traces.bandwidth.loading import FORMATS

OWN_FORMAT = """
from dataclasses import dataclass
from own_helper import rates

from traces import InputError, RateTrace


class PerSecond:
    name = "per_second"
    expects = "one rate a line, a line a second"

    @dataclass(frozen=True)
    class Options:
        unit_bps: float = 1000.0

    def __init__(self, options):
        self.options = options

    def matches(self, sample_lines):
        return sample_lines[0].startswith("rate=")

    def read(self, path, direction, column):
        lines = path.read_text().split()
        rates_bps = [value * self.options.unit_bps for value in rates(lines)]
        if min(rates_bps) < 0:
            line = rates_bps.index(min(rates_bps)) + 1
            raise InputError(f"{path}, line {line}: expected a rate >= 0, found less")
        return RateTrace(path.name, range(len(lines)), rates_bps, len(lines))
"""
HELPER = """
def rates(lines):
    return [float(line.removeprefix("rate=")) for line in lines]
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A module outside the project, with a helper module beside it."""
    folder = tmp_path / "package"
    folder.mkdir()
    (folder / "own_helper.py").write_text(HELPER)
    (folder / "own_format.py").write_text(OWN_FORMAT)
    monkeypatch.syspath_prepend(folder)
    for name in ("own_format", "own_helper"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return importlib.import_module("own_format")


def _file(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "link.txt"
    path.write_text(text)
    return path


def _own(module: ModuleType, **options: float) -> TraceFormat:
    made: TraceFormat = module.PerSecond(module.PerSecond.Options(**options))
    return made


def _refused(path: Path, format: object) -> str:
    with pytest.raises(InputError) as caught:
        load_trace(path, format)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_reads_a_file_with_its_options(tmp_path: Path, module: ModuleType) -> None:
    path = _file(tmp_path, "rate=1000\nrate=3000\n")
    assert load_trace(path, _own(module)).mean_bps == 2e6
    assert load_trace(path, _own(module, unit_bps=1.0), mean_bps=7e3).mean_bps == pytest.approx(7e3)


def test_reads_binary_files(tmp_path: Path) -> None:
    class Packed:
        name = "packed"
        expects = "float32 rates, one a second"

        def matches(self, sample_lines: list[str]) -> bool:
            return sample_lines == ["RATE"]

        def read(self, path: Path, direction: str, column: str | None) -> RateTrace:
            rates_bps = np.frombuffer(path.read_bytes()[4:], np.float32).astype(np.float64)
            times_s = np.arange(float(rates_bps.size))
            return RateTrace(path.name, times_s, rates_bps, float(rates_bps.size))

    path = tmp_path / "link.bin"
    path.write_bytes(b"RATE" + np.array([0.0, 1e6], np.float32).tobytes())
    assert load_trace(path, Packed()).mean_bps == 5e5


def test_an_exception_names_the_format_the_file_and_the_authors_line(
    tmp_path: Path, module: ModuleType
) -> None:
    path = _file(tmp_path, "rate=1000\nrate=x\n")
    helper = Path(module.__file__ or "").with_name("own_helper.py")
    assert _refused(path, _own(module)) == (
        f"{path}: expected a trace from own_format.PerSecond.read, found {helper}, line 3: ValueError: could "
        "not convert string to float: 'x'"
    )
    assert "own_format.PerSecond.matches, found " in _refused(path, _broken(_own(module), "matches"))


def _broken(format: TraceFormat, method: str) -> TraceFormat:
    setattr(format, method, lambda *_: 1 // 0)
    return format


def test_its_own_input_error_is_left_alone(tmp_path: Path, module: ModuleType) -> None:
    path = _file(tmp_path, "rate=1000\nrate=-1\n")
    assert _refused(path, _own(module)) == f"{path}, line 2: expected a rate >= 0, found less"


def test_a_wrong_result_names_the_method(tmp_path: Path, module: ModuleType) -> None:
    path = _file(tmp_path, "rate=1\n")
    own = _own(module)
    own.read = lambda *_: 12  # type: ignore[method-assign,assignment,return-value]
    assert _refused(path, own) == (
        f"{path}: expected own_format.PerSecond.read to return an OpportunityTrace or a RateTrace, found 12"
    )


def test_a_file_of_a_built_in_format_is_refused(tmp_path: Path, module: ModuleType) -> None:
    assert "found '1', which looks like the mahimahi format" in _refused(
        _file(tmp_path, "1\n2\n"), _own(module)
    )


def test_a_class_or_an_object_without_the_methods_is_refused(tmp_path: Path, module: ModuleType) -> None:
    path = _file(tmp_path, "rate=1\n")
    assert "expected an object, PerSecond(options), found the class own_format.PerSecond" in _refused(
        path, module.PerSecond
    )
    assert "found builtins.object without name, expects, matches, read" in _refused(path, object())
    assert "format must be in (" in _refused(path, "per_second")


def test_built_in_formats_are_configured_like_any_other() -> None:
    folder = Path("conf/trace/format")
    assert {file.stem for file in folder.glob("*.yaml")} == set(FORMATS)
    for name, built_in in FORMATS.items():
        keys = yaml.safe_load((folder / f"{name}.yaml").read_text())
        cls = type(built_in)
        assert keys.pop("_target_") == f"{cls.__module__}.{cls.__qualname__}"
        assert isinstance(built_in, TraceFormat)
        options = cls.Options(**keys)  # type: ignore[attr-defined]
        assert cls(options).options == replace(options)  # type: ignore[call-arg,attr-defined]
