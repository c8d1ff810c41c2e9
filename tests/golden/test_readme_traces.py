"""The pages of traces/ and profiler/: their commands run, and their example of a format reads a file."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import pytest

import profiler.__main__
import traces.__main__
from profiler.latency import read_profile
from traces import load_trace


def commands(page: Path, program: str) -> list[list[str]]:
    """The arguments of every line `python -m <program> ...` in the page's code blocks."""
    blocks = re.findall(r"^```\n(.*?)^```", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    lines = [line for block in blocks for line in block.splitlines()]
    return [
        shlex.split(line, comments=True)[3:] for line in lines if line.startswith(f"python -m {program} ")
    ]


def test_the_commands_of_the_traces_page_run(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = commands(repository / "traces" / "README.md", "traces")
    assert {arguments[0] for arguments in found} == {"generate", "show", "convert", "get"}
    monkeypatch.chdir(tmp_path)
    for arguments in found:
        assert traces.__main__.main(arguments) == 0, arguments
    assert (tmp_path / "synthetic.csv.png").is_file()
    assert (tmp_path / "synthetic.up").is_file()


def test_the_example_of_a_format_reads_a_file(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = (repository / "traces" / "README.md").read_text(encoding="utf-8")
    code = re.search(r"^```python\n(.*?)^```", page, flags=re.DOTALL | re.MULTILINE)
    assert code is not None
    scope: dict[str, type] = {}
    exec(code.group(1), scope)
    format = scope["PerSecond"]
    path = tmp_path / "rates.txt"
    path.write_text("1000\n3000\n")
    assert load_trace(path, format(format.Options())).mean_bps == 2e6  # type: ignore[attr-defined]
    assert load_trace(path, format(format.Options(unit_bps=1.0))).mean_bps == 2e3  # type: ignore[attr-defined]


def test_the_commands_of_the_profiler_page_run(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = commands(repository / "profiler" / "README.md", "profiler")
    monkeypatch.chdir(tmp_path)
    measured = [arguments for arguments in found if arguments[0].startswith("model=")]
    assert measured  # tests/real/test_profiler_simulation.py measures
    others = [
        one
        for one in found
        if one not in measured
        and not any(word.startswith("out=prof") or "my_board" in word for word in one)  # a board has left it
    ]
    assert {one[0] for one in others} == {"codecs", "refit", "compare", "kit", "plan", "table"}
    own = tmp_path / "mybox"  # a device of the user's, measured before its codecs are
    own.mkdir()
    shutil.copy(repository / "conf" / "profile" / "epyc_zen5_1thread" / "default.yaml", own)
    quick = ["resolution=64", "clock=thread", "repeats=3", f"out={tmp_path}"]
    for arguments in others:
        if arguments[0] == "codecs":
            assert profiler.__main__.main([*arguments, *quick]) == 0, arguments
            table = read_profile(own / "default.yaml").codecs
            assert table is not None
            assert table.provenance["resolution_px"] == [64, 64]
            continue
        assert profiler.__main__.main(arguments) in (0, 3), arguments  # 3: a comparison may be undecided
    assert (tmp_path / "refit.yaml").is_file()
