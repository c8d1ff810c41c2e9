"""One measurement on a board: describe it, build the model, time everything, line by line into one file."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
import shlex
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from profiler.kit.samples_file import SampleLog, check_place
from profiler.options import DEFAULT_RESOLUTION_PX, profile_name
from traces.errors import InputError

BLOCK_PX = 16
MANIFEST = Path(__file__).with_name("manifest.json")  # written by the packing: version and commit of the code
NOT_CARRIED = {
    "residual": "its coder is compiled by numba, which the kit does without",
    "delta": "its coder is compiled by numba, which the kit does without",
    "quantised": "sent by one system of the simulator alone",
    "features": "made by the default network's trained stages, which the kit does not carry",
}


@dataclass(frozen=True, slots=True)
class BoardOptions:
    """What to measure; the fields are the command's keys (`profiler.kit.program`)."""

    model: str
    device: str | None = None
    resolution_px: tuple[int, int] = DEFAULT_RESOLUTION_PX
    precision: str = "fp32"
    policy: str = "fixed"
    backend: str | None = None
    name: str | None = None
    weights: str | None = None
    repeats: int = 15
    budget_s: float = 240.0
    threads: int = 1
    clock: str = "wall"
    seed: int = 0
    margin_px: int = 16
    codecs: bool = True
    power_mode: str | None = None
    fresh: bool = False
    out: str | None = None

    @property
    def profile_name(self) -> str:
        """What the profile is called."""
        return profile_name(self.model, self.resolution_px)

    @property
    def command(self) -> str:
        """The command with these options; of files only the names."""
        words = [f"model={self.model}"]
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.name in ("model", "fresh", "out") or value == field.default:
                continue
            key = {"resolution_px": "resolution", "margin_px": "margin"}.get(field.name, field.name)
            if field.name == "resolution_px":
                value = "{}x{}".format(*value)
            elif field.name == "weights":
                value = Path(value).name
            elif isinstance(value, bool):
                value = str(value).lower()
            words.append(f"{key}={value}")
        return " ".join(["fluxshard-kit.pyz", *words])


def measure_board(chosen: BoardOptions, say: Callable[[str], None], *, checked: bool = False) -> int:
    """Measure, and write the samples file.

    Args:
        chosen: what.
        say: progress, line by line.
        checked: every backend has been compared with the reference already.

    Returns:
        0: done.

    Raises:
        InputError: the options cannot be met, or the device or the disk failed: samples so far are in the
        file.
    """
    from kernels.models.registry import check_name
    from profiler.kit.checks import check_board, chosen_device, refuse_wrong
    from profiler.measure.devices import clock_for, tune_allocator

    began_s = time.monotonic()
    try:
        check_name(chosen.model, "model")
    except ValueError as error:
        raise InputError(str(error)) from error
    if chosen.weights is not None and not Path(chosen.weights).is_file():
        raise InputError(f"weights: expected a safetensors file, found no file {chosen.weights!r}")
    check_place(chosen.out or "samples.jsonl")
    findings = check_board(chosen.device, chosen.power_mode, say, quick=checked)
    refuse_wrong(findings, chosen.backend)
    device = chosen_device(chosen.device)
    clock = clock_for(device, chosen.clock, chosen.threads)
    allocator = tune_allocator()
    import torch

    torch.set_num_threads(chosen.threads)
    log = None
    try:
        log = _measured(
            chosen, device, clock, allocator, [one.said for one in findings if one.good is False], say
        )
    except OSError as error:
        raise InputError(
            f"samples file: expected a disk with room, found {error}: what was measured is kept"
        ) from error
    taken_s = time.monotonic() - began_s
    say(f"{len(log.rows)} samples and {len(log.codecs)} of codecs in {log.path}, {taken_s:.0f} s")
    say(f"on the desk: python -m profiler refit {shlex.quote(log.path.name)}")
    return 0


