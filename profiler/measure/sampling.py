"""The measurement: warm-up until stable, interleaved repeats, a grid of k refined where the curve bends.

Repeats are interleaved: each round times every operation (at each k, with each kind of mask) in a random
order of its own, so that clock drift or load by other processes affects all of them alike.
"""

from __future__ import annotations

import gc
import time
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from profiler.latency.disturbance import (
    BUSY_CORES,
    DRIFT,
    busy_note,
    drift_note,
    throttle_note,
    unsettled_note,
)
from profiler.measure.devices import Clock, LoadMeter, ThreadClock
from profiler.measure.grid import initial_grid, refine_grid
from profiler.measure.masks import draw_mask, with_margin
from profiler.measure.power import PowerMeter
from profiler.measure.profiled_model import ProfiledModel
from profiler.measure.samples import MARGIN, Sample
from traces.errors import InputError

REFINE_AFTER = (3, 6)  # rounds
MINIMUM_REPEATS = 5
MARGIN_SHARES = (0.05, 0.1, 0.25)  # of a frame's blocks: where margins are measured


class SampleSink(Protocol):
    """Where samples go, on any kind of disk.

    `meta` is of the run, `rows` are all samples so far, those of an interrupted run included.
    """

    path: Path
    meta: dict[str, Any]
    rows: list[Sample]

    def count(self, op: str, k: int | None, mask: str | None) -> int:
        """Samples taken so far of one operation."""
        ...

    def add(self, rows: Iterable[Sample]) -> None:
        """Keep samples of one operation."""
        ...

    def flush(self, *, complete: bool = False) -> None:
        """Bring samples and meta to the disk."""
        ...


@dataclass(frozen=True, slots=True)
class SamplingPlan:
    """How much to measure.

    Attributes:
        repeats: rounds, each of which times every operation.
        budget_s: time after which no further round starts, once there are five.
        masks: kinds of mask.
        max_k: most block counts on the grid after refinement.
        tolerance: relative distance from the chord between its neighbours at which the grid around a k is
            refined.
        seed: of the masks and the order of operations.
        margins_px: margins around the active blocks that sparse inference is also timed with, at few k.
        without: operations that cannot be measured here, such as ``encode``.
    """

    repeats: int = 15
    budget_s: float = 240.0
    masks: tuple[str, ...] = ("random", "clustered", "recorded")
    max_k: int = 18
    tolerance: float = 0.02
    seed: int = 0
    margins_px: tuple[int, ...] = ()
    without: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TimedOperation:
    """What one sample times: an operation, and where it depends on them, k and the kind of mask."""

    op: str
    k: int | None = None
    mask: str | None = None


def samples_per_round(operation: TimedOperation, masks: Sequence[str]) -> int:
    """How often an operation is timed in one round.

    Dense inference and extraction, which every frame pays for and drift is read from, three times; so are
    recorded masks, which the curve is fitted to where there are any, beside one of each other kind.
    """
    if operation.op in ("dense", "extract") or operation.mask == "recorded":
        return 3
    return 2 if operation.op == "sparse" and "recorded" not in masks else 1


@dataclass(frozen=True, slots=True)
class SamplingSummary:
    """What a measurement says besides its samples."""

    rounds: int
    elapsed_s: float
    busy_w: float | None
    background_cores: float | None
    findings: tuple[str, ...]


def warm_up(
    call: Callable[[], None], clock: Clock, *, limit_s: float = 20.0, window: int = 5
) -> tuple[int, bool]:
    """Repeat a call until its time settles.

    Settled means that the median of the last ``window`` calls is within 2 % of the window before.

    Returns:
        Calls made, and whether the time settled before ``limit_s`` had passed.
    """
    times: list[float] = []
    start = time.monotonic()
    while True:
        times.append(clock.seconds(call))
        if len(times) >= 2 * window:
            before, now = np.median(times[-2 * window : -window]), np.median(times[-window:])
            if abs(now - before) <= 0.02 * before:
                return len(times), True
        if time.monotonic() - start > limit_s:
            return len(times), False


def measure(
    profiled: ProfiledModel,
    clock: Clock,
    store: SampleSink,
    plan: SamplingPlan,
    differences: NDArray[np.float32],
    *,
    meter: PowerMeter | None = None,
    say: Callable[[str], None] = lambda line: None,
    after_round: Callable[[], None] = lambda: None,
) -> SamplingSummary:
    """Time every operation of a plan; samples taken before an error are kept.

    Args:
        profiled: what to time.
        clock: sees the work of the device.
        store: where samples go; samples that it already holds are not taken again.
        plan: how much.
        differences: (F, rows, columns) block differences that recorded masks follow.
        meter: power meter, read once after each dense or sparse call.
        say: progress, a line a round.
        after_round: called after each round.

    Raises:
        InputError: the device ran out of memory or vanished; samples so far are on the disk.
    """
    sampler = _Sampler(profiled, clock, store, plan, differences, meter, say, after_round)
    try:
        return sampler.run()
    except (MemoryError, RuntimeError) as error:
        kept = f"; {len(store.rows)} samples so far are kept in {store.path}, the same command resumes"
        raise device_failure(error, kept) from error
    finally:
        if not store.meta["complete"]:
            store.flush()


