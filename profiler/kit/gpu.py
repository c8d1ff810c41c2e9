"""Everything that a GPU is asked, in minutes: checks, profiles, kernels against cuDNN, motion search.

Each part is a process of its own, as a device error leaves a process unusable: a part that fails or is cut
off is said, and the next one runs. What is left lies in one folder, `<out>/<device>/`, which goes into
`conf/profile/`:

    gpu.json                     each part with its command, how it ended and how long it took
    log/PART.txt                 what it printed
    MODEL.jsonl                  samples of the kit, for `python -m profiler refit`
    MODEL-SIZE/kernels.csv       sparse against cuDNN (`kernels.bench.gpu`), written after every subject
    search.json                  motion search on the device and on the processor, and whether they agree
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from traces.errors import InputError

ROOT = Path(__file__).resolve().parents[2]
BUDGET_S = 450.0  # 8 minutes with what ending a part takes
MODELS = ("yolo11n-seg", "yolo11m-seg")
SIZES = (640, 1024)
SEARCH_RUNS = 20


@dataclass(frozen=True, slots=True)
class GpuPart:
    """One part: `share` is what it may take of the time that is left when it starts."""

    name: str
    command: tuple[str, ...]
    share: float


@dataclass(frozen=True, slots=True)
class PartOutcome:
    """How a part ended: ``done``, ``failed``, ``cut off`` or ``left out``; `said` is its last line."""

    name: str
    ended: str
    seconds: float
    said: str
    command: str


def parts(device: str, folder: Path) -> list[GpuPart]:
    """What is run, in order: first what everything else rests on, last what is least missed."""
    program, bench = ("-m", "profiler.kit.program"), ("-m", "kernels.bench.gpu")
    found = [GpuPart("check", (*program, "check", f"device={device}"), 0.4)]
    for size in SIZES:
        for model in MODELS:
            first = size == SIZES[0] and model == MODELS[0]
            name = model if size == 640 else f"{model}-{size}"
            settings = (
                *(f"model={model}", f"device={device}", f"resolution={size}", "budget_s=15"),
                *("repeats=15", "threads=1", f"codecs={str(first).lower()}", f"out={folder / name}.jsonl"),
            )
            found.append(GpuPart(f"profile {name}", (*program, *settings), 0.35))
    found.append(
        GpuPart("search", ("-m", "profiler.kit.gpu", "search", str(folder / "search.json"), device), 0.3)
    )
    for size in SIZES:
        for model in MODELS:
            place = ("--output", str(folder / f"{model}-{size}"))
            settings = ("--model", f"{model}:{size}", "--repeats", "5", "--no-layers", "--margin", "0", "16")
            found.append(GpuPart(f"kernels {model} {size}", (*bench, *settings, *place), 0.5))
    return found


def run_everything(
    say: Callable[[str], None],
    out: str = "gpu-results",
    budget_s: float = BUDGET_S,
    device: str | None = None,
    run: Callable[[GpuPart, float, Path], tuple[str, str]] | None = None,
) -> int:
    """Run every part; what fails is said and does not stop the rest.

    Args:
        say: progress, line by line.
        out: folder that holds a folder for each device.
        budget_s: of all parts together; a part that would start after it is left out.
        device: the first GPU when None.
        run: runs a part within seconds, for trying this out; returns how it ended and its last line.

    Returns:
        0 where every part was done, 1 otherwise.

    Raises:
        InputError: there is no such device, or the folder cannot be written.
    """
    from profiler.kit.checks import chosen_device
    from profiler.measure.devices import describe

    device = chosen_device(device)
    if device == "cpu" and run is None:
        raise InputError(
            "device: expected a GPU that torch sees, found none: model=NAME device=cpu measures a processor"
        )
    info = describe(device, 1)
    folder = Path(out) / info.slug
    try:
        (folder / "log").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"out: expected a folder that can be written, found {error}") from error
    began_s = time.monotonic()
    outcomes: list[PartOutcome] = []
    for part in parts(device, folder):
        left_s = budget_s - (time.monotonic() - began_s)
        start_s = time.monotonic()
        if left_s < 10:
            ended, said = "left out", f"{budget_s:.0f} s are up"
        else:
            say(f"{part.name}: {left_s:.0f} s left")
            log = folder / "log" / f"{part.name.replace(' ', '_')}.txt"
            ended, said = (run or run_part)(part, max(10.0, part.share * left_s), log)
        taken_s = round(time.monotonic() - start_s, 1)
        say(f"  {ended}, {taken_s} s{': ' + said if ended != 'done' else ''}")
        command = " ".join(part.command).replace(str(folder) + os.sep, "")
        outcomes.append(PartOutcome(part.name, ended, taken_s, said, command))
        _write(folder, info, outcomes)
    failed = [one.name for one in outcomes if one.ended != "done"]
    done, taken_s = len(outcomes) - len(failed), time.monotonic() - began_s
    say(f"{done} of {len(outcomes)} parts done, {taken_s:.0f} s: {folder}")
    for name in failed:
        say(f"not done: {name}")
    for path in sorted(folder.glob("*.jsonl")):
        say(f"on the desk: python -m profiler refit {shlex.quote(str(path))}")
    return 1 if failed else 0


def run_part(part: GpuPart, limit_s: float, log: Path) -> tuple[str, str]:
    """Run a part as a process: how it ended, and its last line."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
    with open(log, "w", encoding="utf-8") as file:
        process = subprocess.Popen(
            [sys.executable, *part.command], stdout=file, stderr=subprocess.STDOUT, env=environment
        )
        try:
            code = process.wait(timeout=limit_s)
            ended = "done" if code == 0 else "failed"
        except subprocess.TimeoutExpired:
            process.terminate()
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            ended = "cut off"
        except BaseException:
            process.kill()
            process.wait()
            raise
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return ended, (lines[-1][:200] if lines else "it printed nothing")


