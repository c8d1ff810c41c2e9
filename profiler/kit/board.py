"""What a board has and how it is set: versions, compilers, libraries, power mode, clocks, sensors."""

from __future__ import annotations

import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from traces.errors import InputError

TORCH_AT_LEAST = (1, 13)
JETSON_CLOCKS = "sudo jetson_clocks"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of what was looked at.

    Args:
        what: was looked at.
        good: None where it is neither good nor bad, only to be known.
        said: of it.
        backend: whose operations were; None: not those of one backend.
    """

    what: str
    good: bool | None
    said: str
    backend: str | None = None

    def __str__(self) -> str:
        mark = {True: "ok", False: "--", None: "  "}[self.good]
        return f"{mark}  {self.what:<12} {self.said}"


def check_libraries() -> list[Finding]:
    """Python, torch and numpy, and what else serves where it is there.

    Raises:
        InputError: torch or numpy is missing, or too old to measure with.
    """
    found = [Finding("python", True, platform.python_version())]
    for name in ("torch", "numpy"):
        if find_spec(name) is None:
            raise InputError(f"{name}: expected to be installed for {sys.executable}, found none")
    import numpy as np
    import torch

    version = tuple(int(part) for part in re.findall(r"\d+", torch.__version__)[:2])
    if version < TORCH_AT_LEAST:
        raise InputError(f"torch: expected 1.13 or later, found {torch.__version__}")
    missing = [name for name in NEEDED_OPERATORS if not hasattr(torch.ops.aten, name)]
    if missing:
        raise InputError(
            f"torch: expected the operator aten::{missing[0]}, found {torch.__version__} without it"
        )
    found.append(Finding("torch", True, f"{torch.__version__}, CUDA {torch.version.cuda or 'not built in'}"))
    found.append(Finding("numpy", True, np.__version__))
    for name, use in (("PIL", "JPEG, PNG"), ("cv2", "JPEG, PNG where Pillow is missing"), ("av", "H.264")):
        found.append(_library(name, use))
    return found


# Of what the executor and the networks call, the latest to enter torch.
NEEDED_OPERATORS = ("convolution", "silu", "upsample_nearest2d", "max_pool2d", "index_put_", "sigmoid")


def _library(name: str, use: str) -> Finding:
    if find_spec(name) is None:
        return Finding(name, None, f"not installed: not needed, would serve {use}")
    try:
        version = getattr(import_module(name), "__version__", "of unknown version")
    except Exception as error:
        return Finding(name, False, f"cannot be imported: {first_line(error)}")
    return Finding(name, True, f"{version}: {use}")


def power_mode() -> str | None:
    """A Jetson's power mode by its name, such as ``MODE_20W_6CORE``; None elsewhere."""
    said = ask("nvpmodel", "-q")
    found = re.search(r"Power Mode:\s*(\S+)", said or "")
    return found.group(1) if found else None


def gpu_clock(root: Path = Path("/sys")) -> dict[str, int] | None:
    """``least_hz``, ``most_hz`` and ``now_hz`` of a Jetson's GPU; None where it is not shown."""
    for folder in sorted((root / "class" / "devfreq").glob("*")):
        if re.search(r"gpu|gv11b|gp10b|ga10b|gm20b", folder.name):
            try:
                return {
                    f"{key}_hz": int((folder / f"{name}_freq").read_text())
                    for key, name in (("least", "min"), ("most", "max"), ("now", "cur"))
                }
            except (OSError, ValueError):
                return None
    return None


def check_clocks(device: str, expected_mode: str | None = None, root: Path = Path("/sys")) -> list[Finding]:
    """Power mode and clock, and what to do where they make a measurement hard to use.

    Raises:
        InputError: the power mode is another than the one that was asked for.
    """
    found: list[Finding] = []
    mode = power_mode()
    if expected_mode is not None and mode != expected_mode:
        raise InputError(
            f"power_mode: expected {expected_mode}, found {mode or 'none: nvpmodel says nothing'}:"
            " sudo nvpmodel -m sets it, nvpmodel -q --verbose lists them"
        )
    if mode is not None:
        found.append(Finding("power mode", None, f"{mode}: times hold for this one alone"))
    if device == "cpu":
        return found
    clock = gpu_clock(root)
    if clock is not None:
        fixed = clock["least_hz"] == clock["most_hz"]
        said = (
            f"{clock['now_hz'] / 1e6:.0f} MHz, {clock['least_hz'] / 1e6:.0f} to {clock['most_hz'] / 1e6:.0f}"
        )
        found.append(Finding("gpu clock", fixed, said if fixed else f"{said}: {clock_note(clock)}"))
    return found


def clock_note(clock: Mapping[str, int]) -> str:
    """What samples say of a clock that the governor moves."""
    return (
        f"the GPU's clock is not fixed ({clock['least_hz'] / 1e6:.0f} to {clock['most_hz'] / 1e6:.0f} MHz):"
        f" times follow the governor; {JETSON_CLOCKS} fixes it"
    )


def board_state(device: str, root: Path = Path("/sys")) -> dict[str, Any]:
    """What the head of a samples file says of how the board was set; null for what is not shown."""
    state: dict[str, Any] = {"power_mode": power_mode(), "gpu_clock": gpu_clock(root)}
    if device != "cpu" and state["gpu_clock"] is None:
        columns = "clocks.sm,clocks.mem,clocks.max.sm,power.draw,power.limit,temperature.gpu"
        state["nvidia_smi"] = smi(columns, device)
    return state


def temperatures(root: Path = Path("/sys")) -> dict[str, float]:
    """Every thermal zone in °C, by its name."""
    found: dict[str, float] = {}
    for zone in sorted((root / "class" / "thermal").glob("thermal_zone*")):
        try:
            name = (zone / "type").read_text().strip()
            found[name] = int((zone / "temp").read_text()) / 1000
        except (OSError, ValueError):
            continue
    return found


def smi(what: str, device: str) -> dict[str, str] | None:
    """What nvidia-smi says of a GPU; None without it, or where it shows several and torch names none.

    The two count GPUs in different orders, so that an index would mean another one.

    Args:
        what: columns of ``--query-gpu``, with commas between them.
        device: ``cuda:<index>``, as torch counts.
    """
    import torch

    identity = getattr(torch.cuda.get_device_properties(device), "uuid", None)  # older torch has none
    which = [f"--id=GPU-{identity}"] if identity is not None else []
    said = (ask("nvidia-smi", *which, f"--query-gpu={what}", "--format=csv,noheader") or "").splitlines()
    return dict(zip(what.split(","), said[0].split(", "), strict=False)) if len(said) == 1 else None


def ask(*command: str) -> str | None:
    """What a program prints; None where there is none, it fails or hangs."""
    if shutil.which(command[0]) is None:
        return None
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=20)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def first_line(error: BaseException) -> str:
    """An error in one line: its name, and the start of what it says."""
    said = " ".join(str(error).split())[:160]
    return f"{type(error).__name__}{': ' if said else ''}{said}"


def shown(findings: Sequence[Finding]) -> str:
    """Findings as lines."""
    return "\n".join(map(str, findings))
