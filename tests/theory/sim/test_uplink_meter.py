"""What is believed of the uplink follows it: within two seconds, whatever the size of the messages."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import Any, NamedTuple

import numpy as np
import pytest
from simpy import Environment

from sim.physics.arrivals import PeriodicLatest
from sim.physics.estimators import BandwidthEstimator, Ewma, HarmonicMean, Kalman
from sim.physics.fair_link import FairLink
from sim.physics.link import Link, LinkConditions
from sim.physics.processor import Processor
from sim.physics.trace_replay import replay
from sim.records.frame_table import FrameTable
from sim.records.outcome import Outcome
from sim.world.camera import Camera
from sim.world.camera_world import CameraWorld
from sim.world.device import Device
from sim.world.frame import Frame
from sim.world.frame_world import FrameWorld
from sim.world.simulation import RunResult, Simulation
from sim.world.uplink_meter import UplinkMeter
from tests.strategies.systems import CLOUD, EDGE, rate
from traces.bandwidth.trace import OpportunityTrace

FAST_BPS, SLOW_BPS = 56e6, 0.4e6
STEP_S, END_S = 6.0, 12.0
FPS = 30.0
ESTIMATORS = (Ewma, HarmonicMean, Kalman)


class Fixed:
    """A message of one size a frame, or none; looks at the estimate every tenth of a second."""

    def __init__(self, size_bytes: int) -> None:
        self.size_bytes = size_bytes
        self.seen: list[tuple[float, float]] = []

    def process(self, frame: Frame, world: FrameWorld) -> Generator[Any, Any, Outcome]:
        if not self.seen:
            self.look(world)
        if self.size_bytes:
            yield world.send(self.size_bytes)
            yield world.reply(0)
        else:
            yield world.infer_edge_dense()
        return Outcome("cloud", 1, 1, 0)

    def look(self, world: FrameWorld) -> None:
        self.seen.append((world.now_s, world.bandwidth_bps() or 0.0))
        if world.now_s < END_S:
            world.later(0.1, lambda: self.look(world))

    def factor(self, true_bps: float, since_s: float, until_s: float) -> float:
        """How far off it was at worst."""
        seen = [bps for at_s, bps in self.seen if since_s <= at_s <= until_s]
        assert len(seen) >= 5
        return max(max(bps / true_bps, true_bps / max(bps, 1.0)) for bps in seen)


class Ran(NamedTuple):
    systems: Sequence[Fixed]
    result: RunResult


def packets(steps: Sequence[tuple[float, float]]) -> OpportunityTrace:
    """Millisecond opportunities with random gaps (Poisson), as a cell's scheduler leaves them."""
    rng = np.random.default_rng(4)
    rates = np.interp(np.arange(0.0, END_S, 1e-3), [0.0], [steps[0][1]])
    for since_s, bps in steps:
        rates[int(since_s * 1000) :] = bps
    counts = rng.poisson(rates / 12e6)
    return OpportunityTrace("steps", np.repeat(np.arange(len(counts)), counts), int(END_S * 1000))


