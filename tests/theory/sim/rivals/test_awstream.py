"""AWStream: every transition of its machine, its monitor, its Pareto set, what comes of them on a link."""

from __future__ import annotations

import itertools
from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim.physics.arrivals import PeriodicLatest
from sim.systems.awstream import AwStream
from sim.systems.awstream.__main__ import TRAINING_SEED
from sim.systems.awstream.controller import (
    HOLDING,
    PATIENCE,
    PROBE_STEPS,
    TRANSITIONS,
    RateController,
    Signal,
    State,
)
from sim.systems.awstream.degradation import Conditions, Degradation, Measured, pareto_set, read_profile
from sim.systems.awstream.monitor import QueueMonitor
from sim.systems.awstream.profiling import configurations, measure, profile_of
from sim.systems.awstream.stream import DegradedStream
from sim.systems.awstream.system import OWN_PROFILE
from tests.strategies.images import noisy_walk, texture
from tests.strategies.systems import DEGRADATIONS, FPS, invented_profile, run
from traces.video.scenes.scene import Scene

RATES = (1e5, 3e5, 1e6, 4e6)
EMPTY, CONGESTED, RECEIVER, PROBED = Signal.EMPTY, Signal.CONGESTED, Signal.RECEIVER, Signal.PROBED
STARTUP, DEGRADE, STEADY, PROBE = State.STARTUP, State.DEGRADE, State.STEADY, State.PROBE


def machine(state, level=1):
    """One in a state, at a level in the middle: as it is after the least that leads there."""
    made = RateController(RATES, level)
    ways = {
        STARTUP: [],
        DEGRADE: [CONGESTED] * PATIENCE,
        STEADY: [CONGESTED] * PATIENCE + [EMPTY],
        PROBE: [CONGESTED] * PATIENCE + [EMPTY] + [EMPTY] * PATIENCE,
    }
    for signal in ways[state]:
        made.take(signal, RATES[level])
    assert (made.state, made.level) == (state, level)
    return made


@pytest.mark.parametrize(
    ("state", "signals", "rate_bps", "then", "level"),
    [
        (STARTUP, [EMPTY], 0.0, STARTUP, 2),
        (STARTUP, [EMPTY] * 3, 0.0, STEADY, 3),  # two up to the top; a third finds nothing above
        (STARTUP, [CONGESTED] * 3, 1e5, STARTUP, 1),
        (STARTUP, [CONGESTED] * 4, 1e5, DEGRADE, 0),
        (STARTUP, [CONGESTED] * 4, 9e6, DEGRADE, 1),  # never up
        (STARTUP, [CONGESTED] * 3 + [EMPTY] + [CONGESTED] * 3, 1e5, STARTUP, 2),  # not in a row
        (STARTUP, [RECEIVER], 0.0, STARTUP, 1),
        (STARTUP, [PROBED], 0.0, STARTUP, 1),
        (DEGRADE, [EMPTY], 0.0, STEADY, 1),
        (DEGRADE, [CONGESTED], 1e5, DEGRADE, 0),
        (DEGRADE, [CONGESTED], 0.0, DEGRADE, 0),
        (DEGRADE, [RECEIVER], 0.0, DEGRADE, 1),
        (DEGRADE, [PROBED], 0.0, DEGRADE, 1),
        (STEADY, [EMPTY] * 3, 0.0, STEADY, 1),
        (STEADY, [EMPTY] * 4, 0.0, PROBE, 1),
        (STEADY, [CONGESTED], 1e5, DEGRADE, 1),  # adjusts with the next one
        (STEADY, [CONGESTED] * 2, 1e5, DEGRADE, 0),
        (STEADY, [RECEIVER], 0.0, STEADY, 1),
        (STEADY, [PROBED], 0.0, STEADY, 1),
        (PROBE, [EMPTY], 0.0, PROBE, 1),
        (PROBE, [CONGESTED], 1e5, STEADY, 1),
        (PROBE, [RECEIVER], 0.0, STEADY, 1),
        (PROBE, [PROBED], 0.0, STEADY, 2),
        (PROBE, [EMPTY] * 3, 0.0, STEADY, 2),  # the third step's answer is that it is through
    ],
)
def test_every_transition(state, signals, rate_bps, then, level):
    made = machine(state)
    for signal in signals:
        made.take(signal, rate_bps)
    assert (made.state, made.level) == (then, level)


