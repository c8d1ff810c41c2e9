"""Checks every backend of this machine: each operation against the reference, and the executor with it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from types import ModuleType

import torch
from torch import nn

from kernels.bench.gpu_timing import arithmetic
from kernels.executor import SparseExecutor
from kernels.ops import reference, registry
from kernels.ops.maps import ACTIVATIONS, Halo, Window, list_tiles

# Of the output range. In float16 both sides round their result, and each intermediate one as it likes.
TOLERANCE = 1e-4
TOLERANCES = {torch.float32: TOLERANCE, torch.float16: 4e-3}


@dataclass(frozen=True, slots=True)
class CheckResult:
    """One comparison: `error` as a share of the reference's range, or why it was not made."""

    backend: str
    device: str
    operation: str
    error: float | None
    note: str = ""
    tolerance: float = TOLERANCE

    @property
    def passed(self) -> bool:
        return self.error is None or self.error <= self.tolerance


def devices() -> list[str]:
    """What torch can run on here."""
    return ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]


def check(seed: int = 0) -> Iterator[CheckResult]:
    """Compare every available backend with the reference, one operation after another."""
    for device in devices():
        for name in registry.BACKENDS:
            reason = registry.unavailable(name, device)
            if reason is not None:
                yield CheckResult(name, device, "all", None, reason)
            elif name != "reference":
                yield from _check_operations(name, device, seed, torch.float32)
                yield from _check_operations(name, device, seed, torch.float16)
                yield _check_executor(name, device, seed)


def _check_operations(name: str, device: str, seed: int, dtype: torch.dtype) -> Iterator[CheckResult]:
    single = dtype == torch.float32
    for operation in registry.OPERATIONS:
        choice = registry.choose(operation, device, name, dtype=dtype, bilinear=False)
        if choice.name != name:
            if single:
                why = f"falls back to {choice.name}: {choice.refusals[0]}"
                yield CheckResult(name, device, operation, None, why)
            continue
        with arithmetic("float32"):  # the reference is torch's, which would round to TF32 on a GPU
            made, wanted = (_run(operation, each, device, seed, dtype) for each in (choice.module, reference))
        errors = []
        for one, other in zip(made, wanted, strict=True):
            span = float(other.nan_to_num().abs().max()) or 1.0
            same_places = torch.equal(one.isnan(), other.isnan())
            errors.append(
                float((one - other).float().nan_to_num().abs().max()) / span if same_places else float("inf")
            )
        label = operation if single else f"{operation} float16"
        yield CheckResult(name, device, label, max(errors), tolerance=TOLERANCES[dtype])


def _run(
    operation: str, module: ModuleType, device: str, seed: int, dtype: torch.dtype
) -> list[torch.Tensor]:
    """A few runs of an operation; what it must not touch stays NaN."""
    generator = torch.Generator().manual_seed(seed)

    def noise(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator).to(device, dtype)

    def blank(*shape: int) -> torch.Tensor:
        return torch.full(shape, float("nan"), device=device, dtype=dtype)

    height, width, channels = 23, 31, 24
    mask = torch.rand(height, width, generator=generator) < 0.4
    mask = mask.to(device)
    tile = (2, 2)
    tiles = list_tiles(mask, tile)
    source, other = noise(height, width, channels), noise(height, width, channels)
    move = torch.randint(-6, 7, (height, width, 2), generator=generator).to(torch.int16).to(device)
    fresh = mask.to(torch.uint8)
    halo = Halo(other, fresh, move)
    results: list[torch.Tensor] = []
    if operation == "convolve":
        cases = (
            (24, 40, 3, 1, 1, 1),
            (24, 16, 3, 2, 1, 1),
            (24, 24, 5, 1, 24, 1),
            (24, 8, 1, 1, 1, 1),
            (24, 12, 3, 1, 2, 2),
        )
        for inputs, outputs, kernel, stride, groups, dilation in cases:
            around = dilation * (kernel // 2)
            window = Window((kernel,) * 2, (stride,) * 2, (around,) * 2, (dilation,) * 2)
            packed = module.pack_convolution(
                noise(outputs, inputs // groups, kernel, kernel), noise(outputs), window, groups, "silu"
            )
            out = blank(*window.output_size((height, width)), outputs)
            module.convolve(
                packed, source, tiles[tiles.max(1).values < 11].contiguous(), tile, out, None, halo
            )
            results.append(out)
    elif operation == "pool":
        for kind, kernel, stride in (("max", 5, 1), ("average", 3, 2), ("max", 2, 2)):
            window = Window((kernel,) * 2, (stride,) * 2, (kernel // 2,) * 2)
            out = blank(*window.output_size((height, width)), channels)
            module.pool(
                kind, window, source, tiles[tiles.max(1).values < 11].contiguous(), tile, out, True, halo
            )
            results.append(out)
    elif operation == "upsample":
        for mode in ("nearest", "bilinear"):
            out = blank(2 * height, 2 * width, channels)
            module.upsample(mode, source, tiles, tile, out, False, halo)
            results.append(out)
    elif operation == "pointwise":
        for how in ("add", "subtract", "multiply"):
            out = blank(height, width, channels)
            module.pointwise(how, source, other, tiles, tile, out)
            results.append(out)
        for activation in ACTIVATIONS:
            out = blank(height, width, channels)
            module.pointwise("copy", source, None, tiles, tile, out, activation)
            results.append(out)
    elif operation == "remap":
        for displacement in (move, move.float() * 0.37):
            out = blank(height, width, channels)
            module.remap(source, displacement.contiguous(), out, fresh)
            results.append(out)
    elif operation == "prune":
        kept, changed = other.clone(), torch.zeros(height, width, dtype=torch.uint8, device=device)
        module.prune(other + 0.1 * source, tiles, tile, kept, 0.25, changed)
        results += [kept, changed.float()]
    elif operation == "gather":
        results.append(module.gather(source, tiles, tile, Window((3, 3), (1, 1), (1, 1)), halo, -1.0))
    elif operation == "scatter":
        out = blank(height, width, channels)
        module.scatter(noise(len(tiles), *tile, channels), tiles, out)
        results.append(out)
    return results


def _check_executor(name: str, device: str, seed: int) -> CheckResult:
    """A small network under `exact` against the module itself."""
    torch.manual_seed(seed)
    network = nn.Sequential(
        nn.Conv2d(3, 16, 3, 2, 1),
        nn.SiLU(),
        nn.MaxPool2d(5, 1, 2),
        nn.Conv2d(16, 24, 3, 2, 1),
        nn.Upsample(scale_factor=2),
    )
    network.to(device).eval()
    reference_frame = torch.rand(1, 3, 64, 96, device=device)
    frame = reference_frame.clone()
    frame[..., 16:32, 32:48] = torch.rand(1, 3, 16, 16, device=device)
    active = torch.zeros(4, 6, dtype=torch.bool, device=device)
    active[1, 2] = True
    vectors = torch.zeros(4, 6, 2, dtype=torch.int32, device=device)
    executor = SparseExecutor(network, "exact", name)
    with arithmetic("float32"), torch.no_grad():
        _, cache = executor.dense(reference_frame)
        outputs, _, _ = executor.sparse(frame, active, vectors, cache)
        wanted = network(frame)
    return CheckResult(name, device, "executor", float((outputs - wanted).abs().max() / wanted.abs().max()))
