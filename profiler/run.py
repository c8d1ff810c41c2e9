"""A whole profiling run: describe the machine, build the model, measure, fit, write the profile."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass, fields
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from conf.search_path import writable_folder
from profiler.codecs import FILE as CODEC_FILE
from profiler.codecs import CodecOptions, codecs_beside, profile_codecs, write_for_device
from profiler.latency import read_codecs_file, read_profile, save_profile
from profiler.latency.disturbance import BUSY_CORES, busy_note, disturbing
from profiler.measure.devices import background_cores, check_device, clock_for, describe, tune_allocator
from profiler.measure.masks import FramePairs, available_masks, collect_frame_pairs
from profiler.measure.power import find_meter
from profiler.measure.profiled_model import SparseExecutorModel, build_network
from profiler.measure.samples import read_samples
from profiler.measure.sampling import SamplingPlan, device_failure, measure
from profiler.measure.sources import sources_commit
from profiler.measure.store import SampleStore
from profiler.options import DEFAULT_RESOLUTION_PX, profile_name
from profiler.refit import FittedProfile, fit_profile
from profiler.report.profile_report import plot_profile
from traces.errors import InputError

BLOCK_PX = 16


@dataclass(frozen=True, slots=True)
class ProfilingOptions:
    """What to profile; the fields are the command's keys.

    Attributes:
        model: a name that :func:`kernels.models.build_model` knows.
        device: ``cpu`` or ``cuda:<index>``.
        name: folder of the profile; from the device's own name when None.
        weights: safetensors file; random weights when None, which take the same time.
        video: clip or folder that recorded active sets follow; the embedded scene when None.
        clock: ``wall``, or ``thread`` where the machine cannot be kept quiet.
        out: folder that holds a folder for each device; the checkout's own, or the user's.
    """

    model: str
    device: str = "cpu"
    resolution_px: tuple[int, int] = DEFAULT_RESOLUTION_PX
    precision: str = "fp32"
    policy: str = "fixed"
    backend: str | None = None
    name: str | None = None
    weights: str | None = None
    video: str | None = None
    repeats: int = 15
    budget_s: float = 240.0
    threads: int = 1
    clock: str = "wall"
    seed: int = 0
    fresh: bool = False
    out: str = dataclasses.field(default_factory=lambda: str(writable_folder("profile")))

    @property
    def profile_name(self) -> str:
        """What the profile is called."""
        return profile_name(self.model, self.resolution_px)

    @property
    def command(self) -> str:
        """The command with these options; of files only the names."""
        words = [f"model={self.model}", f"device={self.device}"]
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name in ("model", "device", "fresh", "out") or value == field.default:
                continue
            if field.name == "resolution_px":
                words.append("resolution={}x{}".format(*value))
            elif field.name in ("weights", "video"):
                words.append(f"{field.name}={Path(value).name}")
            else:
                words.append(f"{field.name}={value}")
        return " ".join(["python -m profiler", *words])


def profile_device(
    options: ProfilingOptions, say: Callable[[str], None] = print
) -> tuple[FittedProfile, Path]:
    """Measure a model on a device; writes the profile, its samples and its picture.

    Returns:
        The fits, and the path of the profile: ``<out>/<device>/<model>.yaml``, beside a folder of the
        model's name with ``samples.parquet`` and ``profile.png``.

    Raises:
        InputError: the options cannot be met; samples that were taken stay on the disk.
    """
    check_device(options.device)
    clock = clock_for(options.device, options.clock, options.threads)
    allocator = tune_allocator()  # before torch allocates anything large
    import torch

    from kernels.models.registry import check_name

    try:
        check_name(options.model, "model")
    except ValueError as error:
        raise InputError(str(error)) from error
    torch.set_num_threads(options.threads)
    info = describe(options.device, options.threads)
    slug = options.name or info.slug
    folder = Path(options.out) / slug
    profile_path = folder / f"{options.profile_name}.yaml"
    _refuse_published(profile_path)
    say(f"{info.name}, torch {info.versions['torch']}, {options.threads} thread(s); profile {slug}")
    with ExitStack() as stack:
        meter = find_meter(options.device)
        if meter:
            stack.callback(meter.close)
        busy = background_cores()
        idle_w = meter.read_w() if meter else None
        findings = _background_findings(options, busy, say)
        model = build_network(options.model, options.weights, options.seed)
        say("searching motion in the video")
        try:
            pairs = collect_frame_pairs(options.video, options.resolution_px, BLOCK_PX)
        except MemoryError as error:
            raise InputError(f"resolution: expected frames that fit in memory, found: {error}") from error
        profiled = _prepare_model(options, model, pairs)
        meta = {
            **_identity(options, slug, profiled, pairs),
            "hardware": info.name,
            "driver": info.driver,
            "versions": info.versions,
            "clock_state": info.clock_state,
            "allocator_tuned": allocator,
            "extraction": profiled.extraction.how,
            "background_cores": None if busy is None else round(busy, 2),
            "commit": sources_commit(),
            "date": datetime.now(timezone.utc).strftime("%Y-%m-%d"),
            "source": options.command,
            "layers": [asdict(one) for one in profiled.layer_sizes()],
        }
        store = SampleStore(folder / options.profile_name / "samples.parquet", meta, fresh=options.fresh)
        if store.resumed:
            say(f"resuming: {store.resumed} samples found in {store.path}")
        plan = SamplingPlan(
            repeats=options.repeats,
            budget_s=options.budget_s,
            masks=tuple(available_masks(pairs)),
            seed=options.seed,
        )
        earlier = disturbing(store.previous.get("notes", ()))
        store.meta["notes"] = [*earlier, *findings]  # should the run be cut short
        outcome = measure(profiled, clock, store, plan, pairs.difference, meter=meter, say=say)
        if outcome.rounds:
            store.meta["elapsed_s"] = round(outcome.elapsed_s, 1)
            store.meta["notes"] = list(dict.fromkeys([*earlier, *findings, *outcome.findings]))
            if outcome.background_cores is not None:
                store.meta["background_cores_measuring"] = round(outcome.background_cores, 2)
            if meter:
                store.meta["power_w"] = {"idle_w": idle_w, "busy_w": outcome.busy_w}
                store.meta["power_meter"] = meter.name
        else:  # all was there: what the file says of its measurement still holds
            store.meta.update(store.previous)
    store.flush(complete=True)
    if options.fresh or not (folder / CODEC_FILE).is_file():
        codecs = CodecOptions(slug, options.video, options.resolution_px, options.clock, seed=options.seed)
        table, _ = profile_codecs(dataclasses.replace(codecs, out=options.out), say, pairs)
        write_for_device(table, folder)
    return fit_and_write(store.path, profile_path)


def fit_and_write(
    samples_path: Path | str, out: Path | str, overrides: dict[str, Any] | None = None, *, seed: int = 0
) -> tuple[FittedProfile, Path]:
    """Fit a samples file and write the profile and its picture (see :func:`plot_path`).

    Raises:
        InputError: the samples are invalid or do not determine a curve, or ``out`` holds published figures or
            cannot be written.
    """
    _refuse_published(Path(out))
    samples = read_samples(samples_path)
    place = Path(out).resolve()
    names = {"device": place.parent.name, "model": place.stem}  # what a loader will ask of this place
    unnamed = {key: name for key, name in names.items() if key not in samples.meta}
    found = fit_profile(samples, {**unnamed, **(overrides or {})}, seed=seed)
    # Those that lie beside it serve it; a profile that is written elsewhere takes them along.
    codecs = read_codecs_file(place.parent) or codecs_beside(Path(samples_path).resolve().parent.parent)
    if codecs is not None:
        found = dataclasses.replace(found, profile=dataclasses.replace(found.profile, codecs=codecs))
    save_profile(found.profile, out)
    plot_profile(found, plot_path(samples_path, out))
    return found, Path(out)


def plot_path(samples_path: Path | str, out: Path | str) -> Path:
    """``<model>/profile.png`` beside the profile's own samples; else the profile's name with ``.png``."""
    samples, out = Path(samples_path), Path(out)
    own = samples.resolve() == (out.with_suffix("") / "samples.parquet").resolve()
    return samples.with_name("profile.png") if own else out.with_suffix(".png")


def _refuse_published(path: Path) -> None:
    """Refuse to overwrite a published profile: a board of the papers' kind has the same name."""
    if path.is_file() and read_profile(path).provenance["kind"] != "measured":
        raise InputError(f"{path}: holds published figures: give name=<another device name> or out=")


