"""The GPU benchmark, tried out on the processor: what it writes, what it needs, and how it refuses."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from kernels import bench_gpu
from kernels.gpu_timing import arithmetic
from kernels.ops import registry

# What a machine with nothing but torch and numpy does not have.
ABSENT = (
    *("triton", "numba", "pandas", "scipy", "simpy", "hydra", "omegaconf", "av", "PIL", "skimage"),
    *("pyarrow", "pooch", "tqdm", "safetensors", "matplotlib"),
)


def test_it_needs_torch_and_numpy_alone(repository: Path, tmp_path: Path) -> None:
    script = (
        f"import sys; sys.modules.update(dict.fromkeys({ABSENT}))\n"  # None: as if not installed
        "import torch; torch.set_num_threads(1)\n"
        "from pathlib import Path\n"
        "from kernels import bench_gpu\n"
        "import kernels.check, kernels.ops.cuda, kernels.ops.triton\n"
        f"bench_gpu.run(Path({str(tmp_path)!r}), 'yolo11n-seg', 32, ['float32'], 1, 'cpu', layers=False)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=repository, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    with (tmp_path / "kernels.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(bench_gpu.FRACTIONS) * 2
    assert all(float(row["error"]) <= float(row["tolerance"]) and row["ratio"] for row in rows)
    meta = json.loads((tmp_path / "kernels.json").read_text())
    assert meta["complete"] is True
    assert meta["torch"] == torch.__version__
    assert meta["triton"] is None


def test_a_wrong_result_has_no_ratio(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    if registry.unavailable("cpu", "cpu") is not None:
        pytest.skip("no C++ compiler")
    from kernels.ops import cpu

    right = cpu.convolve

    def nearly(convolution: object, source: torch.Tensor, *rest: object, **more: object) -> None:
        right(convolution, source * 1.001, *rest, **more)  # type: ignore[arg-type]

    model, frame = bench_gpu.build("yolo11n-seg", 32, "cpu")
    shape = bench_gpu.shapes_of(bench_gpu.SparseExecutor(model, "fixed"), frame)[1]
    assert all(row.ratio is not None for row in bench_gpu.measure_layer(shape, "float32", "cpu", 1))
    monkeypatch.setattr(cpu, "convolve", nearly)
    rows = bench_gpu.measure_layer(shape, "float32", "cpu", 1)
    assert all(row.ratio is None for row in rows)
    assert all(
        row.error is not None and row.tolerance is not None and row.error > row.tolerance for row in rows
    )


def test_it_refuses_politely(capsys: pytest.CaptureFixture[str]) -> None:
    if torch.cuda.is_available():
        pytest.skip("a GPU is here")
    assert bench_gpu.main([]) == 2
    message = capsys.readouterr().err
    assert message.startswith("error: no measurement without a GPU and nvcc: ")
    assert message.count("\n") == 1
    assert bench_gpu.main(["--model", "yolo11m-seg:1000"]) == 2
    assert "a multiple of 32 pixels (got 'yolo11m-seg:1000')" in capsys.readouterr().err


@pytest.mark.parametrize(("precision", "allowed"), [("float32", False), ("tf32", True), ("float16", False)])
def test_both_sides_may_do_the_same_with_float32(precision: str, allowed: bool) -> None:
    before = torch.backends.cudnn.allow_tf32, torch.get_float32_matmul_precision()
    with arithmetic(precision):
        assert torch.backends.cudnn.allow_tf32 is allowed
        assert (torch.get_float32_matmul_precision() == "high") is allowed
    assert (torch.backends.cudnn.allow_tf32, torch.get_float32_matmul_precision()) == before