def run(
    sizes: Sequence[int],
    steps: Sequence[tuple[float, float]],
    estimator: Callable[[], BandwidthEstimator] = Kalman,
    *,
    in_packets: bool = False,
    link: type[Link] = Link,
    probe_s: float | None = 1.0,
) -> Ran:
    env = Environment()
    trace = packets(steps) if in_packets else rate(steps)
    up = link(env, replay(trace), LinkConditions(0.005))
    down = Link(env, replay(rate([(0.0, 1e8)])), LinkConditions(0.005))
    far, table = Processor(env, "cloud"), FrameTable()
    systems, cameras, edges = [Fixed(size) for size in sizes], [], []
    for number, system in enumerate(systems):
        edges.append(Processor(env, f"edge {number}"))
        near, cloud = Device(edges[-1], EDGE), Device(far, CLOUD)
        world = CameraWorld(env, near, cloud, up, down, estimator(), probe_s=probe_s)
        arrivals = PeriodicLatest(FPS, int(FPS * END_S), number / FPS / len(sizes))
        cameras.append(Camera(number, arrivals, system, world, table))
    return Ran(systems, Simulation(env, cameras, up, down, edges, far, table).run(until_s=END_S - 0.05))


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("size_bytes", [0, 300, 3_000, 50_000, 500_000])
@pytest.mark.parametrize(("before_bps", "after_bps"), [(FAST_BPS, SLOW_BPS), (SLOW_BPS, FAST_BPS)])
def test_a_step_is_followed_within_two_seconds(
    estimator: type[Kalman], size_bytes: int, before_bps: float, after_bps: float
) -> None:
    """To within 30 %, messages of half a megabyte that take ten seconds to end included; 0: only probes."""
    (system,), _ = run([size_bytes], [(0.0, before_bps), (STEP_S, after_bps)], estimator)
    assert system.factor(before_bps, 3.0, STEP_S - 0.05) < 1.3
    assert system.factor(after_bps, STEP_S + 2.0, END_S) < 1.3


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("size_bytes", [0, 40, 300, 1_500])
def test_a_constant_rate_is_known_exactly(estimator: type[Kalman], size_bytes: int) -> None:
    """Though a packet of a probe takes 30 ms there, as long as from one frame to the next: it counts whole,
    with all of its time, in one sample, and in none of the messages that wait for it."""
    (system,), _ = run([size_bytes], [(0.0, SLOW_BPS)], estimator)
    assert system.factor(SLOW_BPS, 2.0, END_S) == pytest.approx(1.0, rel=1e-6)


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("size_bytes", [300, 3_000, 50_000, 500_000])
@pytest.mark.parametrize(("before_bps", "after_bps"), [(FAST_BPS, SLOW_BPS), (SLOW_BPS, FAST_BPS)])
def test_so_it_is_where_packets_leave_at_random_milliseconds(
    estimator: type[Kalman], size_bytes: int, before_bps: float, after_bps: float
) -> None:
    """From a factor of 140 to within 3: a few packets of a random process tell no more."""
    (system,), _ = run([size_bytes], [(0.0, before_bps), (STEP_S, after_bps)], estimator, in_packets=True)
    seen = [bps for at_s, bps in system.seen if at_s >= STEP_S + 2.0]
    assert after_bps / 2.0 < float(np.median(seen)) < after_bps * 2.0
    assert np.mean([after_bps / 3.0 < bps < after_bps * 3.0 for bps in seen]) > 0.9


def test_without_probes_a_system_that_sends_nothing_learns_nothing() -> None:
    """What the probes are for, and what they cost: half a percent of the link."""
    (system,), result = run([0], [(0.0, FAST_BPS)], probe_s=None)
    assert {bps for _, bps in system.seen} == {0.0}
    assert result.uplink.opportunistic_offered_bytes == 0.0
    _, result = run([0], [(0.0, FAST_BPS)])
    assert 0.0 < result.uplink.opportunistic_delivered_bytes < 0.006 * FAST_BPS / 8.0 * END_S


def test_probes_give_way() -> None:
    """No message is later for them than by the packet that is leaving."""
    sent = [(0.0, FAST_BPS)]
    (_,), with_probes = run([1_000], sent)
    (_,), without = run([1_000], sent, probe_s=None)
    assert with_probes.uplink.opportunistic_delivered_bytes > 0.0
    spent = [
        result.table.columns()["uplink_delivered_s"] - result.table.columns()["uplink_enqueued_s"]
        for result in (with_probes, without)
    ]
    done = ~np.isnan(spent[0]) & ~np.isnan(spent[1])
    assert done.sum() > 200
    assert np.max((spent[0] - spent[1])[done]) <= 1500 * 8 / FAST_BPS + 1e-9


def test_an_outage_is_noticed_and_so_is_its_end() -> None:
    (system,), _ = run([3_000], [(0.0, FAST_BPS), (3.0, 0.0), (STEP_S, FAST_BPS)])
    during = [bps for at_s, bps in system.seen if 4.0 <= at_s < STEP_S]
    assert max(during) <= 2 * 1500 * 8 / 1.0  # a second without a packet
    assert system.factor(FAST_BPS, STEP_S + 2.0, END_S) < 1.3


@pytest.mark.parametrize("link", [Link, FairLink])
def test_a_camera_learns_its_share(link: type[Link]) -> None:
    """Four cameras that always have a message waiting get a quarter of the link each."""
    systems, _ = run([100_000] * 4, [(0.0, 8e6)], link=link)
    for system in systems:
        assert system.factor(2e6, 4.0, END_S) < 1.3


