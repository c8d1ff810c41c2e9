"""Triton without a GPU: the kernels interpreted, and compiled ahead of time."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

import kernels.ops.triton as package

_TYPES = {
    torch.float32: "*fp32",
    torch.float16: "*fp16",
    torch.int32: "*i32",
    torch.int16: "*i16",
    torch.uint8: "*u8",
}


def load_fused(interpret: bool) -> ModuleType:
    """The module of the kernels, loaded anew: what a kernel becomes is decided when it is defined.

    Skips where Triton is not installed.
    """
    if find_spec("triton") is None:
        pytest.skip("triton is not installed")
    import triton  # noqa: F401  before the variable below changes: its own library stays compiled

    path = Path(next(iter(package.__path__))) / "fused.py"
    name = f"fused_{'interpreted' if interpret else 'compiled'}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRITON_INTERPRET", "1" if interpret else "0")
        spec.loader.exec_module(module)
    return module


@dataclass(frozen=True)
class Compiled:
    """What one launch would run on an architecture."""

    ptx: str
    shared_bytes: int
    spill_bytes: int

    @property
    def wide_loads(self) -> int:
        """Loads of 16 bytes, straight into shared memory or into registers."""
        return len(re.findall(r"ld\.global\.[^ ]*v4|cp\.async\.cg[^;]*, 0x10", self.ptx))

    @property
    def products(self) -> int:
        """Tensor-core instructions."""
        return len(re.findall(r"mma\.sync|wgmma\.mma_async", self.ptx))


def compile_for(capability: int, kernel: Any, arguments: dict[str, Any]) -> Compiled:
    """Compile a launch for sm_<capability>, then ask ptxas what it spills.

    Args:
        capability: such as 86.
        kernel: the function that Triton's decorator made.
        arguments: of the launch; tensors as large torch allocations are, at multiples of 16 bytes.
    """
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.backends.nvidia.compiler import get_ptxas
    from triton.compiler import ASTSource

    arguments = dict(arguments)
    options = {name: arguments.pop(name) for name in ("num_warps", "num_stages")}
    signature, constants, hints = {}, {}, {}
    plain = kernel.do_not_specialize
    for index, name in enumerate(kernel.arg_names):
        value = arguments[name]
        if name.isupper():
            signature[name], constants[name] = "constexpr", value
        elif isinstance(value, float):
            signature[name] = "fp32"
        else:
            signature[name] = _TYPES[value.dtype] if isinstance(value, torch.Tensor) else "i32"
            # As the launcher specialises: whatever divides by 16, unless told not to.
            if isinstance(value, torch.Tensor) or (value % 16 == 0 and name not in plain):
                hints[(index,)] = [["tt.divisibility", 16]]
    target = GPUTarget("cuda", capability, 32)
    made = triton.compile(ASTSource(kernel, signature, constants, hints), target=target, options=options)
    ptxas = get_ptxas(capability).path
    name = re.search(r"^\.target (sm_\w+)", made.asm["ptx"], re.MULTILINE)
    assert name is not None
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "kernel.ptx").write_text(made.asm["ptx"])
        command = [ptxas, "-v", f"-arch={name[1]}", f"{folder}/kernel.ptx", "-o", f"{folder}/kernel.cubin"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    spilled = re.search(r"(\d+) bytes spill stores", done.stderr)
    assert spilled is not None
    return Compiled(made.asm["ptx"], made.metadata.shared, int(spilled[1]))
