"""What the profiler reads from a machine: power lines, processor names, layers and their cuts."""

from __future__ import annotations

import math
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from profiler.measure.devices import HostClock, background_cores, clock_for, cpu_name, describe
from profiler.measure.layers import LayerTable
from profiler.measure.power import NvmlMeter, RaplMeter, TegrastatsMeter, parse_tegrastats
from traces.errors import InputError

XAVIER_JETPACK5 = (
    "11-20-2026 10:00:01 RAM 2451/6854MB (lfb 3x4MB) SWAP 0/3427MB (cached 0MB) CPU [12%@1190,8%@1190,off]"
    " EMC_FREQ 3%@1600 GR3D_FREQ 64%@1109 VIC_FREQ 0%@115 AUX@38.5C CPU@39.5C GPU@40C PMIC@50C"
    " VDD_IN 8412mW/7810mW VDD_CPU_GPU_CV 3654mW/3120mW VDD_SOC 1520mW/1490mW"
)


def test_tegrastats_of_a_xavier_nx() -> None:
    found = parse_tegrastats(XAVIER_JETPACK5)
    assert found == {"power_w": 8.412, "gpu_load": 0.64, "gpu_hz": 1.109e9, "gpu_celsius": 40.0}


def test_tegrastats_before_jetpack_5_and_of_a_board_without_a_total() -> None:
    assert parse_tegrastats("RAM 1/2MB GR3D_FREQ 5% VDD_IN 3824/3790 VDD_SOC 1/1")["power_w"] == 3.824
    agx = parse_tegrastats("RAM 9/31919MB SWAP 0/15959MB GPU 1000mW/900mW CPU 500mW/400mW SOC 1500mW/1400mW")
    assert agx["power_w"] == 3.0
    assert parse_tegrastats("") == {}


def test_a_meter_follows_tegrastats_and_stops_it() -> None:
    meter = TegrastatsMeter(("sh", "-c", f"echo '{XAVIER_JETPACK5}'; exec sleep 20"))
    for _ in range(100):
        if meter.read_w() is not None:
            break
        HostClock().seconds(lambda: torch.rand(100_000).sort())
    assert meter.read_w() == 8.412
    meter.close()


def test_the_package_counter_is_read_over_its_wrap(tmp_path: Path) -> None:
    (tmp_path / "max_energy_range_uj").write_text("10000000")
    (tmp_path / "energy_uj").write_text("9000000")
    meter = RaplMeter(tmp_path)
    (tmp_path / "energy_uj").write_text("1000000")
    seconds = HostClock().seconds(lambda: torch.rand(300_000).sort())
    watt = meter.read_w()
    assert watt is not None
    assert 0 < watt <= 2.0 / seconds


def test_the_processor_is_named_without_its_serial(tmp_path: Path) -> None:
    path = tmp_path / "cpuinfo"
    path.write_text("processor\t: 0\ncpu family\t: 26\nmodel name\t: AMD EPYC\n")
    assert cpu_name(path) == "AMD EPYC Zen5"
    path.write_text("model name\t: Intel(R) Core(TM) i7-1185G7 @ 3.00GHz\n")
    assert cpu_name(path) == "Intel(R) Core(TM) i7-1185G7 @ 3.00GHz"


def test_this_machine_can_be_described() -> None:
    info = describe("cpu", 1)
    assert info.slug.endswith("_1thread")
    assert info.slug == info.slug.lower()
    assert info.versions["torch"] == torch.__version__
    busy = background_cores(0.05)
    assert busy is None or (busy >= 0 and math.isfinite(busy))


def test_the_allocator_keeps_its_memory_in_a_process_of_its_own(repository: Path) -> None:
    """In glibc the setting is taken; elsewhere it is refused quietly."""
    code = (
        "import platform; from profiler.measure.devices import tune_allocator;"
        "print(tune_allocator(), platform.libc_ver())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=repository, check=True, timeout=60
    )
    assert done.stdout.startswith("True") or "glibc" not in done.stdout


