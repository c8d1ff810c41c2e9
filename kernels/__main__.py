"""The command `python -m kernels`: what runs here, whether it is right, how fast it is."""

from __future__ import annotations

import argparse
import os
import platform
import sys
from collections.abc import Sequence
from pathlib import Path


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; 0 on success, 1 where a check failed, 2 on bad input, which is printed as one line."""
    parser = argparse.ArgumentParser(prog="python -m kernels", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("info", help="backends, devices and compilers, and why some are not used")
    check = commands.add_parser("check", help="every available backend against the reference")
    check.add_argument("--seed", type=int, default=0)
    truncation = commands.add_parser(
        "truncation", help="build the ε profile of the truncate policy from videos"
    )
    truncation.add_argument("videos", type=Path, nargs="+", help="video files, or folders of images")
    truncation.add_argument("--output", type=Path, required=True, help="profile to write (.json)")
    truncation.add_argument("--model", default="yolo11n-seg")
    truncation.add_argument("--weights", type=Path, help="safetensors of the model; the default has its own")
    truncation.add_argument("--size-px", type=int, default=640, help="side of the network's input")
    truncation.add_argument("--frames", type=int, default=40, help="frames to read of each video")
    truncation.add_argument(
        "--tolerance", type=float, default=0.02, help="error that ε may add, in deviations"
    )
    truncation.add_argument("--threshold", type=float, default=0.025, help="τ of the miss classifier")
    bench = commands.add_parser("bench", help="sparse against dense: layers and whole networks, one CSV")
    bench.add_argument(
        "--output",
        type=Path,
        help="default outputs/benchmarks/kernels.csv; on a GPU a folder, conf/profile/<device>/…",
    )
    bench.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    bench.add_argument("--backend", help="instead of the best available; a GPU measures all it has")
    bench.add_argument("--dtype", choices=("float32", "float16"), help="default float32; on a GPU both")
    bench.add_argument("--repeats", type=int, default=15)
    bench.add_argument("--model", action="append", metavar="NAME:SIZE", help="default yolo11n-seg:640")
    plan = commands.add_parser("plan", help="how each layer of a network runs, in a table")
    plan.add_argument("--model", default="yolo11n-seg")
    plan.add_argument("--size-px", type=int, default=640, help="side of the network's input")
    plan.add_argument("--policy", choices=("exact", "truncate", "fixed", "adaptive"), default="fixed")
    plan.add_argument("--backend", help="instead of the best available")
    plan.add_argument("--block-px", type=int, default=16)
    plan.add_argument(
        "--calibrate",
        action="store_true",
        help="measure from which share of active positions layers run in full",
    )
    plan.add_argument("--repeats", type=int, default=5, help="of each measurement")
    chosen = parser.parse_args(arguments)
    run = {
        "info": _info,
        "check": _check,
        "truncation": _truncation,
        "bench": _bench,
        "plan": _plan,
    }
    try:
        return run[chosen.command](chosen)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def _info(_: argparse.Namespace) -> int:
    import torch

    from kernels.bench.check import devices
    from kernels.ops import registry
    from kernels.ops.cpu import loader
    from kernels.ops.cuda.build import nvcc

    print(f"torch {torch.__version__}, Python {platform.python_version()}, {platform.machine()}")
    print(f"{registry.VARIABLE}={os.environ.get(registry.VARIABLE) or '(not set)'}")
    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            major, minor = torch.cuda.get_device_capability(index)
            print(f"device cuda:{index}: {torch.cuda.get_device_name(index)}, sm_{major}{minor}")
    else:
        why = "torch is built without CUDA" if torch.version.cuda is None else "no GPU or no driver"
        print(f"device cuda: none ({why})")
    print(f"C++ compiler: {loader.compiler() or 'none: install g++ or set CXX'}")
    print(f"nvcc: {nvcc() or 'none'}")
    print(f"built libraries: {loader.cache_folder()}")
    for device in ("cpu", "cuda") if "cuda" in devices() else ("cpu",):
        for name in registry.BACKENDS:
            reason = registry.unavailable(name, device)
            print(f"backend {name:10} on {device}: {'available' if reason is None else reason}")
        for operation in registry.OPERATIONS:
            choice = registry.choose(operation, device, dtype=torch.float32)
            print(f"{operation:10} on {device} float32: {choice.name}")
    return 0


def _check(chosen: argparse.Namespace) -> int:
    from kernels.bench.check import check

    checked = failed = 0
    for result in check(chosen.seed):
        checked += result.error is not None
        failed += not result.passed
        verdict = "ok" if result.passed else f"WRONG (tolerance {result.tolerance:g})"
        text = result.note if result.error is None else f"{verdict}: {result.error:.1e} of the range"
        print(f"{result.backend:10} {result.device:5} {result.operation:17} {text}")
    if not checked:
        print("nothing could be checked: `python -m kernels info` says why")
    return 1 if failed or not checked else 0


def _truncation(chosen: argparse.Namespace) -> int:
    import torch

    from kernels.bench.truncation import build_profile, epsilon_effects, measure, read_frames
    from kernels.models import build_model, load_default_network, load_weights

    _check_side(chosen.size_px)
    torch.set_num_threads(1)
    if chosen.model == "default" and chosen.weights is None:
        model = load_default_network()
    elif chosen.weights is None:
        raise ValueError(f"--weights must name the safetensors of {chosen.model}")
    else:
        model = load_weights(build_model(chosen.model), chosen.weights)
    samples = []
    for video in chosen.videos:
        frames = list(read_frames(video, chosen.size_px, chosen.frames))
        made = list(measure(model, frames, chosen.threshold))
        print(f"{video}: {len(frames)} frames, {len(made)} runs")
        samples += made
    profile = build_profile(samples, chosen.tolerance)
    provenance = {
        "model": chosen.model,
        "weights": chosen.weights.name if chosen.weights else None,
        "videos": [video.parent.name + "/" + video.name for video in chosen.videos],
        "size_px": chosen.size_px,
        "frames": chosen.frames,
        "tolerance": chosen.tolerance,
        "threshold": chosen.threshold,
    }
    profile.save(chosen.output, provenance)
    for effect in epsilon_effects(samples, chosen.tolerance):
        print(
            f"ε = {effect.epsilon:.2f}: reused {effect.reused:4.0%}, {effect.cost:.2f} × dense, error "
            f"{effect.error:.3f} deviations ({effect.added:.3f} by ε), tolerated by {effect.tolerated:4.0%}"
        )
    for row in profile.rows:
        print(
            f"vectors {row.length_px:5.1f} px ± {row.spread_px:4.1f}, active {row.active_ratio:4.0%}: "
            f"ε = {row.epsilon:.3f} of a layer's deviation"
        )
    print(f"wrote {chosen.output}")
    return 0


def _bench(chosen: argparse.Namespace) -> int:
    import torch

    from kernels.bench.layers import BenchmarkSetting, run

    if chosen.repeats < 1:
        raise ValueError(f"--repeats must be at least 1 (got {chosen.repeats})")
    default = "yolo11m-seg:1024" if chosen.device == "cuda" else "yolo11n-seg:640"
    models = chosen.model or [default]
    networks = [_network(text) for text in models]
    if chosen.device == "cuda" and not torch.cuda.is_available():
        raise ValueError("--device cuda: torch sees no CUDA device")
    if chosen.device == "cuda":  # captured as graphs and timed on the device, against cuDNN
        from kernels.bench.gpu import main as bench_gpu

        if chosen.backend is not None:
            raise ValueError(f"--backend is for --device cpu: a GPU measures all (got {chosen.backend!r})")
        if chosen.output is not None and len(models) > 1:
            raise ValueError(f"--output is one model's folder (got {len(models)} models)")
        options = ["--repeats", str(chosen.repeats)]
        if chosen.dtype is not None:
            options += ["--precision", chosen.dtype]
        if chosen.output is not None:
            options += ["--output", str(chosen.output)]
        return max([bench_gpu(["--model", model, *options]) for model in models])
    try:
        dtype = getattr(torch, chosen.dtype or "float32")
        setting = BenchmarkSetting(chosen.device, chosen.backend, dtype, chosen.repeats)
        run(chosen.output or Path("outputs/benchmarks/kernels.csv"), setting, networks)
    except RuntimeError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def _plan(chosen: argparse.Namespace) -> int:
    import torch

    from kernels.executor.executor import WITH_MARGIN, SparseExecutor
    from kernels.executor.reports.plan_table import summarise, table
    from kernels.models import build_model
    from kernels.models.registry import check_name

    check_name(chosen.model, "--model")
    _check_side(chosen.size_px)
    if chosen.repeats < 1:
        raise ValueError(f"--repeats must be at least 1 (got {chosen.repeats})")
    torch.set_num_threads(1)
    torch.manual_seed(0)
    executor = SparseExecutor(build_model(chosen.model), chosen.policy, chosen.backend, chosen.block_px)
    frame = torch.rand(1, 3, chosen.size_px, chosen.size_px)
    if chosen.calibrate:
        executor.calibrate(frame, chosen.repeats)
    print(table(summarise(executor.plan(frame), chosen.block_px)))
    if not chosen.calibrate:
        print("not calibrated: no layer has a break-even of its own")
    elif chosen.policy in WITH_MARGIN:
        print(f"the whole frame runs densely from {executor.break_even:.0%} active blocks on")
    return 0


def _check_side(size_px: int) -> None:
    if size_px < 32 or size_px % 32:
        raise ValueError(f"--size-px must be a positive multiple of 32 (got {size_px})")


def _network(text: str) -> tuple[str, int]:
    """A network's name and the side of its input, from NAME:SIZE."""
    from kernels.models.registry import check_name

    name, _, size = text.partition(":")
    check_name(name, "--model")
    if not (size.isascii() and size.isdigit()) or int(size) < 32 or int(size) % 32:
        raise ValueError(f"--model must be NAME:SIZE with a multiple of 32 pixels (got {text!r})")
    return name, int(size)


if __name__ == "__main__":
    raise SystemExit(main())
