"""The shim that runs CUDA kernels on a processor notices what it is there to notice."""

from __future__ import annotations

import ctypes
import subprocess
from pathlib import Path

import pytest
import torch

from kernels.ops.cpu import loader
from kernels.ops.cuda import build

SOURCE = """
#include "common.cuh"
using namespace fluxshard;

// Each thread leaves a value for its right neighbour. Without the barrier that is a race.
void neighbours(bool barrier, float* out) {
  FLUXSHARD_SHARED(memory);
  float* shared = reinterpret_cast<float*>(memory);
  shared[threadIdx.x] = static_cast<float>(threadIdx.x);
  if (barrier) __syncthreads();
  out[threadIdx.x] = shared[(threadIdx.x + 1) % blockDim.x];
}

extern "C" int run_neighbours(int barrier, int bytes, float* out) {
  return shim::run(dim3(1), 64, bytes, [&] { neighbours(barrier != 0, out); });
}

extern "C" int run_divergent() {
  return shim::run(dim3(2), 64, 0, [] { if (threadIdx.x < 40) __syncthreads(); });
}

extern "C" int run_overflow() {
  return shim::run(dim3(1), 32, 64, [] { shim::shared_memory()[64] = 1; });
}

extern "C" int run_sum(int* out) {
  return shim::run(dim3(1), 64, 0, [&] {
    int sum = static_cast<int>(threadIdx.x);
    for (int offset = 16; offset > 0; offset /= 2) sum += __shfl_xor_sync(kAllLanes, sum, offset);
    out[threadIdx.x] = sum;
  });
}

extern "C" int run_threads(int threads) { return shim::run(dim3(1), threads, 0, [] {}); }
extern "C" const char* failure() { return shim::last_failure(); }
extern "C" float widened(unsigned short bits) { __half h = {bits}; return __half2float(h); }
extern "C" unsigned short narrowed(float value) { return __float2half_rn(value).bits; }
"""


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    compiler = loader.compiler()
    if compiler is None:
        pytest.skip("no C++ compiler")
    folder: Path = tmp_path_factory.mktemp("shim")
    (folder / "faulty.cpp").write_text(SOURCE)
    target = folder / "faulty.so"
    files = [folder / "faulty.cpp", build.SOURCES / "shim" / "fibers.cpp"]
    subprocess.run(
        [compiler, f"-I{build.SOURCES}", *build.SHIM_FLAGS, *map(str, files), "-o", str(target)], check=True
    )
    library = ctypes.CDLL(str(target))
    library.failure.restype = ctypes.c_char_p
    library.widened.restype = ctypes.c_float
    library.narrowed.argtypes, library.narrowed.restype = (ctypes.c_float,), ctypes.c_uint16
    return library


def neighbours(machine: ctypes.CDLL, barrier: bool, order: int) -> list[float]:
    out = (ctypes.c_float * 64)()
    machine.fluxshard_shim_order(order)
    assert machine.run_neighbours(int(barrier), 256, out) == 0
    machine.fluxshard_shim_order(0)
    return [-1.0 if value != value else value for value in out]


def test_a_missing_barrier_shows_in_the_order_of_threads(machine: ctypes.CDLL) -> None:
    expected = [float((i + 1) % 64) for i in range(64)]
    assert [neighbours(machine, True, order) for order in (0, -1, 3)] == [expected] * 3
    assert neighbours(machine, False, 0) != neighbours(machine, False, -1)


def test_a_barrier_that_some_threads_miss_is_a_failure(machine: ctypes.CDLL) -> None:
    assert machine.run_divergent() != 0
    assert machine.failure() == b"a barrier that not every thread reaches"
    assert neighbours(machine, True, 0)[0] == 1.0  # and the machine still works


def test_a_write_past_shared_memory_is_a_failure(machine: ctypes.CDLL) -> None:
    assert machine.run_overflow() != 0
    assert machine.failure() == b"a write past the end of shared memory"


def test_shared_memory_starts_as_not_a_number(machine: ctypes.CDLL) -> None:
    assert -1.0 in neighbours(machine, False, 0)


def test_shuffles_add_up_within_a_warp(machine: ctypes.CDLL) -> None:
    out = (ctypes.c_int * 64)()
    assert machine.run_sum(out) == 0
    assert list(out) == [sum(range(32))] * 32 + [sum(range(32, 64))] * 32


@pytest.mark.parametrize(
    ("threads", "accepted"), [(32, True), (1024, True), (0, False), (33, False), (1056, False)]
)
def test_blocks_of_whole_warps_up_to_1024_threads(machine: ctypes.CDLL, threads: int, accepted: bool) -> None:
    assert (machine.run_threads(threads) == 0) is accepted


def test_half_precision_rounds_as_torch_does(machine: ctypes.CDLL) -> None:
    every = torch.arange(65536, dtype=torch.int32).to(torch.uint16).view(torch.float16)
    numbers = every[~every.isnan()]
    for bits in range(0, 65536, 37):
        value = every[bits].float().item()
        made = machine.widened(bits)
        assert made == value or (made != made and value != value)
    # Midway between neighbours, and a little to each side: ties go to even.
    ordered = numbers.float().unique()
    middle = (ordered[:-1].double() + ordered[1:].double()) / 2
    for value in middle[::97].float().tolist():
        for nudged in (value, value * (1 + 1e-6), value * (1 - 1e-6)):
            wanted = torch.tensor(nudged).half().view(torch.uint16).item()
            assert machine.narrowed(nudged) == wanted
    for value in (65504.0, 65519.0, 65520.0, 1e30, -1e30, 5.96e-8, 2.98e-8, -0.0):
        assert machine.narrowed(value) == torch.tensor(value).half().view(torch.uint16).item()