def test_a_discrete_gpu_tells_power_and_throttling_through_nvml() -> None:
    calls: list[str] = []
    nvml = SimpleNamespace(
        nvmlInit=lambda: calls.append("init"),
        nvmlShutdown=lambda: calls.append("shutdown"),
        nvmlDeviceGetHandleByIndex=lambda index: index,
        nvmlDeviceGetPowerUsage=lambda handle: 215_500,  # milliwatts
        nvmlDeviceGetCurrentClocksThrottleReasons=lambda handle: reason,
        nvmlClocksThrottleReasonHwThermalSlowdown=0x40,
        nvmlClocksThrottleReasonSwThermalSlowdown=0x20,
        nvmlClocksThrottleReasonHwPowerBrakeSlowdown=0x80,
        nvmlClocksThrottleReasonSwPowerCap=0x4,
    )
    meter = NvmlMeter(nvml, 0)
    assert meter.read_w() == 215.5
    reason = 0x1  # idle: no throttling
    assert meter.throttled() is None
    reason = 0x40
    assert meter.throttled() == "thermal slowdown"
    meter.close()
    assert calls == ["init", "shutdown"]


def test_thread_time_leaves_waiting_out() -> None:
    def call() -> None:
        time.sleep(0.05)

    assert HostClock().seconds(call) >= 0.05
    assert clock_for("cpu", "thread").seconds(call) < 0.02
    for device, threads in (("cuda:0", 1), ("cpu", 2)):
        with pytest.raises(InputError, match="clock: thread time needs device=cpu and threads=1"):
            clock_for(device, "thread", threads)


class Skipping(nn.Module):
    """Layer 2 reads layer 0 past layer 1, by a concatenation that is no layer."""

    def __init__(self) -> None:
        super().__init__()
        self.model = nn.ModuleList([nn.Conv2d(3, 8, 3, 2, 1), nn.Conv2d(8, 8, 3, 1, 1), nn.Conv2d(16, 4, 1)])

    def forward(self, frame: Tensor) -> Tensor:
        first = self.model[0](frame)
        return self.model[2](torch.cat([self.model[1](first), first], dim=1))


def test_a_cut_carries_the_skip_connection() -> None:
    table = LayerTable.of(Skipping())
    assert table is not None
    with torch.inference_mode():
        sizes = table.sizes(torch.zeros(1, 3, 32, 32))
        times = table.time(torch.zeros(1, 3, 32, 32), HostClock().seconds)
    plane = 16 * 16 * 4  # bytes of a channel
    assert [one.name for one in sizes] == ["model.0", "model.1", "model.2"]
    assert [one.output_bytes for one in sizes] == [8 * plane, 8 * plane, 4 * plane]
    assert [one.live_bytes for one in sizes] == [8 * plane, 16 * plane, 4 * plane]
    assert [name for name, _ in times] == ["model.0", "model.1", "model.2"]
    assert all(seconds > 0 for _, seconds in times)


def test_layers_run_the_model_itself() -> None:
    """The sum over layers is one inference: every layer sees what the model would have given it."""
    seen: list[Tensor] = []
    model = Skipping()
    model.model[2].register_forward_hook(lambda module, inputs, output: seen.append(output))
    table = LayerTable.of(model)
    assert table is not None
    frame = torch.rand(1, 3, 32, 32)
    with torch.inference_mode():
        table.time(frame, HostClock().seconds)
        torch.testing.assert_close(seen[-1], model(frame))


def test_a_model_with_control_flow_on_values_has_no_layers() -> None:
    class Branching(nn.Module):
        def forward(self, frame: Tensor) -> Tensor:
            return frame if frame.sum() > 0 else -frame

    assert LayerTable.of(Branching()) is None


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_the_device_clock_sees_device_time() -> None:
    from profiler.measure.devices import CudaClock

    size = torch.rand(4096, 4096, device="cuda")
    clock = CudaClock("cuda:0")
    clock.seconds(lambda: size @ size)
    one = clock.seconds(lambda: size @ size)
    four = clock.seconds(lambda: [size @ size for _ in range(4)])
    assert four == pytest.approx(4 * one, rel=0.5)
