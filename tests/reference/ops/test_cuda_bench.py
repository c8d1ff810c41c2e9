"""The GPU benchmark, tried out on the processor: what it writes, what it needs, and how it refuses."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from conf.search_path import writable_folder
from kernels import __main__ as command
from kernels.bench import gpu, gpu_comparison, gpu_timing
from kernels.bench.gpu_timing import arithmetic
from kernels.executor import cuda_graph
from kernels.ops import registry

# What a machine with nothing but torch and numpy does not have.
ABSENT = (
    *("triton", "numba", "pandas", "scipy", "simpy", "hydra", "omegaconf", "av", "PIL", "skimage"),
    *("pyarrow", "pooch", "tqdm", "safetensors", "matplotlib", "platformdirs"),
)


def rerun(run: Callable[[], Any], times: int = 1, pool: object = None) -> Callable[[], Any]:
    """In place of a graph: the function itself."""
    return run


class FakeEvent:
    """In place of a CUDA event: the processor's clock."""

    def __init__(self, enable_timing: bool = False) -> None:
        self._time_s = 0.0

    def record(self) -> None:
        self._time_s = time.perf_counter()

    def synchronize(self) -> None:
        pass

    def elapsed_time(self, end: FakeEvent) -> float:
        return max(1e3 * (end._time_s - self._time_s), 1e-6)


class FakeGraph:
    """In place of a CUDA graph: does nothing when replayed."""

    replays = 0

    def replay(self) -> None:
        FakeGraph.replays += 1


class FakeStream:
    def wait_stream(self, other: FakeStream) -> None:
        pass


@contextmanager
def nothing(*_: object, **__: object) -> Iterator[None]:
    yield


@pytest.fixture
def pretended_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """The parts of torch.cuda that time and capture, as far as they can be had without a GPU."""
    for name, value in {
        "Event": FakeEvent,
        "Stream": FakeStream,
        "CUDAGraph": FakeGraph,
        "current_stream": FakeStream,
        "stream": nothing,
        "graph": nothing,
        "synchronize": lambda: None,
        "graph_pool_handle": lambda: (0, 0),
    }.items():
        monkeypatch.setattr(torch.cuda, name, value)