def _measured(
    chosen: BoardOptions,
    device: str,
    clock: Any,
    allocator: bool,
    lacking: list[str],
    say: Callable[[str], None],
) -> SampleLog:
    from kernels.motion import compiled_search
    from profiler.kit.board import board_state, clock_note
    from profiler.kit.frames import board_pairs
    from profiler.latency.disturbance import BUSY_CORES, busy_note, disturbing
    from profiler.measure.devices import background_cores, describe
    from profiler.measure.power import find_meter
    from profiler.measure.profiled_model import build_network
    from profiler.measure.sampling import SamplingPlan, measure

    info = describe(device, chosen.threads)
    state = board_state(device)
    model = build_network(chosen.model, chosen.weights, chosen.seed)
    pairs = board_pairs(chosen.resolution_px, BLOCK_PX)
    profiled = _profiled(chosen, model, pairs, device)
    without: dict[str, str] = {}
    if profiled.extraction.how == "processor" and (reason := compiled_search.unavailable()) is not None:
        without["extract"] = reason
    coding = codecs_missing()
    if "jpeg" in coding:
        without["encode"] = coding["jpeg"]
    notes = [f"not measured: {what}: {why}" for what, why in without.items()]
    if chosen.clock == "thread":
        notes.append("processor time of one thread: waiting for a core is left out, tails are too thin")
    if state["gpu_clock"] and state["gpu_clock"]["least_hz"] != state["gpu_clock"]["most_hz"]:
        notes.append(clock_note(state["gpu_clock"]))
    notes += [f"the kit found: {reason}" for reason in lacking]
    busy = background_cores()
    if busy is not None and busy > BUSY_CORES and chosen.clock == "wall":
        notes.append(busy_note(busy, "at the start"))
    used, refused = profiled.backends_used()
    meta = {
        "device": chosen.name or info.slug,
        "model": chosen.profile_name,
        "resolution_px": list(chosen.resolution_px),
        "block_px": BLOCK_PX,
        "precision": chosen.precision,
        "policy": chosen.policy,
        "backend": profiled.backend,
        "threads": chosen.threads,
        "clock": chosen.clock,
        "weights": _weights_name(chosen.weights),
        "video": f"{pairs.name} (composed)" if pairs.synthetic else pairs.name,
        "hardware": info.name,
        "driver": info.driver,
        "versions": info.versions,
        "clock_state": info.clock_state,
        "board": state,
        "allocator_tuned": allocator,
        "extraction": profiled.extraction.how,
        "operations_by_backend": used,
        "backends_refused": refused,
        "background_cores": None if busy is None else round(busy, 2),
        "date": datetime.now(timezone.utc).strftime("%Y-%m-%d"),
        "source": chosen.command,
        "layers": [asdict(one) for one in profiled.layer_sizes()],
        "codecs_missing": coding,
        **kit_version(),
    }
    out = chosen.out or f"{meta['device']}_{chosen.profile_name}.jsonl"
    log = SampleLog(out, meta, fresh=chosen.fresh)
    if log.resumed:
        say(f"resuming: {log.resumed} samples found in {log.path}")
    if log.damaged:
        say(f"note: {log.damaged} damaged lines of {log.path} are left out and measured again")
    earlier = disturbing(log.previous.get("notes", ()))
    for note in notes:
        say(f"note: {note}")
    log.meta["notes"] = list(dict.fromkeys([*earlier, *notes]))
    meter = find_meter(device)
    plan = SamplingPlan(
        repeats=chosen.repeats,
        budget_s=chosen.budget_s,
        masks=("random", "clustered") if pairs.synthetic else ("random", "clustered", "recorded"),
        seed=chosen.seed,
        margins_px=(chosen.margin_px,) if chosen.margin_px and chosen.policy == "fixed" else (),
        without=tuple(without),
    )
    try:
        idle_w = meter.read_w() if meter else None
        outcome = measure(
            profiled,
            clock,
            log,
            plan,
            pairs.difference,
            meter=meter,
            say=say,
            after_round=_sensor_reader(log, device),
        )
        if outcome.rounds:
            log.meta["elapsed_s"] = round(outcome.elapsed_s, 1)
            log.meta["notes"] = list(dict.fromkeys([*earlier, *notes, *outcome.findings]))
            if outcome.background_cores is not None:
                log.meta["background_cores_measuring"] = round(outcome.background_cores, 2)
            if meter:
                log.meta["power_w"] = {"idle_w": idle_w, "busy_w": outcome.busy_w}
                log.meta["power_meter"] = meter.name
        if chosen.codecs:
            _time_codecs(log, pairs, chosen, coding, say)
        log.flush(complete=True)
    finally:
        log.close()
        if meter:
            meter.close()
    return log


