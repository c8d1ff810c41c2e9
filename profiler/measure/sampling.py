"""The measurement itself: warm-up until stable, interleaved repeats, a grid that follows the curve's bends.

Repeats are interleaved: each round visits every cell (operation, k, kind of active set) once, in an order of
its own, so that a clock that drifts or a neighbour that wakes up spoils all cells alike and no cell alone.
"""

from __future__ import annotations

import gc
import time
import zlib
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from profiler.measure.active_sets import draw_mask
from profiler.measure.devices import Clock, LoadMeter, ThreadClock
from profiler.measure.disturbance import (
    BUSY_CORES,
    DRIFT,
    busy_note,
    drift_note,
    throttle_note,
    unsettled_note,
)
from profiler.measure.power import PowerMeter
from profiler.measure.samples import Sample
from profiler.measure.store import SampleStore
from profiler.measure.workload import Workload
from traces.errors import InputError

FRACTIONS = (0.0, 0.025, 0.05, 0.1, 0.175, 0.25, 0.375, 0.5, 0.75, 1.0)
REFINE_AFTER = (3, 6)  # rounds
MINIMUM_REPEATS = 5


@dataclass(frozen=True, slots=True)
class Plan:
    """How much to measure.

    Attributes:
        repeats: rounds.
        budget_s: time after which no further round starts, once there are five.
        kinds: kinds of active set.
        points: most k on the grid after refinement.
        bend: relative distance from the chord between its neighbours at which a k gets company.
        seed: of the active sets and the order of cells.
    """

    repeats: int = 15
    budget_s: float = 240.0
    kinds: tuple[str, ...] = ("random", "clustered", "recorded")
    points: int = 18
    bend: float = 0.02
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Cell:
    """One thing to time: the same operation, k and kind of active set every round."""

    op: str
    k: int | None = None
    mask: str | None = None


