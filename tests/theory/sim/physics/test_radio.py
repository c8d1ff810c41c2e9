"""What a radio draws, against sums worked out by hand, and times that add up whatever is sent."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from sim.physics.radio import NoRadio, RadioUse, RrcRadio, carried_bytes, merged

# Round numbers, so that each sum below can be checked on paper.
ROUND = RrcRadio.Options(
    promotion_s=0.5,
    promotion_w=2.0,
    uplink_w_per_mbps=0.1,
    downlink_w_per_mbps=0.01,
    connected_w=1.0,
    inactivity_s=1.0,
    short_drx_s=2.0,
    short_cycle_s=0.1,
    short_on_s=0.05,
    short_on_w=0.9,
    long_cycle_s=0.4,
    long_on_s=0.1,
    long_on_w=0.9,
    tail_s=10.0,
    tail_w=0.5,
    idle_cycle_s=1.0,
    idle_on_s=0.1,
    idle_on_w=0.4,
    uplink_limit_mbps=50.0,
    downlink_limit_mbps=100.0,
)
SHORT_W, LONG_W, IDLE_W = 0.5 * 0.9 + 0.5 * 0.5, 0.25 * 0.9 + 0.75 * 0.5, 0.04
NOTHING = np.empty((0, 3))
MEGABIT = 125_000.0


def messages(*rows: tuple[float, float, float]) -> NDArray[np.float64]:
    return np.array(rows, dtype=np.float64).reshape(-1, 3)


def used(up: NDArray[np.float64], down: NDArray[np.float64], simulated_s: float) -> RadioUse:
    use = RrcRadio(ROUND).use(up, down, simulated_s)
    assert use is not None
    assert math.fsum(use.seconds.values()) == pytest.approx(simulated_s, abs=1e-9)
    return use


def test_without_traffic_it_pages() -> None:
    use = used(NOTHING, NOTHING, 100.0)
    assert use.seconds["idle"] == 100.0
    assert use.energy_j == pytest.approx(100.0 * IDLE_W)


def test_one_transfer_brings_a_promotion_and_a_whole_tail() -> None:
    """Idle to 4.5, promoted to 5, 8 Mbit up to 7, listening to 8, short DRX to 10, long to 17, idle to 20."""
    use = used(messages((5.0, 7.0, 8 * MEGABIT)), NOTHING, 20.0)
    assert use.seconds == pytest.approx(
        {
            "idle": 4.5 + 3.0,
            "promotion": 0.5,
            "transfer": 2.0,
            "inactivity": 1.0,
            "short_drx": 2.0,
            "long_drx": 7.0,
        }
    )
    # 8 Mbit in 2 s are 4 Mbit/s: (0.1·4 + 1)·2 J.
    hand_j = 7.5 * IDLE_W + 0.5 * 2.0 + (0.1 * 4.0 + 1.0) * 2.0 + 1.0 * 1.0 + 2.0 * SHORT_W + 7.0 * LONG_W
    assert use.energy_j == pytest.approx(hand_j)
    assert not use.extrapolated


def test_a_second_transfer_within_the_tail_needs_no_promotion() -> None:
    """7 to 11 is a gap of 4 s: 1 listening, 2 short, 1 long; then 1 s down, and the tail until the end."""
    use = used(messages((5.0, 7.0, 0.0)), messages((11.0, 12.0, 50 * MEGABIT)), 14.0)
    assert use.seconds == pytest.approx(
        {"idle": 4.5, "promotion": 0.5, "transfer": 3.0, "inactivity": 2.0, "short_drx": 3.0, "long_drx": 1.0}
    )
    assert use.joules["transfer"] == pytest.approx(3.0 * 1.0 + 0.01 * 50.0)


def test_two_transfers_apart_are_promoted_each() -> None:
    use = used(messages((5.0, 7.0, 0.0), (30.0, 31.0, 0.0)), NOTHING, 31.0)
    # From 7: tail to 17, idle to 29.5, promotion to 30.
    assert use.seconds["promotion"] == pytest.approx(1.0)
    assert use.seconds["idle"] == pytest.approx(4.5 + 12.5)
    assert use.seconds["long_drx"] == pytest.approx(7.0)


def test_a_promotion_is_cut_by_the_beginning_and_by_the_tail() -> None:
    use = used(messages((0.2, 1.0, 0.0), (11.1, 12.0, 0.0)), NOTHING, 12.0)
    assert use.seconds["promotion"] == pytest.approx(0.2 + 0.1)
    assert use.seconds["idle"] == pytest.approx(0.0, abs=1e-9)


def test_what_overlaps_counts_once_and_what_lies_beyond_the_end_not_at_all() -> None:
    up = messages((1.0, 3.0, MEGABIT), (2.0, 2.5, MEGABIT), (9.0, 11.0, MEGABIT), (12.0, 13.0, MEGABIT))
    down = messages((2.5, 4.0, 0.0))
    use = used(up, down, 10.0)
    assert use.seconds["transfer"] == pytest.approx(3.0 + 1.0)
    assert use.joules["transfer"] == pytest.approx(4.0 * 1.0 + 0.1 * 2.5)  # half of the third message


def test_more_than_the_device_can_do_is_said() -> None:
    for mbit, extrapolated in ((49.0, False), (51.0, True)):
        assert used(messages((1.0, 2.0, mbit * MEGABIT)), NOTHING, 5.0).extrapolated is extrapolated


def test_the_published_constants_give_the_published_tail() -> None:
    """The tail of the paper: 11.576 s of 1060 mW and more is 12.3 to 12.7 J, most of what one byte costs."""
    use = RrcRadio().use(messages((1.0, 1.0001, 1.0)), NOTHING, 1.0001 + 11.576)
    assert use is not None
    tail_j = use.energy_j - use.joules["promotion"] - use.joules["transfer"] - use.joules["idle"]
    assert 12.3 < tail_j < 12.7
    assert use.joules["promotion"] == pytest.approx(0.2601 * 1.2107)


def test_no_radio_uses_nothing_that_is_known() -> None:
    assert NoRadio().use(messages((0.0, 1.0, 1.0)), NOTHING, 1.0) is None


MESSAGES = st.lists(
    st.tuples(st.floats(0.0, 60.0), st.floats(0.0, 20.0), st.integers(0, 10**7)), max_size=12
).map(lambda drawn: messages(*((began, began + length, size) for began, length, size in drawn)))


@given(MESSAGES, MESSAGES, st.floats(0.0, 80.0))
def test_state_times_add_up_and_agree_with_a_walk_through_time(
    up: NDArray[np.float64], down: NDArray[np.float64], simulated_s: float
) -> None:
    use = used(up, down, simulated_s)
    assert min(use.seconds.values()) >= -1e-9
    together = np.concatenate((up, down))
    busy = merged(together, simulated_s)
    assert (busy[:, 1] > busy[:, 0]).all()
    assert (busy[1:, 0] > busy[:-1, 1]).all()
    for now_s in np.linspace(0.0, max(simulated_s, 1e-9), 50, endpoint=False) + 1e-7:
        inside = bool(((together[:, 0] <= now_s) & (now_s < np.minimum(together[:, 1], simulated_s))).any())
        assert inside == bool(((busy[:, 0] <= now_s) & (now_s < busy[:, 1])).any())
    assert 0.0 <= carried_bytes(up, simulated_s) <= up[:, 2].sum() * (1 + 1e-12)
    assert carried_bytes(up, 1e9) == pytest.approx(up[:, 2].sum())


@pytest.mark.parametrize(
    ("wrong", "found"),
    [
        ({"tail_s": 0.05}, "tail_s: expected at least inactivity_s + short_drx_s = 0.12 s, found 0.05"),
        (
            {"short_on_s": 0.03},
            "short_on_s: expected at most a cycle > 0 s (short_cycle_s), found 0.03 of 0.02 s",
        ),
        ({"connected_w": -1.0}, "connected_w: expected a number >= 0, found -1.0"),
        ({"idle_on_w": math.nan}, "idle_on_w: expected a number >= 0, found nan"),
    ],
)
def test_constants_that_make_no_sense_are_refused(wrong: dict[str, float], found: str) -> None:
    with pytest.raises(ValueError, match="expected") as error:
        RrcRadio.Options(**wrong)
    assert str(error.value) == found
