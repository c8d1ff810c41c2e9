"""The command ``fluxshard`` starts the others by name."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from conf.entry_point import COMMANDS, main


def test_help_lists_the_commands(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    assert all(command in text for command in COMMANDS)
    assert main([]) == 2
    assert main(["--version"]) == 0


def test_an_unknown_command_ends_with_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["profile"])
    assert ended.value.code == 2
    assert "did you mean profiler?" in capsys.readouterr().err


def test_arguments_reach_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["fluxshard"])
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    assert main(["sim", "video=statistical", "frames=3", f"hydra.run.dir={tmp_path}"]) is None
    assert json.loads((tmp_path / "summary.json").read_text())["frames_captured"] == 3
    assert main(["analysis", "show", str(tmp_path)]) is None
    assert main(["profiler", "plan"]) == 2  # its own exit code comes through
    assert "edge=DEVICE/MODEL" in capsys.readouterr().err


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    argv = sys.argv
    try:
        ended = main([command, "--help"])
    except SystemExit as error:
        ended = error.code  # type: ignore[assignment]  # argparse and Hydra leave this way
    finally:
        sys.argv = argv
    assert ended in (0, None)
    assert capsys.readouterr().out
