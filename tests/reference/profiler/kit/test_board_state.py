"""What a board lacks, or how it is set, is one line: an old torch, a moving clock, no memory left."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from profiler.kit import board
from profiler.kit.board import Finding, check_clocks, check_libraries, gpu_clock, power_mode, temperatures
from profiler.kit.checks import refuse_wrong
from profiler.kit.reading import sensor_ranges
from profiler.kit.samples_file import SampleLog, read_log
from profiler.measure.masks import with_margin
from profiler.measure.sampling import SamplingPlan, measure
from tests.strategies.board import SteadyDevice
from traces.errors import InputError


def sysfs(root: Path, least_hz: int, most_hz: int) -> Path:
    """A Xavier NX as its kernel shows it."""
    folder = root / "class" / "devfreq" / "17000000.gv11b"
    folder.mkdir(parents=True)
    for name, value in (("min", least_hz), ("max", most_hz), ("cur", 803_250_000)):
        (folder / f"{name}_freq").write_text(f"{value}\n")
    zone = root / "class" / "thermal" / "thermal_zone1"
    zone.mkdir(parents=True)
    (zone / "type").write_text("GPU-therm\n")
    (zone / "temp").write_text("46500\n")
    return root


def test_a_clock_that_is_not_fixed_is_said_with_what_fixes_it(tmp_path: Path) -> None:
    moving = sysfs(tmp_path / "moving", 114_750_000, 1_109_250_000)
    (found,) = check_clocks("cuda:0", root=moving)
    assert found.good is False
    assert "not fixed (115 to 1109 MHz)" in str(found)
    assert "sudo jetson_clocks fixes it" in str(found)
    (found,) = check_clocks("cuda:0", root=sysfs(tmp_path / "fixed", 1_109_250_000, 1_109_250_000))
    assert found.good is True
    assert gpu_clock(moving) == {"least_hz": 114_750_000, "most_hz": 1_109_250_000, "now_hz": 803_250_000}
    assert temperatures(moving) == {"GPU-therm": 46.5}
    assert gpu_clock(tmp_path) is None
    assert check_clocks("cpu", root=tmp_path) == []


def test_another_power_mode_than_was_asked_for_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(board, "ask", lambda *command: "NV Power Mode: MODE_15W_6CORE\n2")
    assert power_mode() == "MODE_15W_6CORE"
    assert [one.what for one in check_clocks("cpu", "MODE_15W_6CORE")] == ["power mode"]
    with pytest.raises(InputError, match="expected MODE_20W_6CORE, found MODE_15W_6CORE: sudo nvpmodel"):
        check_clocks("cpu", "MODE_20W_6CORE")


def test_an_old_torch_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "__version__", "1.12.1+cu113")
    with pytest.raises(InputError, match=r"torch: expected 1\.13 or later, found 1\.12\.1"):
        check_libraries()
    monkeypatch.setattr(torch, "__version__", "2.1.0a0+41361538.nv23.06")  # NVIDIA's own for JetPack 5
    assert all(one.good is not False for one in check_libraries())


def test_a_torch_without_an_operator_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(board, "NEEDED_OPERATORS", ("convolution", "of_tomorrow"))
    with pytest.raises(InputError, match="expected the operator aten::of_tomorrow, found"):
        check_libraries()


def test_a_backend_that_is_wrong_is_not_timed() -> None:
    wrong = [
        Finding("operations", False, "cuda is wrong: convolve", "cuda"),
        Finding("operations", True, "cpu computes", "cpu"),
    ]
    with pytest.raises(InputError, match="found cuda is wrong: convolve: backend=reference runs without it"):
        refuse_wrong(wrong, None)
    refuse_wrong(wrong, "reference")
    with pytest.raises(InputError, match="cannot be launched"):
        refuse_wrong([Finding("operations", False, "cannot be launched: old driver")], "cuda")


@pytest.mark.parametrize(
    ("uuid", "printed", "clock"),
    [
        ("1234", "1500 MHz\n", "1500 MHz"),
        (None, "1500 MHz\n", "1500 MHz"),
        (None, "1500 MHz\n300 MHz\n", None),  # of two, nobody knows which
    ],
)
def test_nvidia_smi_is_asked_about_the_gpu_that_is_measured(
    uuid: str | None, printed: str, clock: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, ...]] = []

    def ask(*command: str) -> str:
        asked.append(command)
        return printed

    named = SimpleNamespace() if uuid is None else SimpleNamespace(uuid=uuid)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: named)
    monkeypatch.setattr(board, "ask", ask)
    found = board.smi("clocks.sm", "cuda:1")
    assert found == (None if clock is None else {"clocks.sm": clock})
    assert ("--id=GPU-1234" in asked[0]) == (uuid is not None)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (RuntimeError("CUDA error: device lost"), "device: expected it to work until the end"),
        (MemoryError(), "model: expected one that fits in memory"),
    ],
)
def test_a_device_that_fails_in_the_middle_loses_nothing(error: Exception, said: str, tmp_path: Path) -> None:
    calls = 0

    def tick() -> None:
        nonlocal calls
        calls += 1
        if calls == 120:
            raise error

    head = {"device": "board", "model": "net", "resolution_px": [320, 320], "block_px": 16}
    log, device = SampleLog(tmp_path / "a.jsonl", head), SteadyDevice(tick)
    differences = np.zeros((1, 20, 20), np.float32)
    with pytest.raises(
        InputError, match=rf"{said}.*\d+ samples so far are kept in .*a.jsonl, the same command resumes"
    ):
        measure(device, device, log, SamplingPlan(repeats=3), differences)  # type: ignore[arg-type]
    log.close()
    assert read_log(log.path).rows == log.rows
    assert len(log.rows) > 20


def test_sensors_are_kept_as_ranges(tmp_path: Path) -> None:
    log = SampleLog(tmp_path / "a.jsonl", {"device": "board"})
    log.add_sensors({"at_s": 1.0, "celsius": {"GPU-therm": 41.0}, "gpu_hz": 1_100_000_000})
    log.add_sensors({"at_s": 2.0, "celsius": {"GPU-therm": 47.5}, "gpu_hz": 900_000_000})
    log.close()
    assert sensor_ranges(read_log(log.path)) == {
        "GPU-therm_celsius": [41.0, 47.5],
        "gpu_hz": [9e8, 1.1e9],
    }


def test_a_margin_is_every_block_that_near() -> None:
    active = np.zeros((6, 7), bool)
    active[0, 0] = active[3, 4] = True
    wanted = [
        [any(abs(y - a) <= 1 and abs(x - b) <= 1 for a, b in ((0, 0), (3, 4))) for x in range(7)]
        for y in range(6)
    ]
    assert np.array_equal(with_margin(active, 1), wanted)
    assert np.array_equal(with_margin(active, 0), active)