def test_an_estimator_that_knows_no_clock_still_learns() -> None:
    class Last:
        def __init__(self) -> None:
            self.rate_bps: float | None = None

        def observe(self, size_bytes: float, seconds: float) -> None:
            self.rate_bps = 8.0 * size_bytes / seconds

        def estimate_bps(self) -> float | None:
            return self.rate_bps

    (system,), _ = run([300], [(0.0, FAST_BPS), (STEP_S, SLOW_BPS)], Last)
    assert system.factor(SLOW_BPS, STEP_S + 2.0, END_S) < 1.3


BURST_PACKETS, BURST_MS = 32, 40


class Told:
    """An estimator that keeps what it is told."""

    def __init__(self) -> None:
        self.samples: list[tuple[float, float]] = []

    def observe(self, size_bytes: float, seconds: float) -> None:
        self.samples.append((size_bytes, seconds))

    def estimate_bps(self) -> float | None:
        return 8.0 * self.samples[-1][0] / self.samples[-1][1] if self.samples else None


def never(size_bytes: int) -> None:
    raise AssertionError(f"a probe of {size_bytes} bytes, where none is wanted")


def bursts() -> OpportunityTrace:
    """A burst of 384 kbit in one millisecond of every forty: 9.6 Mbit/s."""
    return OpportunityTrace("bursts", np.repeat(np.arange(0, 4000, BURST_MS), BURST_PACKETS), 4000)


def test_what_leaves_in_the_rest_of_a_grant_takes_no_time_of_its_own() -> None:
    """A message waits 1 µs for a burst; one that gives way follows at once in what the burst has left."""
    env, told = Environment(), Told()
    link = Link(env, replay(bursts()), LinkConditions())
    meter = UplinkMeter(env, link, told, probe_s=None, send_probe=never)
    for burst in range(1, 20):
        env.run(until=burst * BURST_MS / 1000 - 1e-6)
        meter.unobserved.append(link.reserve(1500))
        env.run(until=burst * BURST_MS / 1000)
        meter.estimate_bps()
        meter.watch(link.send_background(31 * 1500, lambda: None, lambda: None))
        env.run(until=burst * BURST_MS / 1000 + 0.002)
        meter.estimate_bps()
    assert told.samples
    # Never more than the burst's own rate: 384 kbit/ms.
    assert max(8.0 * size / seconds for size, seconds in told.samples) <= BURST_PACKETS * 12_000 / 1e-3
    # And no byte twice.
    assert sum(size for size, _ in told.samples) <= 19 * BURST_PACKETS * 1500


@pytest.mark.parametrize("wait_s", [1e-6, 3e-4, 9e-4])
@pytest.mark.parametrize("size_bytes", [1_500, 12_000, 48_000])
def test_a_short_sample_tells_no_more_than_a_grant_can_carry(wait_s: float, size_bytes: int) -> None:
    """However late in its millisecond a message comes, what left in the grant took up to a millisecond."""
    env, told = Environment(), Told()
    link = Link(env, replay(bursts()), LinkConditions())
    meter = UplinkMeter(env, link, told, probe_s=None, send_probe=never)
    for burst in range(1, 30):
        env.run(until=burst * BURST_MS / 1000 - wait_s)
        meter.unobserved.append(link.reserve(size_bytes))
        env.run(until=burst * BURST_MS / 1000 + 0.001)
        meter.estimate_bps()
    assert told.samples
    most_bps = 8.0 * max(size_bytes, 1500) / 1e-3
    assert max(8.0 * size / seconds for size, seconds in told.samples) <= most_bps


def test_messages_that_fill_a_few_grants_tell_the_rate() -> None:
    """Not only bounds: 12 packets a millisecond, messages of three and a half grants at any place."""
    env, told = Environment(), Told()
    link = Link(env, replay(OpportunityTrace("even", np.repeat(np.arange(1000), 12), 1000)), LinkConditions())
    meter = UplinkMeter(env, link, told, probe_s=None, send_probe=never)
    for place in range(1, 50):
        env.run(until=0.02 * place + 0.00037 * (place % 3))
        meter.unobserved.append(link.reserve(42 * 1500))
        env.run(until=0.02 * place + 0.01)
        meter.estimate_bps()
    rates = [8.0 * size / seconds for size, seconds in told.samples]
    assert len(rates) == 49
    assert 12 * 12e6 / 1.5 < min(rates) <= max(rates) < 12 * 12e6 * 1.5
    assert float(np.median(rates)) == pytest.approx(12 * 12e6, rel=0.2)


