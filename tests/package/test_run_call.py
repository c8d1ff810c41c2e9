"""``sim.run``: a run as a call gives what the command writes, and leaves nothing behind."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig

from sim import __main__ as command_line
from sim import run
from traces.errors import InputError

FAST = ("video=statistical", "frames=12", "trace=low")


def test_it_gives_what_the_command_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    monkeypatch.setattr(sys, "argv", ["sim", *FAST, f"hydra.run.dir={tmp_path}"])
    command_line.main()
    record = run(FAST)
    assert isinstance(record.summary, dict)
    pd.testing.assert_frame_equal(record.frames, pd.read_parquet(tmp_path / "frames.parquet"))
    written: dict[str, Any] = pd.read_json(tmp_path / "summary.json", typ="series").to_dict()
    assert record.summary["config_sha256"] == written["config_sha256"]
    assert list(record.summary) == list(written)


def test_it_writes_nothing_and_leaves_hydra_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, configs = tmp_path / "empty", tmp_path / "other"
    folder.mkdir()
    configs.mkdir()
    (configs / "config.yaml").write_text("answer: 42\n")
    monkeypatch.chdir(folder)
    path = list(sys.path)
    with initialize_config_dir(str(configs), version_base="1.3"):
        run(FAST)
        assert compose("config").answer == 42  # the caller's own Hydra still works
    assert not GlobalHydra.instance().is_initialized()
    run(FAST)
    assert not GlobalHydra.instance().is_initialized()
    assert sys.path == path
    assert list(folder.iterdir()) == []
    assert not HydraConfig.initialized() or HydraConfig.get().job.name != "app"


def test_runs_one_after_the_other_in_threads_are_the_same() -> None:
    records = []
    for _ in range(2):
        thread = threading.Thread(target=lambda: records.append(run(FAST)))
        thread.start()
        thread.join()
    pd.testing.assert_frame_equal(records[0].frames, records[1].frames)


def test_a_folder_of_ones_own_brings_names_and_modules(tmp_path: Path) -> None:
    (tmp_path / "trace").mkdir()
    (tmp_path / "trace" / "slow.yaml").write_text("defaults:\n  - low\n\nname: slow\nmean_mbps: 5.0\n")
    path = list(sys.path)
    record = run(["video=statistical", "frames=6", "trace=slow"], config_dir=tmp_path)
    assert record.summary["trace"] == "slow (synthetic)"
    assert sys.path == path
    again = run(["video=statistical", "frames=6", "trace=slow"], config_dir=[tmp_path])
    assert record.summary["config_sha256"] == again.summary["config_sha256"]  # wherever the folder lies
    with pytest.raises(InputError, match=r"trace: expected one of .*low.*, found 'slow'"):
        run(["trace=slow"])


SYSTEM = """
from dataclasses import dataclass, field
from sim import Outcome


class Mine:
    works_without_pixels = True

    @dataclass(frozen=True)
    class Options:
        more_bytes: int = 0
        weights: dict[str, int] = field(default_factory=dict)

    def __init__(self, context, options):
        self.size_bytes = SIZE_BYTES + options.more_bytes

    def process(self, frame, world):
        yield world.send(self.size_bytes)
        return Outcome("cloud", 1, 1, 0)
"""


def own_folder(folder: Path, size_bytes: int, yaml: str = "weights: {}\n") -> Path:
    (folder / "system").mkdir(parents=True)
    (folder / "system" / "mine.yaml").write_text("_target_: mine_of_a_folder.Mine\n" + yaml)
    (folder / "mine_of_a_folder.py").write_text(f"SIZE_BYTES = {size_bytes}\n{SYSTEM}")
    return folder


def test_modules_of_the_same_name_in_other_folders_are_other_modules(tmp_path: Path) -> None:
    folders = [own_folder(tmp_path / str(size), size) for size in (100, 200)]
    for first, second in ((0, 1), (1, 0)):
        record = run(["system=mine", *FAST], config_dir=[folders[first], folders[second]])
        assert record.frames["uplink_bytes"].max() == (100, 200)[first]
    assert "mine_of_a_folder" not in sys.modules


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        (
            "system.more_bytes=5",
            "system.more_bytes: expected one of the keys weights of system=mine: "
            "its YAML leaves 'more_bytes' at the default, +system.more_bytes=... sets it",
        ),
        (
            "system.weights.car=5",
            "system.weights.car: expected a key that the YAML of system=mine has, found none; "
            "+system.weights.car=... adds one",
        ),
    ],
)
def test_an_option_that_the_yaml_leaves_out_is_added(tmp_path: Path, override: str, expected: str) -> None:
    folder = own_folder(tmp_path / "own", 100)
    with pytest.raises(InputError) as raised:
        run(["system=mine", *FAST, override], config_dir=folder)
    assert str(raised.value) == expected
    assert run(["system=mine", *FAST, f"+{override}"], config_dir=folder).summary["system"] == "mine"


@pytest.mark.parametrize(
    ("yaml", "expected"),
    [
        ("weights: {\n", r"mine\.yaml:3: expected YAML, found "),
        ("weights: {}\nweights: {}\n", "duplicate key"),
    ],
)
def test_a_broken_yaml_is_named_with_its_line(tmp_path: Path, yaml: str, expected: str) -> None:
    with pytest.raises(InputError, match=expected) as raised:
        run(["system=mine", *FAST], config_dir=own_folder(tmp_path / "own", 100, yaml))
    assert "\n" not in str(raised.value)


def test_a_system_is_called_what_its_file_is_called(tmp_path: Path) -> None:
    folder = own_folder(tmp_path / "own", 100, "name: other\n")
    assert run(["system=mine", *FAST], config_dir=folder).summary["system"] == "mine"


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (["system=full_ofload"], "system: .*did you mean full_offload"),
        (["frmes=3"], "frmes: .*did you mean frames"),
        (["system=full_offload", "system.variant=split"], "system.variant: .*codec.* of system=full_offload"),
        (["system=coach", "system.varaint=split"], "did you mean system.variant?"),
        (["fps=0"], "fps: expected a frame rate > 0"),
        (["frames=1,2"], "frames: expected one value, found '1,2'"),
        (["experiment=quickstart"], "expected one run, found a sweep"),
        (["overlay=true"], "overlay: expected false"),
        (["inspect=true"], "inspect: expected false"),
        (["trace=file"], "trace.path"),
        (["frames=["], "quotes"),
    ],
)
def test_bad_input_is_one_line(overrides: list[str], expected: str) -> None:
    with pytest.raises(InputError, match=expected) as raised:
        run(["video=statistical", "frames=3", *overrides] if "frames" not in overrides[0] else overrides)
    assert "\n" not in str(raised.value)


def test_a_missing_folder_is_named() -> None:
    with pytest.raises(InputError, match="--config-dir: expected a folder, found 'nowhere'"):
        run(FAST, config_dir="nowhere")


def test_importing_the_call_loads_neither_hydra_nor_pandas(repository: Path) -> None:
    code = (
        "import sys; from sim import run; print({'hydra', 'omegaconf', 'pandas', 'torch'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=repository, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "set()"
