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

// Each block adds to what the one before it left: nothing orders them.
extern "C" int run_blocks(int* out) {
  return shim::run(dim3(3), 32, 0, [&] { if (threadIdx.x == 0) out[1 + blockIdx.x] = out[blockIdx.x] + 1; });
}

// Each block uses the same shared variable, which is its own.
extern "C" int run_private(int barrier, int* out) {
  return shim::run(dim3(2), 64, 0, [&] {
    __shared__ int first;
    if (threadIdx.x == 0) first = static_cast<int>(blockIdx.x);
    if (barrier) __syncthreads();
    if (threadIdx.x == 63) out[blockIdx.x] = first;
  });
}

// A stage that is written again before everyone has read it: the barrier that loops forget.
extern "C" int run_stages(int second, int* out) {
  return shim::run(dim3(1), 64, 256, [&] {
    int* shared = reinterpret_cast<int*>(shim::shared_memory());
    int sum = 0;
    for (int turn = 0; turn < 3; ++turn) {
      shared[threadIdx.x] = turn;
      __syncthreads();
      sum += shared[63 - threadIdx.x];
      if (second) __syncthreads();
    }
    out[threadIdx.x] = sum;
  });
}

extern "C" int run_same_value(int* out) { return shim::run(dim3(1), 32, 0, [&] { out[0] = 1; }); }

// Through volatile pointers and atomics blocks may talk to each other.
extern "C" int run_counter(int everyone, int* out) {
  return shim::run(dim3(2), 32, 0, [&] {
    atomicAdd(out, 1);
    volatile int* told = out + 1;
    if (everyone || threadIdx.x == 0) *told = *told + 1;
  });
}

extern "C" int run_packs(char* from, float* out) {
  return shim::run(dim3(1), 32, 0, [&] {
    if (threadIdx.x == 0) store<float, 4>(out, load<float, 4>(reinterpret_cast<float*>(from)));
  });
}

extern "C" int run_order(int* out) {
  int next = 0;
  return shim::run(dim3(8), 32, 0, [&] { if (threadIdx.x == 0) out[next++] = static_cast<int>(blockIdx.x); });
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


@pytest.fixture(scope="module")
def watched(machine: ctypes.CDLL, tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    """The same kernels with every access checked."""
    compiler = loader.compiler()
    assert compiler is not None
    folder: Path = tmp_path_factory.mktemp("watched")
    (folder / "faulty.cpp").write_text(SOURCE)
    try:
        flags = build.racecheck_flags(compiler)
    except build.BuildError as error:
        pytest.skip(str(error))
    command = [compiler, f"-I{build.SOURCES}", *flags, str(folder / "faulty.cpp")]
    done = subprocess.run([*command, "-o", str(folder / "faulty.so")], capture_output=True, check=False)
    if done.returncode:
        pytest.skip("the compiler cannot instrument what it compiles")
    library = ctypes.CDLL(str(folder / "faulty.so"))
    library.failure.restype = ctypes.c_char_p
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


def integers(count: int = 64) -> ctypes.Array[ctypes.c_int]:
    return (ctypes.c_int * count)()


def test_a_missing_barrier_is_a_race_in_any_order(watched: ctypes.CDLL) -> None:
    for order in (0, -1, 5):
        assert neighbours(watched, True, order)[0] == 1.0
        watched.fluxshard_shim_order(order)
        assert watched.run_neighbours(0, 256, (ctypes.c_float * 64)()) != 0
        assert b"a race: thread" in watched.failure()
        assert b"in shared memory" in watched.failure()
    watched.fluxshard_shim_order(0)


def test_a_stage_overwritten_too_early_is_a_race(watched: ctypes.CDLL) -> None:
    assert watched.run_stages(1, integers()) == 0
    assert watched.run_stages(0, integers()) != 0
    assert b"writes what is read by" in watched.failure()


def test_blocks_that_need_each_other_race(watched: ctypes.CDLL) -> None:
    assert watched.run_blocks(integers()) != 0
    assert watched.failure().startswith(
        b"a race: thread 0 of block 1 reads what is written by thread 0 of block 0"
    )
    assert b"in global memory" in watched.failure()
    watched.fluxshard_shim_order(-1)
    assert watched.run_blocks(integers()) != 0
    assert b"thread 0 of block 1 writes what is read by" in watched.failure()
    watched.fluxshard_shim_order(0)


def test_shared_variables_belong_to_their_block(watched: ctypes.CDLL) -> None:
    assert watched.run_private(1, integers()) == 0
    assert watched.run_private(0, integers()) != 0
    assert b"thread 63 of block 0 reads what is written by thread 0" in watched.failure()


def test_writing_the_same_value_is_a_race_all_the_same(watched: ctypes.CDLL) -> None:
    assert watched.run_same_value(integers()) != 0


def test_blocks_may_talk_through_atomics_and_volatile(watched: ctypes.CDLL) -> None:
    out = integers()
    assert watched.run_counter(0, out) == 0
    assert list(out[:2]) == [64, 2]
    assert watched.run_counter(1, out) != 0  # but the threads of one need a barrier


def test_a_misaligned_pack_is_a_failure(machine: ctypes.CDLL) -> None:
    memory = (ctypes.c_char * 256)()
    aligned = -ctypes.addressof(memory) % 16
    to = ctypes.byref(memory, aligned + 128)
    assert machine.run_packs(ctypes.byref(memory, aligned), to) == 0
    assert machine.run_packs(ctypes.byref(memory, aligned + 4), to) != 0
    assert machine.failure() == b"a misaligned access"


def test_blocks_run_in_the_order_asked_for(machine: ctypes.CDLL) -> None:
    found = {}
    for order in (0, -1, 3, 4):
        out = integers(8)
        machine.fluxshard_shim_order(order)
        assert machine.run_order(out) == 0
        found[order] = list(out)
    machine.fluxshard_shim_order(0)
    assert found[0] == list(range(8))
    assert found[-1] == list(range(7, -1, -1))
    assert sorted(found[3]) == found[0]
    assert found[3] not in (found[0], found[-1], found[4])
