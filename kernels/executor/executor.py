"""`SparseExecutor`, the public class: checks arguments, traces once a frame size, runs a policy."""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, cast, overload

import torch
from torch import nn

from kernels.executor import policies
from kernels.executor.arguments import check_blocks, check_frame, check_mask, whole_pixels
from kernels.executor.calibration.break_even import measure_layers
from kernels.executor.calibration.truncation_profile import LayerDeviations, TruncationProfile
from kernels.executor.graph.lowering import lower
from kernels.executor.graph.tracing import check_module
from kernels.executor.graph.verification import verified_trace
from kernels.executor.plan.execution_plan import ExecutionPlan, build_plan
from kernels.executor.reports.reuse_report import ReuseReport
from kernels.executor.samples import SampleAxes, find_sample_axes
from kernels.executor.state.arenas import ArenaPool
from kernels.executor.state.feature_cache import FeatureCache
from kernels.ops import registry

POLICIES = ("exact", "truncate", "fixed", "adaptive")
WITH_MARGIN = ("fixed", "adaptive")
SAMPLINGS = ("nearest", "bilinear")
MOST_SIZES = 4  # frame sizes whose plans an executor keeps


_Method = TypeVar("_Method", bound=Callable[..., Any])


def _outside_modes(method: _Method) -> _Method:
    """Run one thread at a time, without gradients, inference mode and autocast, whatever the caller's mode.

    All calls share a plan and its buffers, so these must not depend on the mode of the first call, and no two
    calls may write to them at once.
    """

    @functools.wraps(method)
    def run(self: SparseExecutor, *args: Any, **kwargs: Any) -> Any:
        modes = torch.inference_mode(False), torch.no_grad(), torch.autocast(self.device.type, enabled=False)
        with self._lock, modes[0], modes[1], modes[2]:
            return method(self, *args, **kwargs)

    return cast(_Method, run)


@dataclass(slots=True)
class _PreparedSize:
    plan: ExecutionPlan
    pool: ArenaPool
    deviations: LayerDeviations | None = None
    samples: SampleAxes | None = None