def rows_of(folder: Path) -> list[dict[str, str]]:
    with (folder / "kernels.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_it_needs_torch_and_numpy_alone(repository: Path, tmp_path: Path) -> None:
    script = (
        f"import sys; sys.modules.update(dict.fromkeys({ABSENT}))\n"  # None: as if not installed
        "import torch; torch.set_num_threads(1)\n"
        "from pathlib import Path\n"
        "from kernels.bench import gpu, gpu_comparison\n"
        "gpu_comparison.FRACTIONS = (0.3,)\n"
        "import kernels.bench.check, kernels.ops.cuda, kernels.ops.triton\n"
        f"gpu.run(Path({str(tmp_path)!r}), 'yolo11n-seg', 32, ['float32'], 1, 'cpu', layers=False,"
        " capture=lambda run: run)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=repository, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    rows = rows_of(tmp_path)
    assert len(rows) == 2 * 3
    assert {row["mode"] for row in rows} == {"eager", "replay", "graph"}
    assert all(float(row["error"]) <= float(row["tolerance"]) and row["ratio"] for row in rows)
    meta = json.loads((tmp_path / "kernels.json").read_text())
    assert meta["complete"] is True
    assert meta["torch"] == torch.__version__
    assert meta["triton"] is None


@pytest.mark.usefixtures("pretended_gpu")
def test_every_layer_is_captured_timed_and_checked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """All of a small network's layers, by the CUDA kernels' sources where a compiler is."""
    monkeypatch.setattr(registry, "BACKENDS", (*registry.BACKENDS, "cuda.shim"))
    if registry.unavailable("cuda.shim", "cpu") is not None:
        pytest.skip("no C++ compiler")
    monkeypatch.setitem(gpu_comparison.BACKENDS, "cpu", ("cuda.shim",))
    monkeypatch.setattr(gpu_comparison, "FRACTIONS", (0.3,))
    monkeypatch.setattr(gpu_comparison, "_RUNS", 2)
    shapes = gpu_comparison.shapes_of("yolo11n-seg", 32, "float32", "cpu")
    assert len(shapes) > 20
    assert {shape.window.kernel for shape in shapes} == {(1, 1), (3, 3)}
    before = FakeGraph.replays
    made = gpu_comparison.measure_layer(shapes[0], "float32", "cpu", 1, graphs=True)
    assert FakeGraph.replays > before
    names = {row.backend for row in made}
    assert names == {"cuda.shim", "cuda.shim 32×32", "cuda.shim 64×64", "cuda.shim 128×64"}
    assert all(row.ratio is not None and row.mode == "graph" for row in made)
    grouped = next(shape for shape in shapes if shape.groups > 1)
    assert all(row.ratio is not None for row in gpu_comparison.measure_layer(grouped, "float16", "cpu", 1))


def test_a_whole_run_is_written_as_it_goes(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(gpu_comparison, "FRACTIONS", (0.3,))
    every = gpu_comparison.shapes_of
    monkeypatch.setattr(gpu, "shapes_of", lambda *arguments: every(*arguments)[:2])
    steady = iter((1.0, 1.2))
    monkeypatch.setattr(gpu, "steady_seconds", lambda _: next(steady))
    rows = gpu.run(tmp_path, "yolo11n-seg", 32, ["float32", "tf32"], 2, "cpu", capture=rerun)
    written = rows_of(tmp_path)
    assert [row["subject"] for row in written] == [row.subject for row in rows]
    assert {row["precision"] for row in written} == {"float32", "tf32"}
    assert {row["mode"] for row in written} == {"eager", "replay", "graph"}
    meta = json.loads((tmp_path / "kernels.json").read_text())
    assert (meta["complete"], meta["drift"], meta["precisions"]) == (True, 0.2, ["float32", "tf32"])
    shown = capsys.readouterr()
    assert "yolo11n-seg @32, tf32, cpu, replay, clustered" in shown.out
    assert "warning: a matrix product took +20% of its time at the start" in shown.err


def test_what_cannot_be_captured_is_a_note(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def refuse(run: Callable[[], Any]) -> Callable[[], Any]:
        raise RuntimeError("operation not permitted when stream is capturing\nmore")

    monkeypatch.setattr(gpu_comparison, "FRACTIONS", (0.3,))
    gpu.run(tmp_path, "yolo11n-seg", 32, ["float32"], 1, "cpu", layers=False, capture=refuse)
    rows = rows_of(tmp_path)
    assert all(row["ratio"] for row in rows if row["mode"] == "eager")
    notes = {row["note"] for row in rows if row["mode"] != "eager"}
    assert notes == {"operation not permitted when stream is capturing"}
    assert "–   dense operation not permitted" in capsys.readouterr().out


def test_a_capture_that_fails_for_one_set_leaves_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def first_two(run: Callable[[], Any]) -> Callable[[], Any]:
        calls.append(run)
        if len(calls) > 2:
            raise RuntimeError("no more")
        return run

    monkeypatch.setattr(gpu_comparison, "FRACTIONS", (0.3, 1.0))
    rows = gpu_comparison.measure_network("yolo11n-seg", 64, "float32", "cpu", None, 1, first_two)
    assert {row.note for row in rows if row.ratio is None} == {"no more"}
    assert {row.mode for row in rows if row.ratio is not None} == {"eager"}


def test_too_little_memory_is_a_note(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def exhaust(*_: object) -> None:
        raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")

    monkeypatch.setattr(gpu, "measure_network", exhaust)
    gpu.run(tmp_path, "yolo11n-seg", 32, ["float16"], 1, "cpu", layers=False)
    (row,) = rows_of(tmp_path)
    assert row["note"] == "out of memory: CUDA out of memory. Tried to allocate 2 GiB"
    assert (row["subject"], row["precision"], row["ratio"]) == ("yolo11n-seg @32", "float16", "")


def test_a_wrong_result_has_no_ratio(monkeypatch: pytest.MonkeyPatch) -> None:
    if registry.unavailable("cpu", "cpu") is not None:
        pytest.skip("no C++ compiler")
    from kernels.ops import cpu

    right = cpu.convolve

    def nearly(convolution: object, source: torch.Tensor, *rest: object, **more: object) -> None:
        right(convolution, source * 1.001, *rest, **more)  # type: ignore[arg-type]

    shape = gpu_comparison.shapes_of("yolo11n-seg", 32, "float32", "cpu")[1]
    assert all(row.ratio is not None for row in gpu_comparison.measure_layer(shape, "float32", "cpu", 1))
    monkeypatch.setattr(cpu, "convolve", nearly)
    rows = gpu_comparison.measure_layer(shape, "float32", "cpu", 1)
    assert all(row.ratio is None for row in rows)
    assert all(
        row.error is not None and row.tolerance is not None and row.error > row.tolerance for row in rows
    )


def test_it_refuses_politely(capsys: pytest.CaptureFixture[str]) -> None:
    if torch.cuda.is_available():
        pytest.skip("a GPU is here")
    assert gpu.main([]) == 2
    message = capsys.readouterr().err
    assert message.startswith("error: no measurement without a GPU and nvcc: ")
    assert message.count("\n") == 1
    assert gpu.main(["--model", "yolo11m-seg:1000"]) == 2
    assert "a multiple of 32 pixels (got 'yolo11m-seg:1000')" in capsys.readouterr().err
    assert gpu.main(["--repeats", "0"]) == 2
    assert "--repeats must be at least 1 (got 0)" in capsys.readouterr().err


def test_main_measures_only_what_is_right(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from kernels.bench import check

    good = check.CheckResult("cuda", "cuda", "convolve", 1e-6)
    bad = check.CheckResult("triton", "cuda", "convolve float16", 0.1, tolerance=4e-3)
    monkeypatch.setattr(registry, "unavailable", lambda *_: None)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "NVIDIA H200 (test)")
    asked: list[object] = []

    def pretend(*arguments: object, **_: object) -> list[gpu_comparison.GpuBenchmarkRow]:
        asked.append(arguments)
        return [
            gpu_comparison.GpuBenchmarkRow("layer", "float16", "cuda", "graph", "random", 0.3, note="why")
        ]

    monkeypatch.setattr(gpu, "run", pretend)
    monkeypatch.setattr(check, "check", lambda: iter([good, bad]))
    assert gpu.main([]) == 1
    assert "wrong results, nothing measured: triton convolve float16" in capsys.readouterr().err
    monkeypatch.setattr(check, "check", lambda: iter([good]))
    assert gpu.main(["--precision", "float16"]) == 0
    assert asked == [(writable_folder("profile") / "nvidia_h200_test/yolo11m-seg-1024", "yolo11m-seg", 1024,
                      ["float16"], 20)]  # fmt: skip

    def insufficient() -> Iterator[check.CheckResult]:
        raise RuntimeError("gather failed on cuda:0: CUDA driver version is insufficient\nmore")
        yield

    monkeypatch.setattr(check, "check", insufficient)
    assert gpu.main([]) == 2
    assert capsys.readouterr().err.endswith("CUDA driver version is insufficient\n")


def test_the_command_passes_on_what_it_was_given(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    given: list[list[str]] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(gpu, "main", lambda options: given.append(options) or 0)
    assert command.main(["bench", "--device", "cuda"]) == 0
    options = ["--dtype", "float16", "--output", "here", "--repeats", "3", "--model", "yolo11n:64"]
    assert command.main(["bench", "--device", "cuda", *options]) == 0
    assert given == [
        ["--model", "yolo11m-seg:1024", "--repeats", "15"],
        ["--model", "yolo11n:64", "--repeats", "3", "--precision", "float16", "--output", "here"],
    ]
    assert command.main(["bench", "--device", "cuda", "--backend", "triton"]) == 2
    assert "--backend is for --device cpu" in capsys.readouterr().err


@pytest.mark.usefixtures("pretended_gpu")
def test_a_graph_is_replayed_and_timed_by_events() -> None:
    made = []
    run = cuda_graph.capture_graph(lambda: made.append(1) or len(made), times=4)
    assert len(made) == 3 + 4  # warm-up, then the capture
    assert run() == run() == 7  # what the capture made, without running it again
    (timing,) = gpu_timing.timings([run], 3, "device")
    assert timing.median_s > 0
    assert timing.spread >= 0


def test_what_it_was_measured_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """Driver and clocks are those of torch's device, and a program that hangs is as good as none."""

    class Properties:
        name, major, minor, multi_processor_count, total_memory = "H200", 9, 0, 132, 10**11
        uuid = "1234"

    said: list[tuple[str, ...]] = []

    def say(command: tuple[str, ...], **_: object) -> subprocess.CompletedProcess[str]:
        said.append(tuple(command))
        if command[0] == "git":
            raise subprocess.TimeoutExpired("git", 20)
        return subprocess.CompletedProcess(command, 0, "1500 MHz, 2600 MHz\nof another\n", "")

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: Properties())
    monkeypatch.setattr(subprocess, "run", say)
    meta = gpu_timing.describe()
    assert meta["commit"] is None
    assert meta["capability"] == "9.0"
    assert meta["state_before"] == {"clocks.sm": "1500 MHz", "clocks.mem": "2600 MHz"}
    assert all("--id=GPU-1234" in one for one in said if one[0] == "nvidia-smi")


@pytest.mark.parametrize(("precision", "allowed"), [("float32", False), ("tf32", True), ("float16", False)])
def test_both_sides_may_do_the_same_with_float32(precision: str, allowed: bool) -> None:
    before = torch.backends.cudnn.allow_tf32, torch.get_float32_matmul_precision()
    with arithmetic(precision):
        assert torch.backends.cudnn.allow_tf32 is allowed
        assert (torch.get_float32_matmul_precision() == "high") is allowed
    assert (torch.backends.cudnn.allow_tf32, torch.get_float32_matmul_precision()) == before
