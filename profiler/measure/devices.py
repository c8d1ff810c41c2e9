"""The machine under measurement: what it is, how its time is read, and the load of other processes."""

from __future__ import annotations

import ctypes
import os
import platform
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from traces.errors import InputError


class Clock(Protocol):
    """Times one call."""

    def seconds(self, call: Callable[[], object]) -> float:
        """Run ``call`` to its end on the device and return how long that took."""
        ...


class HostClock:
    """Wall time of the host: right for work that is done when the call returns."""

    def seconds(self, call: Callable[[], object]) -> float:
        start = time.perf_counter()
        call()
        return time.perf_counter() - start


class ThreadClock:
    """Processor time of the calling thread: what a single-threaded call costs while others hold the cores.

    Waiting for a core is left out, so medians survive a busy machine and tails come out too thin.
    """

    def seconds(self, call: Callable[[], object]) -> float:
        start = time.thread_time()
        call()
        return time.thread_time() - start


class CudaClock:
    """Device events around the call on the current stream: launch gaps count, later host work does not."""

    def __init__(self, device: str) -> None:
        import torch

        self._torch = torch
        self._device = torch.device(device)

    def seconds(self, call: Callable[[], object]) -> float:
        cuda = self._torch.cuda
        with cuda.device(self._device):
            start, end = cuda.Event(enable_timing=True), cuda.Event(enable_timing=True)
            cuda.synchronize()
            start.record()
            call()
            end.record()
            end.synchronize()
            return float(start.elapsed_time(end)) / 1e3


def check_device(device: str) -> None:
    """Raise InputError unless ``device`` is ``cpu`` or a CUDA device that is here."""
    if device == "cpu":
        return
    if not re.fullmatch(r"cuda(:\d+)?", device):
        raise InputError(f"device: expected cpu or cuda:<index>, found {device!r}")
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    index = int(device.partition(":")[2] or 0)
    if index >= count:
        raise InputError(
            f"device: expected one of {count} CUDA devices (torch {torch.__version__}), found {device!r}"
        )


def clock_for(device: str, kind: str = "wall", threads: int = 1) -> Clock:
    """The clock that sees the work of a device.

    Raises:
        InputError: thread time of something that is not one thread of the host.
    """
    if kind == "thread":
        if device != "cpu" or threads != 1:
            raise InputError("clock: thread time needs device=cpu and threads=1: expected wall, found thread")
        return ThreadClock()
    return HostClock() if device == "cpu" else CudaClock(device)


@dataclass(frozen=True, slots=True)
class DeviceInfo:
    """What a profile must say about where it was measured; ``None`` for what the system does not tell."""

    name: str
    slug: str
    driver: str | None
    versions: dict[str, str]
    clock_state: dict[str, Any]


def describe(device: str, threads: int) -> DeviceInfo:
    """Read the device's name, versions and clock state; no identifier of a particular machine among them."""
    import numpy as np
    import torch

    versions = {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "kernel": platform.release().split("-")[0],
        "machine": platform.machine(),
    }
    if device == "cpu":
        name = cpu_name()
        return DeviceInfo(name, f"{_slug(name)}_{threads}thread", None, versions, cpu_clock_state())
    properties = torch.cuda.get_device_properties(device)
    versions["cuda"] = str(torch.version.cuda)
    state = {
        "capability": f"sm_{properties.major}{properties.minor}",
        "memory_bytes": properties.total_memory,
    }
    return DeviceInfo(properties.name, _slug(properties.name), _nvidia_driver(), versions, state)


def cpu_name(path: Path = Path("/proc/cpuinfo")) -> str:
    """The processor's model, or its architecture where the system names none (as on a Jetson)."""
    text = path.read_text(errors="replace") if path.is_file() else ""
    found = re.search(r"^(?:model name|Model)\s*:\s*(.+)$", text, re.MULTILINE)
    name = found.group(1).strip() if found else platform.processor() or platform.machine()
    family = re.search(r"^cpu family\s*:\s*(\d+)$", text, re.MULTILINE)
    if name == "AMD EPYC" and family:  # a virtual machine hides the rest; family 26 is Zen 5
        name += {"23": " Zen2", "25": " Zen4", "26": " Zen5"}.get(family.group(1), "")
    return name


def cpu_clock_state() -> dict[str, Any]:
    """Governor and current frequency, where the system shows them; both null in most virtual machines."""
    folder = Path("/sys/devices/system/cpu/cpu0/cpufreq")
    governor, current = folder / "scaling_governor", folder / "scaling_cur_freq"
    return {
        "governor": governor.read_text().strip() if governor.is_file() else None,
        "frequency_hz": int(current.read_text()) * 1000 if current.is_file() else None,
    }


class LoadMeter:
    """Cores that other processes keep busy, averaged from one reading to the next.

    Args:
        stat: the kernel's counters; where they are absent every reading is None.
    """

    _SHORTEST_S = 0.05  # the counters tick every 10 ms

    def __init__(self, stat: Path = Path("/proc/stat")) -> None:
        self._stat = stat
        self._last = self._now() if stat.is_file() else None

    def _now(self) -> tuple[float, float, float]:
        """Seconds that all cores were busy, that this process was, and the time."""
        user, nice, system, _idle, _iowait, irq, softirq, steal = map(
            int, self._stat.read_text().split()[1:9]
        )
        busy_s = (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")
        return busy_s, sum(os.times()[:2]), time.monotonic()

    def read(self) -> float | None:
        """Cores busy with others since the last reading; None if that was just now."""
        if self._last is None:
            return None
        now = self._now()
        busy_s, own_s, elapsed_s = (later - before for later, before in zip(now, self._last, strict=True))
        if elapsed_s < self._SHORTEST_S:
            return None
        self._last = now
        return max(0.0, (busy_s - own_s) / elapsed_s)


def background_cores(interval_s: float = 0.5, stat: Path = Path("/proc/stat")) -> float | None:
    """Cores that other processes keep busy, averaged over an interval; None where /proc does not tell."""
    meter = LoadMeter(stat)
    time.sleep(interval_s)
    return meter.read()


def tune_allocator() -> bool:
    """Keep freed memory in the process, so that a layer's output does not fault its pages in at every call.

    Without this a 5 ms layer measures 9–19 ms under glibc, which returns large blocks to the kernel at once.
    The environment variables MALLOC_MMAP_THRESHOLD_ and its relatives do the same, but only before a start.

    Returns:
        Whether the C library took the settings.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):  # not glibc
        return False
    trim_threshold, top_pad, mmap_max = -1, -2, -4  # malloc.h
    wanted = ((mmap_max, 0), (trim_threshold, 2**31 - 1), (top_pad, 64 * 2**20))
    return all(mallopt(name, value) for name, value in wanted)


def _nvidia_driver() -> str | None:
    for path, pattern in (
        (Path("/proc/driver/nvidia/version"), r"Kernel Module\D*([\d.]+)"),
        (Path("/etc/nv_tegra_release"), r"(R\d+ \(release\), REVISION: [\d.]+)"),
    ):
        found = re.search(pattern, path.read_text()) if path.is_file() else None
        if found:
            return found.group(1)
    return None


def _slug(name: str) -> str:
    """A folder name: lower case, without trade marks, vendors' filler or clock rates."""
    name = re.sub(r"\((?:R|TM|r|tm)\)|@.*|\b(?:CPU|Processor|NVIDIA|AMD|Intel|GeForce|with .*)\b", " ", name)
    name = re.sub(r"\d+-Core", " ", name)
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_") or "device"
