"""Kernels compiled beforehand: the right file for a GPU, never a damaged one, and found by name."""

from __future__ import annotations

import lzma
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from kernels.ops.cpu import loader
from kernels.ops.cuda import build, precompiled
from kernels.ops.cuda.compile_binaries import compile_kernels, instances, main
from kernels.ops.cuda.precompiled import (
    ARCHITECTURES,
    binaries_in,
    binary_for,
    checked_binaries,
    file_name,
    sources_digest,
    suited,
)
from kernels.ops.libraries import BuildError
from tests.toolchains.cuda import cuda11_packages

ELF = b"\x7fELF stands in for code of "


def binary(folder: Path, architecture: str) -> Path:
    code = ELF + architecture.encode()
    path = folder / file_name(architecture, code)
    path.write_bytes(lzma.compress(code))
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for architecture in ARCHITECTURES:
        binary(tmp_path, architecture)
    return tmp_path


@pytest.mark.parametrize(
    ("gpu", "served_by"),
    [
        ("sm_72", ["sm_72"]),
        ("sm_75", ["sm_75"]),
        ("sm_80", ["sm_80"]),
        ("sm_86", ["sm_86", "sm_80"]),
        ("sm_87", ["sm_87"]),  # an Orin runs no code of other GPUs
        ("sm_89", ["sm_89", "sm_86", "sm_80"]),
        ("sm_90", ["sm_90"]),
        ("sm_70", []),  # later minor versions do not run on it
        ("sm_100", []),
    ],
)
def test_a_gpu_is_served_by_its_own_code_or_older_of_its_generation(
    gpu: str, served_by: list[str], folder: Path
) -> None:
    assert [one.architecture for one in suited(gpu, binaries_in(folder))] == served_by
    if served_by:
        found, code = binary_for(gpu, folder)
        assert (found.architecture, code) == (served_by[0], ELF + served_by[0].encode())
    else:
        with pytest.raises(ValueError, match=f"no precompiled kernels run on {gpu}"):
            binary_for(gpu, folder)


def test_a_damaged_binary_is_passed_over(folder: Path) -> None:
    (exact,) = folder.glob("sm_89-*")
    exact.write_bytes(lzma.compress(ELF + b"something else"))
    assert binary_for("sm_89", folder)[0].architecture == "sm_86"
    with pytest.raises(ValueError, match="expected content of the hash in its name"):
        checked_binaries(folder)
    exact.write_bytes(exact.read_bytes()[:20])
    with pytest.raises(ValueError, match="expected compiled kernels, found"):
        checked_binaries(folder)
    (orin,) = folder.glob("sm_87-*")
    orin.write_bytes(b"")
    with pytest.raises(ValueError, match=r"sm_87-\w+-\w+\.cubin\.xz: expected compiled kernels"):
        binary_for("sm_87", folder)


def test_code_of_other_sources_is_refused(tmp_path: Path) -> None:
    path = binary(tmp_path, "sm_72")
    path.rename(tmp_path / path.name.replace(sources_digest(), "0" * 16))
    with pytest.raises(ValueError, match="made of other device code than is here"):
        binary_for("sm_72", tmp_path)


def test_no_binaries_are_said(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="expected binaries of kernels"):
        checked_binaries(tmp_path)