def _sensor_reader(log: SampleLog, device: str) -> Callable[[], None]:
    """Writes a reading of the sensors into the samples file at each call."""
    from profiler.kit.board import gpu_clock, smi, temperatures

    began_s = time.monotonic()

    def read() -> None:
        readings: dict[str, Any] = {
            "at_s": round(time.monotonic() - began_s, 1),
            "celsius": temperatures(),
        }
        clock = gpu_clock() if device != "cpu" else None
        if clock is not None:
            readings["gpu_hz"] = clock["now_hz"]
        elif device != "cpu":
            readings["nvidia_smi"] = smi("clocks.sm,power.draw,temperature.gpu", device)
        log.add_sensors(readings)

    return read


def _profiled(chosen: BoardOptions, model: Any, pairs: Any, device: str) -> Any:
    from kernels.motion import compiled_search
    from profiler.measure.profiled_model import SparseExecutorModel
    from profiler.measure.sampling import device_failure

    without_search = device == "cpu" and compiled_search.unavailable() is not None
    try:
        return SparseExecutorModel(
            model,
            pairs,
            device=device,
            precision=chosen.precision,
            policy=chosen.policy,
            backend=chosen.backend,
            block_px=BLOCK_PX,
            extraction=NoSearch if without_search else None,
        )
    except (MemoryError, RuntimeError) as error:
        raise device_failure(error) from error


class NoSearch:
    """Extraction where nothing can search: it is not measured, and the samples say why."""

    how = "processor"

    def __init__(self, pairs: Any, block_px: int, device: str) -> None:
        """The arguments are those of any extraction."""

    def extract(self, step: int) -> None:
        raise NotImplementedError("extraction is not measured here")


def codecs_missing() -> dict[str, str]:
    """Codecs that cannot be timed here, each with the reason."""
    from kernels.codecs import image_files

    missing = dict(NOT_CARRIED)
    if (reason := image_files.unavailable()) is not None:
        missing.update(dict.fromkeys(("jpeg", "jpeg_420", "png"), reason))
    elif image_files.library() == "opencv":
        missing.update(_opencv_lacks())
    if find_spec("av") is None:
        missing["h264"] = "PyAV is not installed"
    else:
        try:
            import av

            av.CodecContext.create("libx264", "w")
        except Exception as error:
            missing["h264"] = f"PyAV has no libx264 here: {type(error).__name__}"
    return missing


def _opencv_lacks() -> dict[str, str]:
    import numpy as np

    from kernels.codecs.image_files import write_image

    try:
        write_image(np.zeros((16, 16, 3), np.uint8), "JPEG", subsampling=0)
    except ValueError as error:
        return {"jpeg": str(error)}
    return {}


def _time_codecs(
    log: SampleLog, pairs: Any, chosen: BoardOptions, missing: dict[str, str], say: Callable[[str], None]
) -> None:
    from profiler.measure.codec_samples import measure_codecs
    from profiler.measure.devices import clock_for

    say("timing codecs on the processor")
    for name, reason in missing.items():
        say(f"  without {name}: {reason}")
    measure_codecs(
        pairs,
        clock_for("cpu", chosen.clock, 1),
        BLOCK_PX,
        repeats=min(9, chosen.repeats),
        seed=chosen.seed,
        without=missing,
        sink=log,
    )


def _weights_name(path: str | None) -> str:
    """What samples call the weights: never a path, and the same name only for the same bytes."""
    if path is None:
        return "random"
    digest = hashlib.sha256(Path(path).read_bytes()).hexdigest()[:12]
    return f"{re.sub('[^A-Za-z0-9._-]', '_', Path(path).name)} ({digest})"


def kit_version() -> dict[str, Any]:
    """Version and commit of the code, as the packing wrote them; outside a kit neither is known."""
    if not MANIFEST.is_file():
        return {"commit": None, "kit": None}
    made = json.loads(MANIFEST.read_text(encoding="utf-8"))
    return {"commit": made["commit"], "kit": made["kit"]}