def _write(folder: Path, info: Any, outcomes: Sequence[PartOutcome]) -> None:
    from profiler.kit.measuring import kit_version

    made = {
        "device": info.name,
        "driver": info.driver,
        "versions": info.versions,
        "clock_state": info.clock_state,
        **kit_version(),
        "parts": [asdict(one) for one in outcomes],
    }
    (folder / "gpu.json").write_text(json.dumps(made, indent=1) + "\n", encoding="utf-8")


def compare_search(path: Path, device: str) -> int:
    """Time motion search on the device and on the processor, and compare the results; 1 where they differ."""
    import numpy as np
    import torch

    from kernels.motion import compiled_search
    from kernels.ops import cuda
    from profiler.kit.frames import made_frames
    from profiler.measure.devices import CudaClock, HostClock

    rows = []
    for size in SIZES:
        frames, references = made_frames((size, size))
        on_device = [torch.from_numpy(one).to(device) for one in (frames[0], references[0])]
        prepared = cuda.prepare(on_device[1])
        reference = compiled_search.build_pyramid(references[0])

        def device_search(image: Any = on_device[0], against: Any = prepared) -> Any:
            return cuda.search_motion(cuda.prepare(image), against)

        def host_search(image: Any = frames[0], against: Any = reference) -> Any:
            return compiled_search.search_motion(compiled_search.build_pyramid(image), against)

        vectors, difference = (one.cpu().numpy() for one in device_search())
        field = host_search()
        equal = np.array_equal(vectors, field.vectors) and np.array_equal(difference, field.difference)
        times = {"device_s": [], "processor_s": []}  # type: dict[str, list[float]]
        for _ in range(SEARCH_RUNS):
            times["device_s"].append(CudaClock(device).seconds(device_search))
            times["processor_s"].append(HostClock().seconds(host_search))
        medians = {name: float(np.median(values)) for name, values in times.items()}
        rows.append({"size_px": size, "equal": bool(equal), **medians})
        print(rows[-1], flush=True)
    path.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    return 0 if all(row["equal"] for row in rows) else 1


if __name__ == "__main__":
    if sys.argv[1:2] != ["search"] or len(sys.argv) != 4:
        sys.exit("kit: expected search FILE DEVICE")
    sys.exit(compare_search(Path(sys.argv[2]), sys.argv[3]))