def _background_findings(
    options: ProfilingOptions, busy: float | None, say: Callable[[str], None]
) -> list[str]:
    if options.clock == "thread":
        return ["processor time of one thread: waiting for a core is left out, tails are too thin"]
    if busy is None or busy <= BUSY_CORES:
        return []
    finding = busy_note(busy, "at the start")
    say(f"note: {finding}: times will scatter, stop them if you can")
    return [finding]


def _identity(
    options: ProfilingOptions, slug: str, profiled: SparseExecutorModel, pairs: FramePairs
) -> dict[str, Any]:
    """What samples of one file must share, by the names of ``store.RUN_KEYS``."""
    return {
        "device": slug,
        "model": options.profile_name,
        "resolution_px": list(options.resolution_px),
        "block_px": BLOCK_PX,
        "precision": options.precision,
        "policy": options.policy,
        "backend": profiled.backend,
        "threads": options.threads,
        "clock": options.clock,
        "weights": Path(options.weights).name if options.weights else "random",
        "video": f"{pairs.name} (composed)" if pairs.synthetic else pairs.name,
    }


def _prepare_model(options: ProfilingOptions, model: Any, pairs: FramePairs) -> SparseExecutorModel:
    try:
        return SparseExecutorModel(
            model,
            pairs,
            device=options.device,
            precision=options.precision,
            policy=options.policy,
            backend=options.backend,
            block_px=BLOCK_PX,
        )
    except (MemoryError, RuntimeError) as error:
        raise device_failure(error) from error