class SparseExecutor:
    """Runs any convolutional module on the parts of a frame that changed.

    The module is not edited. It is traced once for each frame size, by running it on the first frame and
    recording the ATen calls; the weights are copied then, so later changes to them are not seen. It runs on a
    second frame as well (noise), where trace and dense result must be the module's. The plans of the last
    four sizes are kept; caches of other sizes are refused.

    - At active positions only: convolutions, pooling, upsampling, the common activations, sums and products,
      constants a channel, zero padding, pixel shuffling, concatenation and splitting along channels.
    - On the whole map in every frame, but certified like the rest: rarer functions of a position (ELU, Mish,
      clamps other than at 0 and 6, a PReLU slope a channel, layer norm, softmax or a mean over channels),
      overlapping transposed convolutions, other padding, crops.
    - Densely in every frame, as recorded, and every layer after them as well: attention, global pooling,
      group norm, upsampling by fractional factors, and anything else. Under "fixed" and "adaptive" the C++
      operations compute a softmax attention over one map at its active tokens, which agrees to rounding.
    - Refused, with the path of the submodule: recurrent, 1-D, 3-D and embedding layers, batch norm or dropout
      in training mode, control flow that depends on values, random numbers, state that a call leaves on the
      module, values that leave PyTorch (NumPy, DLPack, lists, deepcopy), and in-place changes of parts of a
      tensor other than slices, selected rows and permutations of them.

    Under "exact" a sparse run equals a dense one to the last bit, with two exceptions that agree to rounding:
    calls on whole maps run in torch, whose last bits depend on where in a map a position lies; and all
    backends but the C++ operations run `dense` with torch's own convolutions.

    Methods may be called from any thread, and wait for each other. On a GPU they belong on one stream: the
    next frame writes to the memory of a cache that was dropped.

    Args:
        model: in eval mode, float32.
        policy: how the active set propagates through the network. "exact", the default: only positions with a
            certificate are reused. "truncate": the set grows with each window and is pruned by ε.
            "fixed": the given blocks and their margin, at every layer.
            "adaptive": the same, but some layers at salient blocks only.
        backend: of the operations; None picks the best for the model's device. FLUXSHARD_BACKEND
            overrides it.
        block_px: side of a block in pixels.
        sampling: how maps are read along vectors that are no multiple of a layer's stride, under "fixed" and
            "truncate": the "nearest" position, or "bilinear" between four.
        margin_px: how far beyond the given blocks every layer computes: at a layer with s pixels a position,
            ⌈margin / s⌉ positions. It stops the seam around the blocks, and costs no pixels: the reference
            holds them (`kernels.executor.state.margins`). None is 0 under "fixed", 16 under "adaptive".
        salient_outputs: under "adaptive", keys of the module's result, a mapping, that matter at salient
            blocks only: layers that feed nothing else are computed only there.
        dtype: of the maps inside, float32 or float16; frames and outputs are float32 either way.
        truncation: ε profile, read under "truncate" only; None takes the default, a fixed share of each
            layer's spread.

    Attributes:
        break_even: share of blocks, margin included, from which "fixed" and "adaptive" run densely. 1.0 is
            right for the C++ operations, which beat torch's dense run up to there; `calibrate` measures it
            for others, and with it each layer's own.

    Raises:
        TypeError: the model is no module, truncation no profile.
        ValueError: unknown policy or sampling, block_px < 1, a backend that cannot run here.
        UnsupportedModule: a ValueError that names a submodule.
    """

    def __init__(
        self,
        model: nn.Module,
        policy: str = "exact",
        backend: str | None = None,
        block_px: int = 16,
        *,
        sampling: str = "nearest",
        margin_px: int | None = None,
        salient_outputs: Sequence[str] = (),
        truncation: TruncationProfile | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        if policy not in POLICIES:
            raise ValueError(f"policy must be one of {POLICIES} (got {policy!r})")
        if sampling not in SAMPLINGS:
            raise ValueError(f"sampling must be one of {SAMPLINGS} (got {sampling!r})")
        block_px = whole_pixels("block_px", block_px, 1)
        if margin_px is None:
            margin_px = policies.MARGIN_PX if policy == "adaptive" else 0
        margin_px = whole_pixels("margin_px", margin_px, 0)
        if margin_px and policy not in WITH_MARGIN:
            raise ValueError(
                f"margin_px must be 0 under {policy!r}, whose sets grow themselves (got {margin_px})"
            )
        if salient_outputs and policy != "adaptive":
            raise ValueError(f"salient_outputs are read under 'adaptive' only (got {salient_outputs!r})")
        if dtype not in (torch.float32, torch.float16):
            raise ValueError(f"dtype must be torch.float32 or torch.float16 (got {dtype})")
        if not isinstance(model, nn.Module):
            raise TypeError(f"model must be a torch.nn.Module (got {type(model).__name__})")
        if truncation is not None and not isinstance(truncation, TruncationProfile):
            raise TypeError(f"truncation must be a TruncationProfile (got {type(truncation).__name__})")
        check_module(model)
        self.model = model
        self.dtype = dtype
        self.policy = policy
        self.backend = backend
        self.block_px = block_px
        self.sampling = sampling
        self.margin_px = margin_px
        self.salient_outputs = tuple(salient_outputs)
        self.break_even = 1.0
        self.truncation = truncation or TruncationProfile.default()
        weight = next(model.parameters(), None)
        self.device = torch.device("cpu") if weight is None else weight.device
        registry.preferences(self.device.type, backend)  # refuse an impossible backend now
        self._prepared: dict[tuple[int, ...], _PreparedSize] = {}
        self._lock = threading.RLock()

    def __repr__(self) -> str:
        sizes = ", ".join(f"{shape[3]}×{shape[2]}" for shape in self._prepared) or "nothing yet"
        return f"<SparseExecutor of {type(self.model).__name__}, {self.policy}, prepared for {sizes}>"

    @_outside_modes
    def plan(self, frame: torch.Tensor) -> ExecutionPlan:
        """The plan for frames of this one's shape, made now if there is none yet."""
        check_frame(frame, self.device)
        return self._prepare(frame[:1]).plan

    @_outside_modes
    def dense(self, frame: torch.Tensor) -> tuple[Any, Any]:
        """Run the whole frame.

        Args:
            frame: float32 (N, C, H, W) on the model's device: N frames, of one camera each.

        Returns:
            What the module returns, and the `FeatureCache` for the next frames; for N > 1 a list of them, one
            a frame.

        Raises:
            TypeError, ValueError: a frame of another dtype, shape or device, or that the model cannot take.
            UnsupportedModule: the module cannot be traced, or for N > 1 mixes the samples of a batch.
        """
        check_frame(frame, self.device)
        if len(frame) == 1:
            return self._dense(frame)
        samples = self._sample_axes(frame)
        runs = [self._dense(sample) for sample in frame.split(1)]
        return samples.join([outputs for outputs, _ in runs]), [cache for _, cache in runs]

    def _dense(self, frame: torch.Tensor) -> tuple[Any, FeatureCache]:
        prepared = self._prepare(frame)
        runner, cache = policies.run_dense(prepared.plan, prepared.pool, frame, self.block_px)
        if self.policy == "truncate" and prepared.deviations is None:
            prepared.deviations = LayerDeviations.measure(prepared.plan, runner)
        return runner.outputs(), cache

    @_outside_modes
    def calibrate(self, frame: torch.Tensor, repeats: int = 5) -> float:
        """Measure where sparse runs stop paying on this machine: of each layer, and of the whole frame.

        Each layer's own goes to `plan(frame).break_even`, by node: at and past it, the layer is run in full.
        Then, under "fixed" and "adaptive", `break_even` is set: the time of a run is taken at 10 % and at
        90 % active blocks; the line through both meets the time of a dense run at the break-even.

        Nothing is measured unless this is called, so that runs are alike everywhere. It takes seconds, once
        for a process, machine and frame size, and is not kept beyond the process.

        Args:
            frame: of the size to measure at.
            repeats: runs of each, interleaved; the fastest counts.

        Returns:
            `break_even`.
        """
        check_frame(frame, self.device, most=1)
        if repeats < 1:
            raise ValueError(f"repeats must be at least 1 (got {repeats})")
        prepared = self._prepare(frame)
        prepared.plan.break_even.clear()
        prepared.pool.compiled.clear()
        measured = measure_layers(prepared.plan, prepared.pool, frame, self.block_px, self.policy, repeats)
        prepared.plan.break_even.update(measured)
        if self.policy not in WITH_MARGIN:
            return self.break_even
        shape = [-(-size // self.block_px) for size in frame.shape[2:]]
        order = torch.randperm(shape[0] * shape[1], generator=torch.Generator().manual_seed(0)).view(shape)
        vectors = torch.zeros(*shape, 2, dtype=torch.int64)
        _, cache = policies.run_dense(prepared.plan, prepared.pool, frame, self.block_px)
        requests = [
            policies.SparseRequest(frame, order < share * order.numel(), vectors, cache, self.block_px)
            for share in (0.1, 0.9)
        ]
        times = [float("inf")] * 3
        for _ in range(repeats + 1):
            for run in range(3):
                start = time.perf_counter()
                if run == 2:
                    policies.run_dense(prepared.plan, prepared.pool, frame, self.block_px)
                else:
                    policies.run_fixed(prepared.plan, prepared.pool, requests[run])[1].settle()
                if self.device.type == "cuda":
                    torch.cuda.synchronize()
                times[run] = min(times[run], time.perf_counter() - start)
        slope = (times[1] - times[0]) / 0.8
        share = 0.1 + (times[2] - times[0]) / slope if slope > 0 else 1.0
        self.break_even = min(1.0, max(0.0, share))
        return self.break_even

    @overload
    def sparse(
        self,
        frame: torch.Tensor,
        active: torch.Tensor,
        vectors: torch.Tensor,
        cache: FeatureCache,
        salient: torch.Tensor | None = None,
    ) -> tuple[Any, FeatureCache, ReuseReport]: ...

    @overload
    def sparse(
        self,
        frame: torch.Tensor,
        active: torch.Tensor,
        vectors: torch.Tensor,
        cache: Sequence[FeatureCache],
        salient: torch.Tensor | None = None,
    ) -> tuple[Any, list[FeatureCache], list[ReuseReport]]: ...

    @_outside_modes
    def sparse(
        self,
        frame: torch.Tensor,
        active: torch.Tensor,
        vectors: torch.Tensor,
        cache: Any,
        salient: torch.Tensor | None = None,
    ) -> Any:
        """Run what changed, and reuse the rest from `cache`, moved along `vectors`.

        An empty set returns the moved cache (`exact`: a full computation where the vectors reproduce
        nothing); a full set equals `dense`. `cache` stays as it was and can be used again.

        Frames of several cameras go in one call, with a set, vectors and a cache each: `frame` (N, C, H, W),
        a leading axis of N for `active` and `vectors`, and a sequence of N caches. These may come from
        different calls and be of different age; which cameras share a call may change from one to the next.
        Each gets what a call of its own would give.

        Args:
            frame: float32 (1, C, H, W).
            active: bool (⌈H / block_px⌉, ⌈W / block_px⌉), True where the content is not the reference's along
                the vector. Under "exact" that is checked pixel by pixel as well, and not taken on trust.
            vectors: integers of shape active.shape + (2,): (dx, dy) in pixels, position in the reference
                minus position in the frame; at most 16383 long. A vector may point outside: certificates
                fail there, and other policies read the nearest position inside.
            cache: from this executor, of a frame of this size.
            salient: bool, of the shape of active, under "adaptive" only: the blocks at which
                `salient_outputs` matter, such as `kernels.motion.salience.salient_blocks` of the last result.
                Salient blocks at which these are behind are computed, active or not. None for all blocks.

        Returns:
            What the module returns; the new cache, which under "exact" and "truncate" is `cache` itself for a
            frame in which nothing has changed; what was reused where. For a sequence of caches, lists of
            both.

        Raises:
            TypeError, ValueError: naming the argument.
        """
        check_frame(frame, self.device)
        several = isinstance(cache, (list, tuple))
        caches: Sequence[FeatureCache] = cache if several else [cache]
        if len(caches) != len(frame):
            given = f"{len(caches)} caches" if several else type(cache).__name__
            raise ValueError(f"cache must be a list of one a frame, {len(frame)} (got {given})")
        shape = (1, *frame.shape[1:])
        prepared = self._prepared.get(shape)
        for one in caches:
            if not isinstance(one, FeatureCache):
                raise TypeError(f"cache must come from dense() or sparse() (got {type(one).__name__})")
            if prepared is None or one.plan is not prepared.plan:
                raise ValueError(
                    f"cache must come from this executor and a frame of shape {shape}, "
                    f"and that be among the last {MOST_SIZES} sizes it ran (got {one!r})"
                )
        assert prepared is not None
        self._prepared[shape] = self._prepared.pop(shape)  # the last one used
        check_blocks(frame, active, vectors, self.block_px, several)
        if salient is not None:
            if self.policy != "adaptive":
                raise ValueError(f"salient must be None under {self.policy!r}, which reads none")
            check_mask("salient", salient, tuple(active.shape))
        if not several:
            return self._sparse(prepared, frame, active, vectors, caches[0], salient)
        samples = self._sample_axes(frame) if len(frame) > 1 else None
        runs = [
            self._sparse(prepared, *sample)
            for sample in zip(
                frame.split(1),
                active,
                vectors,
                caches,
                [None] * len(frame) if salient is None else salient,
                strict=True,
            )
        ]
        outputs, made, reports = zip(*runs, strict=True)
        return outputs[0] if samples is None else samples.join(outputs), list(made), list(reports)

    def _sparse(
        self,
        prepared: _PreparedSize,
        frame: torch.Tensor,
        active: torch.Tensor,
        vectors: torch.Tensor,
        cache: FeatureCache,
        salient: torch.Tensor | None,
    ) -> tuple[Any, FeatureCache, ReuseReport]:
        request = policies.SparseRequest(
            frame,
            active.cpu(),
            vectors.cpu().long(),
            cache,
            self.block_px,
            self.break_even,
            self.margin_px,
            None if salient is None else salient.cpu(),
        )
        plan, pool = prepared.plan, prepared.pool
        if self.policy == "exact":
            runner, made, report = policies.run_exact(plan, pool, request)
        elif self.policy == "truncate":
            assert prepared.deviations is not None
            factor = self.truncation.lookup(active, vectors)
            deviations = prepared.deviations
            runner, made, report = policies.run_truncate(
                plan, pool, request, lambda index: factor * deviations.deviation[index]
            )
        elif self.policy == "adaptive":
            runner, made, report = policies.run_adaptive(plan, pool, request)
        else:
            runner, made, report = policies.run_fixed(plan, pool, request)
        return runner.outputs(), made, report

    def _sample_axes(self, frame: torch.Tensor) -> SampleAxes:
        """Where the samples of a batch lie in the module's result; found once a frame size.

        Raises:
            UnsupportedModule: the module mixes them.
        """
        prepared = self._prepare(frame[:1])
        if prepared.samples is None:
            prepared.samples = find_sample_axes(self.model, frame[:1])
        return prepared.samples

    def _prepare(self, frame: torch.Tensor) -> _PreparedSize:
        shape = tuple(frame.shape)
        known = self._prepared.pop(shape, None)
        if known is not None:
            self._prepared[shape] = known  # in the order of their last use
        else:
            check_module(self.model)  # it may have been put in training mode since
            verified = verified_trace(self.model, frame)
            graph = lower(verified.trace, self.model)
            bilinear = self.sampling == "bilinear" and self.policy != "exact"
            plan = build_plan(
                graph,
                self.policy,
                self.backend,
                self.device,
                bilinear,
                self.dtype,
                self.salient_outputs,
            )
            pool = ArenaPool(plan)
            policies.check_dense(plan, pool, verified, self.block_px)
            if self.policy in WITH_MARGIN:
                policies.check_placement(plan, pool, verified.second, self.block_px)
            while len(self._prepared) >= MOST_SIZES:
                del self._prepared[next(iter(self._prepared))]
            self._prepared[shape] = _PreparedSize(plan, pool)
        return self._prepared[shape]