def test_without_nvcc_and_without_a_binary_both_reasons_are_given(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("FLUXSHARD_NVCC", "no-such-nvcc")
    for cached in (build.cuda_library, build._compiled_library, build._precompiled_library):
        monkeypatch.setattr(build, cached.__wrapped__.__name__, cached.__wrapped__)
    with pytest.raises(
        BuildError, match=r"no nvcc found.*no precompiled kernels run on sm_72 \(here: none\)"
    ):
        build.cuda_library("sm_72")


def test_a_compiler_that_is_not_there_is_said(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main([str(tmp_path), "sm_35"]) == 2
    assert capsys.readouterr().err.startswith("compile_binaries: expected FOLDER and architectures among")


DRIVER = r"""
#include <stdio.h>
#include <string.h>
static char names[64][512]; static int count = 0;
int cuCtxGetCurrent(void** c) { *c = (void*)1; return 0; }
int cuModuleLoadData(void** m, const void* image) {
  *m = (void*)image; return memcmp(image, "\177ELF", 4) ? 200 : 0;
}
int cuModuleGetFunction(void** f, void* m, const char* n) {
  strcpy(names[count], n); *f = names[count++]; return 0;
}
int cuLaunchKernel(void* f, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz,
                   unsigned shared, void* stream, void** p, void** extra) {
  printf("%s %u %u %u %u %d\n", (char*)f, gx, gy, gz, bx, **(int**)(p + 1)); fflush(stdout); return 0;
}
int cuGetErrorString(int e, const char** s) {
  *s = e == 200 ? "device kernel image is invalid" : "?"; return 0;
}
"""
CALLER = """
import ctypes, sys
from kernels.ops.cpu import loader
from kernels.ops.cuda import build
library = build.launcher_library(loader.compiler(), "sm_72")
pixels, grey, quarter = (ctypes.create_string_buffer(64 * 64 * 3) for _ in range(3))
print(library.fluxshard_prepare(pixels, 64, 64, 3, grey, quarter, None))
library.fluxshard_open(b"no code")
error = library.fluxshard_prepare(pixels, 64, 64, 3, grey, quarter, None)
print(error, library.fluxshard_error(error).decode())
library.fluxshard_open(b"\\x7fELF")
print(library.fluxshard_prepare(pixels, 64, 64, 3, grey, quarter, None))
"""


@pytest.fixture
def driver(tmp_path: Path) -> Path:
    """A library in place of the driver's, which prints what it is asked to launch."""
    compiler = loader.compiler()
    if compiler is None or shutil.which("gcc") is None or not sys.platform.startswith("linux"):
        pytest.skip("no C compiler to make a stand-in of the driver with")
    (tmp_path / "driver.c").write_text(DRIVER)
    command = ["gcc", "-shared", "-fPIC", str(tmp_path / "driver.c"), "-o", str(tmp_path / "libcuda.so.1")]
    subprocess.run(command, check=True, capture_output=True)
    return tmp_path


def test_kernels_are_launched_by_name_with_their_grid_and_arguments(driver: Path, repository: Path) -> None:
    environment = {**os.environ, "LD_LIBRARY_PATH": str(driver), "PYTHONPATH": str(repository)}
    done = subprocess.run(
        [sys.executable, "-c", CALLER],
        capture_output=True,
        text=True,
        env=environment,
        timeout=200,
        check=False,
    )
    assert done.stderr == ""
    assert done.stdout.splitlines() == [
        "3",  # CUDA_ERROR_NOT_INITIALIZED: no code yet
        "200 device kernel image is invalid",
        "_ZN9fluxshard11grey_kernelEPKhiPh 16 1 1 256 4096",  # 4096 pixels, 256 threads a block
        "_ZN9fluxshard14quarter_kernelEPKhiiPh 1 1 1 256 64",  # 16 x 16 of an image of 64 rows
        "0",
    ]


def test_the_launcher_knows_every_kernel_by_the_name_that_nvidias_compiler_gives_it(repository: Path) -> None:
    """CUDA 11's compiler, for the board that needs it most: sm_72, which nvcc 13 no longer knows."""
    packages = cuda11_packages()
    code, _ = compile_kernels(packages, "sm_72")
    compiled = set(re.findall(rb"\.text\.(_ZN9fluxshard\w+)", code))
    compiler = loader.compiler()
    build.launcher_library(compiler, "sm_72")
    (library,) = sorted(loader.cache_folder().glob("cuda-launcher-*.so"), key=os.path.getmtime)[-1:]
    symbols = library.read_bytes()
    assert len(compiled) == len(instances())
    assert [name for name in compiled if name + b"\0" not in symbols] == []
    assert precompiled.digest(code) in precompiled.file_name("sm_72", code)