def device_failure(error: MemoryError | RuntimeError, kept: str = "") -> InputError:
    """One line for a device that is full or gone; torch reports both as RuntimeError, on every backend."""
    reason = " ".join(str(error).split())[:160]
    full = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
    if full or "can't allocate memory" in reason:
        return InputError(
            f"model: expected one that fits in memory, found: {reason or 'no memory left'}{kept}"
        )
    return InputError(f"device: expected it to work until the end, found: {reason}{kept}")


class _Sampler:
    """The state of one measurement."""

    def __init__(
        self,
        profiled: ProfiledModel,
        clock: Clock,
        store: SampleSink,
        plan: SamplingPlan,
        differences: NDArray[np.float32],
        meter: PowerMeter | None,
        say: Callable[[str], None],
        after_round: Callable[[], None],
    ) -> None:
        self.profiled, self.clock, self.store, self.plan = profiled, clock, store, plan
        self.differences, self.meter, self.say = differences, meter, say
        self.after_round = after_round
        known = {row.k for row in store.rows if row.op == "sparse" and row.k is not None}
        self.grid = tuple(sorted(known | set(initial_grid(profiled.blocks_total))))
        shares = (max(1, round(share * profiled.blocks_total)) for share in MARGIN_SHARES)
        self.block_px = int(store.meta.get("block_px") or 16)
        self.margin_grid = tuple(sorted(set(shares)))
        self.layer: str | None = None
        self.warm: set[TimedOperation] = set()
        self.cost_s: dict[TimedOperation, float] = {}
        self.watts: list[float] = []
        self.unsettled = False
        self.settle_s: list[float] = []
        self.findings: list[str] = []

    def run(self) -> SamplingSummary:
        start = time.monotonic()
        calls, settled = warm_up(self.profiled.dense, self.clock)
        if not settled:
            self.note(unsettled_note(calls))
        skipped = "layers" in self.plan.without
        layers = (
            [] if skipped else self.profiled.layers(self.clock.seconds)
        )  # thrown away: the first pass pays for allocation
        self.layer = layers[0][0] if layers else None
        rounds = 0
        load = LoadMeter()
        for target in range(1, self.plan.repeats + 1):
            if target - 1 in REFINE_AFTER:
                self.extend_grid()
            operations = self.missing(target)
            if not operations:
                continue
            elapsed_s = time.monotonic() - start
            if target > MINIMUM_REPEATS and elapsed_s > self.plan.budget_s:
                self.note(
                    f"stopped after {target - 1} of {self.plan.repeats} repeats:"
                    f" budget_s = {self.plan.budget_s:g} s are up"
                )
                break
            generator = self.generator("order", target, None)
            gc.collect()
            gc.disable()  # a collection would count towards the time of some operation
            try:
                for i in generator.permutation(len(operations)):
                    self.sample(operations[i])
            finally:
                gc.enable()
            self.store.flush()
            rounds += 1
            self.report(target, time.monotonic() - start)
        busy = load.read() if rounds else None
        if busy is not None and busy > BUSY_CORES and not isinstance(self.clock, ThreadClock):
            self.note(busy_note(busy, "while measuring"))
        self.watch_drift()
        self.store.meta["repeats"] = min(
            self.store.count(*self.key(operation)) // self.per_round(operation)
            for operation in self.operations()
        )
        if self.plan.margins_px:
            self.store.meta["margin_computed"] = self.margin_computed()
        if self.settle_s:
            self.store.meta["settle_s"] = round(float(np.median(self.settle_s)), 9)
        return SamplingSummary(
            rounds,
            time.monotonic() - start,
            float(np.median(self.watts)) if self.watts else None,
            busy,
            tuple(self.findings),
        )

    def margin_computed(self) -> dict[str, dict[str, dict[str, float]]]:
        """Blocks computed on average, by margin, kind of active set and k: what a curve over k is asked for.

        A mask is drawn again from its seed, so that those of an interrupted run count, too.
        """
        found: dict[str, dict[str, dict[str, float]]] = {}
        for one in self.operations():
            count = self.store.count(*self.key(one))
            if one.op.startswith(MARGIN) and one.k is not None and count:
                reach = -(-int(one.op[len(MARGIN) :]) // self.block_px)
                sizes = [with_margin(self.mask(one, repeat), reach).sum() for repeat in range(count)]
                kinds = found.setdefault(one.op[len(MARGIN) :], {}).setdefault(one.mask or "random", {})
                kinds[str(one.k)] = round(float(np.mean(sizes)), 1)
        return found

    def note(self, finding: str) -> None:
        self.findings.append(finding)
        self.store.meta["notes"] = [*self.store.meta.get("notes", ()), finding]
        self.say(f"note: {finding}")

    def operations(self) -> list[TimedOperation]:
        sparse = [TimedOperation("sparse", k, kind) for k in self.grid for kind in self.plan.masks]
        encode = [TimedOperation("encode", k) for k in self.grid]
        layers = [TimedOperation("layers")] if self.layer else []
        margins = [
            TimedOperation(f"{MARGIN}{margin_px}", k, kind)
            for margin_px in self.plan.margins_px
            for k in self.margin_grid
            for kind in self.plan.masks
        ]
        everything = [TimedOperation("dense"), TimedOperation("extract"), *sparse, *encode, *layers, *margins]
        return [one for one in everything if one.op not in self.plan.without]

    def per_round(self, operation: TimedOperation) -> int:
        return samples_per_round(operation, self.plan.masks)

    def key(self, operation: TimedOperation) -> tuple[str, int | None, str | None]:
        if operation.op == "layers":  # timed together, so one of them counts for all
            return f"layer:{self.layer}", None, None
        return operation.op, operation.k, operation.mask

    def missing(self, target: int) -> list[TimedOperation]:
        """Operations short of ``target`` repeats; one that is behind occurs once for each of them."""
        short = (
            (operation, target * self.per_round(operation) - self.store.count(*self.key(operation)))
            for operation in self.operations()
        )
        return [operation for operation, count in short for _ in range(count)]

    def generator(self, what: str, repeat: int, k: int | None) -> np.random.Generator:
        """Independent of what was measured before, so that a resumed run draws what it would have drawn."""
        return np.random.default_rng([self.plan.seed, zlib.crc32(what.encode()), repeat, k or 0])

    def sample(self, operation: TimedOperation) -> None:
        """Take one sample; the first ever of an operation is preceded by one that is thrown away."""
        start = time.monotonic()
        repeat = self.store.count(*self.key(operation))
        if operation.op == "layers":
            timed = self.profiled.layers(self.clock.seconds)
            rows = [Sample(f"layer:{name}", None, None, repeat, seconds) for name, seconds in timed]
        else:
            call = self.call(operation, repeat)
            for _ in range(1 if operation in self.warm else 2):
                self.settle()
                seconds = self.clock.seconds(call)
                self.unsettled = operation.op == "sparse" or operation.op.startswith(MARGIN)
            self.warm.add(operation)
            rows = [Sample(operation.op, operation.k, operation.mask, repeat, seconds)]
            if (
                self.meter
                and operation.op in ("dense", "sparse")
                and (watt := self.meter.read_w()) is not None
            ):
                self.watts.append(watt)
        self.store.add(rows)
        self.cost_s[operation] = time.monotonic() - start

    def settle(self) -> None:
        """Idle work of the last sparse call: done before the next is timed, and timed by itself."""
        seconds = self.clock.seconds(self.profiled.settle)
        if self.unsettled:
            self.settle_s.append(seconds)

    def call(self, operation: TimedOperation, repeat: int) -> Callable[[], None]:
        if operation.op == "dense":
            return self.profiled.dense
        if operation.op == "extract":
            return lambda: self.profiled.extract(repeat)
        active = self.mask(operation, repeat)
        if operation.op == "encode":
            return lambda: self.profiled.encode(active, repeat)
        if operation.op.startswith(MARGIN):
            margin_px = int(operation.op[len(MARGIN) :])
            return lambda: self.profiled.sparse(active, repeat, margin_px)
        return lambda: self.profiled.sparse(active, repeat)

    def mask(self, operation: TimedOperation, repeat: int) -> NDArray[np.bool_]:
        assert operation.k is not None
        difference = self.differences[repeat % len(self.differences)]
        kind = operation.mask or "random"
        return draw_mask(kind, operation.k, difference, self.generator(kind, repeat, operation.k))

    def extend_grid(self) -> None:
        samples: dict[int, list[float]] = defaultdict(list)
        recorded = "recorded" in self.plan.masks
        for row in self.store.rows:
            if row.op == "sparse" and row.k is not None and (row.mask == "recorded" or not recorded):
                samples[row.k].append(row.seconds)
        grid = tuple(sorted(samples))
        self.grid = refine_grid(
            grid, [np.array(samples[k]) for k in grid], self.plan.tolerance, self.plan.max_k
        )
        if added := sorted(set(self.grid) - set(grid)):
            self.say(f"the curve bends: adding k = {', '.join(map(str, added))}")

    def report(self, done: int, elapsed_s: float) -> None:
        left = sum(
            (self.plan.repeats * self.per_round(operation) - self.store.count(*self.key(operation)))
            * self.cost_s.get(operation, 0.0)
            for operation in self.operations()
        )
        left = min(left, max(self.plan.budget_s - elapsed_s, 0.0)) if done >= MINIMUM_REPEATS else left
        self.say(
            f"round {done} of {self.plan.repeats}: {len(self.store.rows)} samples, {elapsed_s:.0f} s, about"
            f" {left:.0f} s left"
        )
        self.after_round()
        if self.meter and (reason := self.meter.throttled()):
            self.note(throttle_note(reason, done))

    def watch_drift(self) -> None:
        """Note a drift of dense inference, which is timed every round: it is a drift of the machine."""
        dense = np.array([row.seconds for row in self.store.rows if row.op == "dense"])
        third = len(dense) // 3
        if third < 2:
            return
        early, late = float(np.median(dense[:third])), float(np.median(dense[-third:]))
        if abs(late / early - 1) > DRIFT:
            self.note(drift_note(early, late))