class Covered(Told):
    """The same, with the grants of each."""

    def __init__(self) -> None:
        super().__init__()
        self.grants: list[int] = []

    def covers(self, grants: int) -> None:
        self.grants.append(grants)


def listen(
    trace: OpportunityTrace, sizes: Sequence[int], spare: Sequence[int] = (), every_s: float = 0.1
) -> Covered:
    """What is told of messages every so often, and of ones that give way half of that after them."""
    env, told = Environment(), Covered()
    link = Link(env, replay(trace), LinkConditions())
    meter = UplinkMeter(env, link, told, probe_s=None, send_probe=never)
    for place in range(2 * max(len(sizes), len(spare))):
        env.run(until=0.5 * every_s * (place + 1) + 0.0003)
        which, gives_way = divmod(place, 2)
        if gives_way and which < len(spare):
            meter.watch(link.send_background(spare[which], lambda: None, lambda: None))
        elif not gives_way and which < len(sizes):
            meter.unobserved.append(link.reserve(sizes[which]))
        env.run(until=0.5 * every_s * (place + 1.8))
        meter.estimate_bps()
    return told


def gappy(period_ms: int = 2000) -> OpportunityTrace:
    """One to six packets in milliseconds that are 1 to 12 apart."""
    rng = np.random.default_rng(6)
    times_ms = np.cumsum(rng.integers(1, 13, 400))
    times_ms = times_ms[times_ms < period_ms]
    return OpportunityTrace("gappy", np.repeat(times_ms, rng.integers(1, 7, len(times_ms))), period_ms)


def test_a_sample_says_how_many_grants_it_covers() -> None:
    """Bursts of 48 kB every 40 ms: a message of 100 kB takes three, however many packets each has."""
    assert listen(bursts(), [100_000] * 8, every_s=0.4).grants == [3] * 8
    assert listen(bursts(), [], [100_000] * 4, every_s=0.4).grants == [3] * 4


def test_a_modem_is_told_nothing_of_grants_that_it_did_not_use() -> None:
    """A trace without the opportunities that were not needed, before, between and after, tells the same."""
    sizes, spare = [3_000, 20_000, 9_000, 1_500, 30_000] * 3, [12_000, 2_000, 20_000] * 5
    trace = gappy()
    whole = replay(trace)
    used: set[tuple[int, int]] = set()  # millisecond, and which of its packets
    counts = dict(zip(*np.unique(trace.times_ms, return_counts=True), strict=True))
    for which, (size, less) in enumerate(zip(sizes, spare, strict=True)):
        for since_s, size_bytes in ((0.1 * which + 0.0503, size), (0.1 * which + 0.1003, less)):
            began_s, ended_s = whole.free_s(), whole.take(size_bytes, since_s)
            assert began_s < since_s, "each has left before the next comes"
            packets, at_ms = -(-size_bytes // 1500), int(np.ceil(1e3 * since_s - 1e-6))
            while packets:
                for place in range(min(packets, counts.get(at_ms, 0))):
                    used.add((at_ms, place))
                packets -= min(packets, counts.get(at_ms, 0))
                at_ms += 1
            assert max(used)[0] == round(1e3 * ended_s)
    needed = OpportunityTrace("needed", np.array(sorted(at_ms for at_ms, _ in used)), 2000)
    assert len(needed.times_ms) < 0.6 * len(trace.times_ms)
    here, there = listen(trace, sizes, spare), listen(needed, sizes, spare)
    assert here.samples
    assert here.samples == there.samples
    assert here.grants == there.grants


def test_a_first_message_that_tells_nothing_is_followed_by_a_probe_at_once() -> None:
    """It fits one grant: no sample, and without a probe no belief until `probe_s` has passed."""
    env, told, probes = Environment(), Told(), []
    link = Link(env, replay(bursts()), LinkConditions())

    def send(size_bytes: int) -> None:
        probes.append(env.now)
        meter.watch(link.send_background(size_bytes, lambda: None, lambda: None))

    meter = UplinkMeter(env, link, told, probe_s=1.0, send_probe=send)
    assert meter.estimate_bps() is None
    assert not probes, "nothing has been sent: the first message itself will tell"
    env.run(until=BURST_MS / 1000 - 1e-4)
    meter.unobserved.append(link.reserve(12_000))
    env.run(until=BURST_MS / 1000 + 0.002)
    assert meter.estimate_bps() is None
    assert probes == [env.now]
    env.run(until=4 * BURST_MS / 1000)
    assert meter.estimate_bps() is not None
