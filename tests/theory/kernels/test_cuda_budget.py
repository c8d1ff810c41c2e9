"""The kernels compile for every architecture that is promised, within their registers and without spilling.

Registers bound how many warps an SM holds, and with them how much of the memory's latency is hidden.
"""

from __future__ import annotations

import pytest

from kernels.ops.cuda import build
from tests.toolchains.cuda import check_budget, cuda11_packages, instances, nvcc_log, nvrtc_log, parse_usage


@pytest.mark.parametrize("architecture", ["sm_75", "sm_86", "sm_87", "sm_90"])
def test_nvcc_keeps_the_budget(architecture: str) -> None:
    compiler = build.nvcc()
    if compiler is None:
        pytest.skip("nvcc is not installed")
    usages = parse_usage(nvcc_log(compiler, architecture))
    check_budget(usages)
    assert len(usages) == len(instances())  # and what the next test compiles is what launch.cu launches


def test_jetson_xavier_keeps_the_budget_under_cuda_11() -> None:
    """nvcc 13 no longer knows sm_72; NVRTC and ptxas of CUDA 11 do, and spill a little to hold more warps."""
    check_budget(parse_usage(nvrtc_log(cuda11_packages(), "sm_72")), spill_bytes=32)