def share(cell: Cell, kinds: Sequence[str]) -> int:
    """Samples of a cell a round.

    Dense and extraction, which every frame pays for and drift is read from, get three; so do recorded active
    sets, which the curve follows where there are any, beside one of each other kind.
    """
    if cell.op in ("dense", "extract") or cell.mask == "recorded":
        return 3
    return 2 if cell.op == "sparse" and "recorded" not in kinds else 1


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a measurement found out besides its samples."""

    rounds: int
    elapsed_s: float
    busy_w: float | None
    background_cores: float | None
    findings: tuple[str, ...]


def first_grid(blocks: int) -> tuple[int, ...]:
    """The k of the first rounds: from one block to the whole frame, closer together where few are active."""
    return tuple(sorted({max(1, round(share * blocks)) for share in FRACTIONS}))


def refine(
    grid: Sequence[int], seconds: Sequence[NDArray[np.float64]], bend: float, points: int
) -> tuple[int, ...]:
    """Add midpoints around every k at which the measured curve bends.

    A k bends if the mean there leaves the chord between its two neighbours by more than ``bend`` of its
    value and by more than three standard errors of that difference.

    Args:
        grid: ascending k.
        seconds: samples at each k.
        bend: relative distance that matters.
        points: most k in the result.

    Returns:
        The new grid, ascending; sharpest bends first as long as there is room.
    """
    k = np.array(grid, float)
    means = np.array([own.mean() for own in seconds])
    errors = np.array([own.std(ddof=1) / np.sqrt(len(own)) if len(own) > 1 else np.inf for own in seconds])
    share = (k[1:-1] - k[:-2]) / (k[2:] - k[:-2])
    gap = np.abs(means[1:-1] - ((1 - share) * means[:-2] + share * means[2:]))
    noise = np.sqrt(errors[1:-1] ** 2 + ((1 - share) * errors[:-2]) ** 2 + (share * errors[2:]) ** 2)
    found = set(grid)
    for i in np.argsort(-gap / means[1:-1], kind="stable"):
        if gap[i] < max(bend * means[i + 1], 3 * noise[i]):
            continue
        for low, high in ((grid[i], grid[i + 1]), (grid[i + 1], grid[i + 2])):
            middle = (low + high) // 2
            if len(found) < points and high - low > max(2, grid[-1] // 100):
                found.add(middle)
    return tuple(sorted(found))


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
    workload: Workload,
    clock: Clock,
    store: SampleStore,
    plan: Plan,
    differences: NDArray[np.float32],
    *,
    meter: PowerMeter | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> Outcome:
    """Measure every cell of a plan, and keep what there is whatever happens.

    Args:
        workload: what to time.
        clock: sees the work of the device.
        store: where samples go; cells that it already holds are not measured again.
        plan: how much.
        differences: (F, rows, columns) block differences that recorded active sets follow.
        meter: power meter, read once after each dense or sparse call.
        say: progress, a line a round.

    Raises:
        InputError: the device ran out of memory or vanished; samples so far are on the disk.
    """
    run = _Run(workload, clock, store, plan, differences, meter, say)
    try:
        return run.go()
    except (MemoryError, RuntimeError) as error:
        kept = f"; {len(store.rows)} samples so far are kept in {store.path}, the same command resumes"
        raise explain(error, kept) from error
    finally:
        if not store.meta["complete"]:
            store.flush()


def explain(error: MemoryError | RuntimeError, kept: str = "") -> InputError:
    """One line for a device that is full or gone; torch reports both as RuntimeError, on every backend."""
    reason = " ".join(str(error).split())[:160]
    full = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
    if full or "can't allocate memory" in reason:
        return InputError(
            f"model: expected one that fits in memory, found: {reason or 'no memory left'}{kept}"
        )
    return InputError(f"device: expected it to work until the end, found: {reason}{kept}")


class _Run:
    """The state of one measurement."""

    def __init__(
        self,
        workload: Workload,
        clock: Clock,
        store: SampleStore,
        plan: Plan,
        differences: NDArray[np.float32],
        meter: PowerMeter | None,
        say: Callable[[str], None],
    ) -> None:
        self.workload, self.clock, self.store, self.plan = workload, clock, store, plan
        self.differences, self.meter, self.say = differences, meter, say
        known = {row.k for row in store.rows if row.op == "sparse" and row.k is not None}
        self.grid = tuple(sorted(known | set(first_grid(workload.blocks_total))))
        self.layer: str | None = None
        self.warm: set[Cell] = set()
        self.cost_s: dict[Cell, float] = {}
        self.watts: list[float] = []
        self.unsettled = False
        self.settle_s: list[float] = []
        self.findings: list[str] = []

    def go(self) -> Outcome:
        start = time.monotonic()
        calls, settled = warm_up(self.workload.dense, self.clock)
        if not settled:
            self.note(unsettled_note(calls))
        layers = self.workload.layers(self.clock.seconds)  # thrown away: the first pass pays for allocation
        self.layer = layers[0][0] if layers else None
        rounds = 0
        load = LoadMeter()
        for target in range(1, self.plan.repeats + 1):
            if target - 1 in REFINE_AFTER:
                self.extend_grid()
            cells = self.lacking(target)
            if not cells:
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
            gc.disable()  # a collection would land in some cell's time and nobody could tell
            try:
                for i in generator.permutation(len(cells)):
                    self.take(cells[i])
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
            self.store.count(*self.key(cell)) // self.share(cell) for cell in self.cells()
        )
        if self.settle_s:
            self.store.meta["settle_s"] = round(float(np.median(self.settle_s)), 9)
        return Outcome(
            rounds,
            time.monotonic() - start,
            float(np.median(self.watts)) if self.watts else None,
            busy,
            tuple(self.findings),
        )

    def note(self, finding: str) -> None:
        self.findings.append(finding)
        self.store.meta["notes"] = [*self.store.meta.get("notes", ()), finding]
        self.say(f"note: {finding}")

    def cells(self) -> list[Cell]:
        sparse = [Cell("sparse", k, kind) for k in self.grid for kind in self.plan.kinds]
        encode = [Cell("encode", k) for k in self.grid]
        layers = [Cell("layers")] if self.layer else []
        return [Cell("dense"), Cell("extract"), *sparse, *encode, *layers]

    def share(self, cell: Cell) -> int:
        return share(cell, self.plan.kinds)

    def key(self, cell: Cell) -> tuple[str, int | None, str | None]:
        if cell.op == "layers":  # timed together, so one of them counts for all
            return f"layer:{self.layer}", None, None
        return cell.op, cell.k, cell.mask

    def lacking(self, target: int) -> list[Cell]:
        """Cells short of ``target`` repeats, a late one as often as it takes to catch up."""
        short = (
            (cell, target * self.share(cell) - self.store.count(*self.key(cell))) for cell in self.cells()
        )
        return [cell for cell, missing in short for _ in range(missing)]

    def generator(self, what: str, repeat: int, k: int | None) -> np.random.Generator:
        """Independent of what was measured before, so that a resumed run draws what it would have drawn."""
        return np.random.default_rng([self.plan.seed, zlib.crc32(what.encode()), repeat, k or 0])

    def take(self, cell: Cell) -> None:
        """One sample of a cell; the first ever is preceded by one that is thrown away."""
        start = time.monotonic()
        repeat = self.store.count(*self.key(cell))
        if cell.op == "layers":
            timed = self.workload.layers(self.clock.seconds)
            rows = [Sample(f"layer:{name}", None, None, repeat, seconds) for name, seconds in timed]
        else:
            call = self.call(cell, repeat)
            for _ in range(1 if cell in self.warm else 2):
                self.settle()
                seconds = self.clock.seconds(call)
                self.unsettled = cell.op == "sparse"
            self.warm.add(cell)
            rows = [Sample(cell.op, cell.k, cell.mask, repeat, seconds)]
            if self.meter and cell.op in ("dense", "sparse") and (watt := self.meter.read_w()) is not None:
                self.watts.append(watt)
        self.store.add(rows)
        self.cost_s[cell] = time.monotonic() - start

    def settle(self) -> None:
        """Idle work of the last sparse call: done before the next is timed, and timed by itself."""
        seconds = self.clock.seconds(self.workload.settle)
        if self.unsettled:
            self.settle_s.append(seconds)

    def call(self, cell: Cell, repeat: int) -> Callable[[], None]:
        if cell.op == "dense":
            return self.workload.dense
        if cell.op == "extract":
            return lambda: self.workload.extract(repeat)
        assert cell.k is not None
        difference = self.differences[repeat % len(self.differences)]
        kind = cell.mask or "random"
        active = draw_mask(kind, cell.k, difference, self.generator(kind, repeat, cell.k))
        if cell.op == "encode":
            return lambda: self.workload.encode(active, repeat)
        return lambda: self.workload.sparse(active, repeat)

    def extend_grid(self) -> None:
        samples: dict[int, list[float]] = defaultdict(list)
        recorded = "recorded" in self.plan.kinds
        for row in self.store.rows:
            if row.op == "sparse" and row.k is not None and (row.mask == "recorded" or not recorded):
                samples[row.k].append(row.seconds)
        grid = tuple(sorted(samples))
        self.grid = refine(grid, [np.array(samples[k]) for k in grid], self.plan.bend, self.plan.points)
        if added := sorted(set(self.grid) - set(grid)):
            self.say(f"the curve bends: adding k = {', '.join(map(str, added))}")

    def report(self, done: int, elapsed_s: float) -> None:
        left = sum(
            (self.plan.repeats * self.share(cell) - self.store.count(*self.key(cell)))
            * self.cost_s.get(cell, 0.0)
            for cell in self.cells()
        )
        left = min(left, max(self.plan.budget_s - elapsed_s, 0.0)) if done >= MINIMUM_REPEATS else left
        self.say(
            f"round {done} of {self.plan.repeats}: {len(self.store.rows)} samples, {elapsed_s:.0f} s, about"
            f" {left:.0f} s left"
        )
        if self.meter and (reason := self.meter.throttled()):
            self.note(throttle_note(reason, done))

    def watch_drift(self) -> None:
        """Dense inference is timed every round: its drift is the machine's."""
        dense = np.array([row.seconds for row in self.store.rows if row.op == "dense"])
        third = len(dense) // 3
        if third < 2:
            return
        early, late = float(np.median(dense[:third])), float(np.median(dense[-third:]))
        if abs(late / early - 1) > DRIFT:
            self.note(drift_note(early, late))
