"""Power meters: NVML on a discrete GPU, tegrastats on a Jetson, RAPL on an x86 host, or none at all."""

from __future__ import annotations

import re
import shutil
import subprocess
import threading
import time
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol


class PowerMeter(Protocol):
    """Reads what the device draws."""

    name: str

    def read_w(self) -> float | None:
        """Power in watts now, or since the last reading; None where there is no reading yet."""
        ...

    def throttled(self) -> str | None:
        """Why the device holds its clock back just now; None if it does not, or does not tell."""
        ...

    def close(self) -> None:
        """Let go of the sensor."""
        ...


class NvmlMeter:
    """A discrete NVIDIA GPU, through the optional package ``nvidia-ml-py`` (imported as ``pynvml``)."""

    name = "nvml"
    _REASONS = (
        ("nvmlClocksThrottleReasonHwThermalSlowdown", "thermal slowdown"),
        ("nvmlClocksThrottleReasonSwThermalSlowdown", "thermal slowdown"),
        ("nvmlClocksThrottleReasonHwPowerBrakeSlowdown", "power brake"),
        ("nvmlClocksThrottleReasonSwPowerCap", "power cap"),
    )

    def __init__(self, nvml: Any, index: int) -> None:
        self._nvml = nvml
        nvml.nvmlInit()
        self._handle = nvml.nvmlDeviceGetHandleByIndex(index)

    def read_w(self) -> float | None:
        return float(self._nvml.nvmlDeviceGetPowerUsage(self._handle)) / 1e3

    def throttled(self) -> str | None:
        active = int(self._nvml.nvmlDeviceGetCurrentClocksThrottleReasons(self._handle))
        found = [text for name, text in self._REASONS if active & int(getattr(self._nvml, name))]
        return found[0] if found else None

    def close(self) -> None:
        self._nvml.nvmlShutdown()


class RaplMeter:
    """The processor package's energy counter, which wraps at ``max_energy_range_uj``."""

    name = "rapl"

    def __init__(self, folder: Path = Path("/sys/class/powercap/intel-rapl:0")) -> None:
        self._counter = folder / "energy_uj"
        self._range_j = int((folder / "max_energy_range_uj").read_text()) / 1e6
        self._last = self._now()

    def _now(self) -> tuple[float, float]:
        return int(self._counter.read_text()) / 1e6, time.monotonic()

    def read_w(self) -> float | None:
        (before_j, before_s), self._last = self._last, self._now()
        energy_j, at_s = self._last
        elapsed_s = at_s - before_s
        return ((energy_j - before_j) % self._range_j) / elapsed_s if elapsed_s > 0 else None

    def throttled(self) -> str | None:
        return None

    def close(self) -> None:
        pass


class TegrastatsMeter:
    """A Jetson, through the output of ``tegrastats`` (no NVML below JetPack 6)."""

    name = "tegrastats"

    def __init__(self, command: tuple[str, ...] = ("tegrastats", "--interval", "200")) -> None:
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self._line = ""
        self._reader = threading.Thread(target=self._follow, daemon=True)
        self._reader.start()

    def _follow(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._line = line

    def read_w(self) -> float | None:
        return parse_tegrastats(self._line).get("power_w")

    def throttled(self) -> str | None:
        return None

    def close(self) -> None:
        self._process.terminate()
        self._process.wait(timeout=5)
        self._reader.join(timeout=5)
        if self._process.stdout is not None:
            self._process.stdout.close()


def parse_tegrastats(line: str) -> dict[str, float]:
    """One line of tegrastats: ``power_w`` of the whole module, ``gpu_hz``, ``gpu_load``, ``gpu_celsius``.

    A rail reads ``VDD_IN 3824mW/3790mW`` (now/average) on JetPack 5, and ``VDD_IN 3824/3790`` before; an AGX
    has no VDD_IN, so its rails are summed. Keys that the line does not hold are absent.
    """
    found: dict[str, float] = {}
    rails = {
        name: float(now) for name, now in re.findall(r"\b([A-Z][A-Z0-9_]*) (\d+)(?:mW)?/\d+(?:mW)?\b", line)
    }
    rails = {name: mw for name, mw in rails.items() if name not in ("RAM", "SWAP", "IRAM")}
    if "VDD_IN" in rails:
        found["power_w"] = rails["VDD_IN"] / 1e3
    elif rails:
        found["power_w"] = sum(rails.values()) / 1e3
    if load := re.search(r"\bGR3D_FREQ (\d+)%(?:@\[?(\d+))?", line):
        found["gpu_load"] = float(load.group(1)) / 100
        if load.group(2):
            found["gpu_hz"] = float(load.group(2)) * 1e6
    if heat := re.search(r"\bGPU@([\d.]+)C", line):
        found["gpu_celsius"] = float(heat.group(1))
    return found


def find_meter(device: str) -> PowerMeter | None:
    """The meter of a device; None where none can be read."""
    if device != "cpu":
        if shutil.which("tegrastats"):
            return TegrastatsMeter()
        try:
            pynvml = import_module("pynvml")
        except ImportError:
            return None
        return NvmlMeter(pynvml, int(device.partition(":")[2] or 0))
    try:
        return RaplMeter()
    except OSError:  # absent in virtual machines, readable by root only elsewhere
        return None