def test_the_table_knows_every_signal_in_every_state():
    assert set(TRANSITIONS) == set(itertools.product(State, Signal))


def test_a_probe_goes_in_three_steps_to_a_twentieth_more_than_the_next_level_needs():
    made = machine(PROBE)
    more_bps = 1.05 * (RATES[2] - RATES[1])
    for step in (1, 2, 3):
        assert made.probe_bps == pytest.approx(more_bps * step / PROBE_STEPS)
        made.take(EMPTY)
    assert (made.state, made.level, made.probe_bps) == (STEADY, 2, 0.0)


def test_adjusting_holds_out_three_times_where_the_link_carries_the_level():
    made = machine(DEGRADE, level=3)  # which has held out once on its way there
    levels = []
    for _ in range(2 * (HOLDING + 1)):
        made.take(CONGESTED, 1e9)
        levels.append(made.level)
    assert levels == [3, 3, 2, 2, 2, 2, 1, 1]


def test_at_the_top_there_is_nothing_to_probe_for():
    made = machine(STEADY, level=3)
    for _ in range(20):
        made.take(EMPTY)
    assert (made.state, made.probe_bps) == (STEADY, 0.0)


@given(
    signals=st.lists(st.tuples(st.sampled_from(Signal), st.floats(0.0, 1e7)), max_size=80),
    level=st.integers(0, 3),
)
def test_whatever_it_is_told_it_is_at_a_level_and_climbs_one_at_a_time(signals, level):
    made = RateController(RATES, level)
    for signal, rate_bps in signals:
        before, state = made.level, made.state
        made.take(signal, rate_bps)
        assert 0 <= made.level <= made.top
        assert made.level <= before + 1
        if signal is CONGESTED:
            assert made.level <= before
        assert (made.probe_bps > 0.0) == (made.state is PROBE)
        if made.state is STARTUP:
            assert state is STARTUP  # there is no way back


def test_rates_that_do_not_rise_are_refused():
    with pytest.raises(ValueError, match="must rise"):
        RateController((1e5, 1e5))


# -- the monitor ------------------------------------------------------------------------------------


@given(
    ticks=st.lists(st.tuples(st.floats(0.0, 1e6), st.sampled_from([0.0, 0.5, 1e3, 1e5])), max_size=60),
    empty_ticks=st.integers(0, 5),
)
def test_the_monitor_is_its_equation(ticks, empty_ticks):
    monitor, rate_bps, empty = QueueMonitor(0.1, empty_ticks), 0.0, 0
    for consumed_bytes, queued_bytes in ticks:
        said = monitor.look(consumed_bytes, queued_bytes)
        rate_bps = 0.5 * rate_bps + 0.5 * 80.0 * consumed_bytes
        congested = queued_bytes > 0.0 and (rate_bps == 0.0 or 8.0 * queued_bytes / rate_bps > 0.001)
        empty = 0 if congested else empty + 1
        assert said == (True if congested else False if empty > empty_ticks else None)
        assert monitor.rate_bps == pytest.approx(rate_bps)


# -- the Pareto set ---------------------------------------------------------------------------------

MEASURED = st.lists(
    st.builds(
        lambda rate, accuracy: Measured(Degradation(1.0, 0, 20), rate, accuracy),
        st.integers(1, 12).map(float),
        st.integers(0, 6).map(lambda sixths: sixths / 6),
    ),
    min_size=1,
    max_size=25,
)


@given(MEASURED)
def test_the_pareto_set_is_that_of_brute_force(measured):
    def beaten(one):
        return any(
            other.rate_bps <= one.rate_bps
            and other.accuracy >= one.accuracy
            and (other.rate_bps, other.accuracy) != (one.rate_bps, one.accuracy)
            for other in measured
        )

    expected = {(one.rate_bps, one.accuracy) for one in measured if not beaten(one)}
    kept = pareto_set(measured)
    assert {(one.rate_bps, one.accuracy) for one in kept} == expected
    assert len(kept) == len(expected)
    for low, high in itertools.pairwise(kept):
        assert low.rate_bps < high.rate_bps
        assert low.accuracy < high.accuracy


@given(scale=st.floats(0.01, 1.0), height=st.integers(1, 70), width=st.integers(1, 70))
def test_a_size_is_even_and_within_a_pixel_of_its_share(scale, height, width):
    sides = 16 * height, 16 * width
    for side, found in zip(sides, Degradation(scale, 0, 20).size_px(*sides), strict=True):
        assert found % 2 == 0
        assert found == 16 or abs(found - scale * side) <= 1.0 + 1e-9


def test_the_profile_that_comes_along_has_the_bytes_of_its_clip_and_its_levels_rise():
    """Of the cheapest configurations: what the stream writes, frame by frame."""
    profile = read_profile(OWN_PROFILE)
    made = profile.conditions
    assert len(profile.levels) >= 8
    assert made.network == "default"
    assert made.clip == f"scene-walk seed {TRAINING_SEED}"
    scene = Scene("walk", TRAINING_SEED, made.frames, made.height_px, made.fps)
    checked = [one for one in profile.measured if one.degradation.skipped == 29]
    for one in checked[:: len(checked) // 5]:
        stream = DegradedStream(250, one.degradation)
        sent = [stream.encode_image(scene.image(index)) for index in range(0, made.frames, 30)]
        rate_bps = 8.0 * sum(len(packet.data) for packet in sent) * made.fps / made.frames
        assert rate_bps == pytest.approx(one.rate_bps, abs=0.1)


@given(st.lists(st.floats(0.05, 1.0), min_size=1, max_size=3, unique=True), st.integers(0, 4))
def test_what_a_profile_measures_is_what_was_encoded_and_shown(scales, skipped):
    """With a network that says how bright a frame is: bytes, and agreement with the last frame sent."""
    images = [np.full((32, 32, 3), 40 + 10 * index, np.uint8) for index in range(7)]
    made = Conditions("invented", 32, 32, 10.0, "none", len(images))
    given_ = configurations(scales, (skipped,), (20,))

    def brightness(image):
        return bytes([round(float(image.mean()))])

    def agreement(found, truth):
        return 1.0 - abs(found[0] - truth[0]) / 255.0

    for one in measure(images, made, brightness, agreement, given_):
        expected = 1.0 - np.mean([10 * (index % (skipped + 1)) for index in range(7)]) / 255.0
        assert one.accuracy == pytest.approx(expected, abs=0.02)
        stream = DegradedStream(250, one.degradation)
        sent = sum(stream.encode_image(image).size_bytes for image in images[:: skipped + 1])
        assert one.rate_bps == pytest.approx(8.0 * sent * 10.0 / 7)


def test_a_profile_is_the_same_written_and_read(tmp_path):
    made = Conditions("invented", 32, 48, 29.97, "a, clip", 7)
    profile = profile_of(made, [Measured(Degradation(2 / 3, 5, 20), 123456.789, 2 / 3)])
    path = tmp_path / "profile.csv"
    path.write_text(profile.text(), encoding="utf-8")
    assert read_profile(path) == profile


# -- on a link --------------------------------------------------------------------------------------

FRAMES = 100


def walk(frames):
    """A small pan with noise."""
    return noisy_walk(frames, side_px=64, seed=1)


@cache
def rates_bps():
    """What the levels of the invented profile really send of that pan."""
    images, rates = walk(30), []
    for each in DEGRADATIONS:
        stream = DegradedStream(250, Degradation(*each))
        sent = sum(stream.encode_image(image).size_bytes for image in images[:: each[1] + 1])
        rates.append(8.0 * sent * FPS / len(images))
    return tuple(rates)


def adapting(made, **options):
    def build(context):
        made.append(AwStream(context, AwStream.Options(invented_profile(rates_bps()), **options)))
        return made[-1]

    return build


def test_it_begins_at_the_bottom_and_climbs_a_level_a_tick_once_the_queue_has_been_empty_for_a_second():
    levels = []

    class Watched(AwStream):
        def process(self, frame, world):
            levels.append((world.now_s, self.controller.level))
            return (yield from super().process(frame, world))

    run((Watched, AwStream.Options(invented_profile())), walk(30), [(0.0, 80e6)])
    assert [level for at_s, level in levels if at_s < 1.1 - 1e-6] == [0] * 11
    assert [level for at_s, level in levels if at_s > 1.1 - 1e-6][:4] in ([0, 1, 2, 3], [1, 2, 3, 3])
    assert levels[-1][1] == 3


def test_frames_that_are_left_out_are_shown_the_last_ones_result():
    made = []
    rows = run(
        adapting(made, empty_ticks=1000), walk(12)
    ).rows  # for ever at the bottom: two left out of three
    sent = rows["uplink_bytes"] > 0
    assert sent.tolist() == [index % 3 == 0 for index in range(12)]
    assert np.all(rows["outcome"] == 0)
    reused = rows["path"] == 3
    assert (~reused).tolist() == sent.tolist()
    # A result is out 100 ms later or sooner: those that were left out need not wait.
    assert rows["completed_s"][1] == rows["captured_s"][1]
    assert np.all(rows["blocks_stale"][reused] > 0)  # the pan goes on


def test_frames_that_are_left_out_wait_for_the_result_that_they_are_shown():
    """With 40 frames/s a result takes longer than the next frame: in order, none superseded."""
    frames = walk(40)
    options = AwStream.Options(invented_profile(fps=40.0), empty_ticks=1000)
    rows = run((AwStream, options), frames, in_flight=8, arrivals=PeriodicLatest(40.0, 40)).rows
    done = rows["outcome"] == 0
    assert np.count_nonzero(done) >= 30
    assert not np.any(rows["outcome"] == 4)
    out_s = rows["completed_s"][done]
    assert np.all(np.diff(out_s) >= -1e-12)
    first_two = out_s[:2]
    assert first_two[0] == pytest.approx(first_two[1])


def sent_bps(rows, from_s, to_s):
    """What left in a time, of the frames that were captured in it."""
    inside = (rows["captured_s"] >= from_s - 1e-9) & (rows["captured_s"] < to_s - 1e-9)
    return 8.0 * rows["uplink_bytes"][inside].sum() / (to_s - from_s)


@pytest.mark.parametrize("rate", ["estimate", "consumed"])
def test_after_a_step_down_it_sends_what_the_link_carries_two_seconds_later(rate):
    """From plenty to what lies between the two lowest levels."""
    made, carried_bps = [], rates_bps()[1] * 1.2
    system_of = adapting(made, start_level=3, rate=rate)
    rows = run(system_of, walk(FRAMES), [(0.0, 8e6), (3.0, carried_bps)]).rows
    assert sent_bps(rows, 0.0, 3.0) > 3.0 * carried_bps
    assert sent_bps(rows, 5.0, 10.0) < 1.05 * carried_bps
    waited_s = (rows["completed_s"] - rows["captured_s"])[(rows["captured_s"] > 5.0) & (rows["outcome"] == 0)]
    assert len(waited_s) >= 25
    assert np.median(waited_s) < 0.3


def test_after_a_step_up_it_probes_and_climbs_to_the_top():
    made = []
    step = [(0.0, rates_bps()[1] * 1.2), (3.0, 8e6)]
    result = run(adapting(made, start_level=1, empty_ticks=3), walk(FRAMES), step)
    (system,) = made
    assert system.controller.level == 3
    probed_bytes = result.world.uplink.statistics().opportunistic_delivered_bytes
    more_bps = np.diff(rates_bps())[1:]  # of the two levels that it climbs
    least_bytes = 1.05 * more_bps.sum() * (1 / 3 + 2 / 3 + 1) * 0.1 / 8
    assert probed_bytes >= least_bytes - 6


def test_a_change_of_size_begins_with_a_keyframe_and_a_change_of_quantiser_does_not():
    image = texture(64, 64, np.random.default_rng(0), 2.0, True)
    stream = DegradedStream(250, Degradation(1.0, 0, 20))
    keyframes = []
    for degradation in (
        Degradation(1.0, 0, 20),
        Degradation(1.0, 0, 30),
        Degradation(1.0, 5, 30),
        Degradation(0.5, 5, 30),
        Degradation(0.5, 5, 20),
        Degradation(1.0, 0, 20),
    ):
        stream.degradation = degradation
        packet = stream.encode_image(image)
        assert packet.decoded().shape == image.shape
        keyframes.append(packet.keyframe)
        side = degradation.size_px(64, 64)[0]
        assert packet.coded_pixels == side**2
    assert keyframes == [True, False, False, True, False, True]
