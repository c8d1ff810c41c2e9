"""What a device's radio draws: a state model driven by what the links have carried.

An LTE modem is connected or idle. It is promoted from idle before a message, sends and receives, and stays
connected for a tail after the last byte: listening all the time for `inactivity_s`, then in cycles of
discontinuous reception (DRX), short ones for `short_drx_s`, long ones until `tail_s` have passed. While
connected and listening it draws

    P = α_u·t_u + α_d·t_d + β

with t the throughputs (Huang et al., MobiSys 2012, §5), so that a run's energy is

    E = α_u·bits_u + α_d·bits_d + Σ over states of P_state · seconds_state

and neither the order of the bits nor a rate within a message matters. A state that cycles counts with the
mean power of a cycle. The states' times add up to the time that was simulated.

What is not modelled: promotion and DRX delay no message (the links' own delays stand for everything), so
the time of a promotion is taken from the idle time before the message. The run begins idle; a promotion that
would have had to begin before the run counts from its beginning. Bytes that the link layer sends again cost
time, not α. What the fair link carries of a message that is not through at the end is left out.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from sim.physics.link import Transfer


class Activity:
    """What one device's links carried besides its frames' own last messages.

    Those, one up and one down a frame, are in the table of frames, where they cost next to nothing.

    Attributes:
        up, down: begin, end, bytes of each message.
        opportunistic: begin, end, bytes, frame of each piece of a message that gives way: the frame beside
            which it was sent.
        notice_bytes: of the messages down that no frame waited for: they are in no frame's row.
    """

    __slots__ = ("down", "notice_bytes", "opportunistic", "up")

    def __init__(self) -> None:
        self.up = array("d")
        self.down = array("d")
        self.opportunistic = array("d")
        self.notice_bytes = 0

    def sent(self, transfer: Transfer) -> None:
        """Note a message up."""
        self.up.extend((transfer.began_s, transfer.delivered_s, transfer.size_bytes))

    def received(self, transfer: Transfer) -> None:
        """Note a message down."""
        self.down.extend((transfer.began_s, transfer.delivered_s, transfer.size_bytes))

    def noticed(self, transfer: Transfer) -> None:
        """Note a message down that no frame waited for."""
        self.received(transfer)
        self.notice_bytes += transfer.size_bytes

    def up_messages(self) -> NDArray[np.float64]:
        """Begin, end and bytes of what was noted of messages up that do not give way, (messages, 3)."""
        return np.array(self.up).reshape(-1, 3)

    def pieces(self) -> NDArray[np.float64]:
        """Begin, end and bytes of each piece of messages up that give way, (pieces, 3)."""
        return np.array(self.opportunistic).reshape(-1, 4)[:, :3].copy()

    def received_messages(self) -> NDArray[np.float64]:
        """The same of messages down."""
        return np.array(self.down).reshape(-1, 3)


@dataclass(frozen=True, slots=True)
class RadioUse:
    """Where a radio's time and energy went.

    Args:
        seconds, joules: by state; the seconds add up to the time that was simulated.
        extrapolated: whether it was faster than anything that its model was made from.
    """

    seconds: Mapping[str, float]
    joules: Mapping[str, float]
    extrapolated: bool = False

    @property
    def energy_j(self) -> float:
        """Of all states."""
        return math.fsum(self.joules.values())


class Radio(Protocol):
    """What a radio made of the traffic draws; made as `Class(options)`."""

    def use(self, up: NDArray[np.float64], down: NDArray[np.float64], simulated_s: float) -> RadioUse | None:
        """Time and energy of a run; None where there is no radio.

        Args:
            up, down: begin and end at the radio, in seconds, and bytes of each message, (messages, 3), in any
                order; messages may overlap, and last beyond the end.
            simulated_s: the run's length.
        """


@dataclass(frozen=True, slots=True)
class NoRadio:
    """No modem: nothing is added to the edge's energy."""

    @dataclass(frozen=True, slots=True)
    class Options:
        """Nothing to choose."""

    options: Options = Options()

    def use(self, up: NDArray[np.float64], down: NDArray[np.float64], simulated_s: float) -> RadioUse | None:
        """No time and no energy: there is no radio."""
        return None


@dataclass(frozen=True, slots=True)
class RrcRadio:
    """A modem with radio resource control: promotion, transfer, tail with DRX, idle (see the module)."""

    @dataclass(frozen=True, slots=True)
    class Options:
        """Powers in watts, times in seconds; the defaults are an LTE phone's, with their source in its YAML.

        Args:
            promotion_s, promotion_w: from idle to connected.
            uplink_w_per_mbps, downlink_w_per_mbps: α_u and α_d.
            connected_w: β.
            inactivity_s: connected and listening after the last byte.
            short_drx_s: then so long in short cycles.
            short_cycle_s, short_on_s, short_on_w: a short cycle, how long of it and with what it listens.
            long_cycle_s, long_on_s, long_on_w: the same of a long one.
            tail_s: from the last byte to idle, inactivity and both kinds of cycles together.
            tail_w: drawn in the tail's cycles while it does not listen.
            idle_cycle_s, idle_on_s, idle_on_w: the same of paging in idle, where nothing is drawn in between.
            uplink_limit_mbps, downlink_limit_mbps: beyond this mean rate of transfers a use is extrapolated.
        """

        promotion_s: float = 0.2601
        promotion_w: float = 1.2107
        uplink_w_per_mbps: float = 0.43839
        downlink_w_per_mbps: float = 0.05197
        connected_w: float = 1.28804
        inactivity_s: float = 0.1
        short_drx_s: float = 0.02
        short_cycle_s: float = 0.02
        short_on_s: float = 0.001
        short_on_w: float = 1.6801
        long_cycle_s: float = 0.0401
        long_on_s: float = 0.001
        long_on_w: float = 1.6801
        tail_s: float = 11.576
        tail_w: float = 1.06
        idle_cycle_s: float = 1.2802
        idle_on_s: float = 0.0432
        idle_on_w: float = 0.5943
        uplink_limit_mbps: float = 51.0
        downlink_limit_mbps: float = 102.0

        def __post_init__(self) -> None:
            for entry in fields(self):
                value = getattr(self, entry.name)
                if not (math.isfinite(value) and value >= 0.0):
                    raise ValueError(f"{entry.name}: expected a number >= 0, found {value}")
            for kind in ("short", "long", "idle"):
                cycle_s, on_s = getattr(self, f"{kind}_cycle_s"), getattr(self, f"{kind}_on_s")
                if cycle_s <= 0.0 or on_s > cycle_s:
                    raise ValueError(
                        f"{kind}_on_s: expected at most a cycle > 0 s ({kind}_cycle_s), found {on_s} of "
                        f"{cycle_s} s"
                    )
            if self.tail_s < self.inactivity_s + self.short_drx_s:
                raise ValueError(
                    f"tail_s: expected at least inactivity_s + short_drx_s = "
                    f"{self.inactivity_s + self.short_drx_s:g} s, found {self.tail_s}"
                )

    options: Options = Options()

    def powers_w(self) -> dict[str, float]:
        """The mean power of each state, without what throughput adds to `transfer`."""
        options = self.options
        short, long = options.short_on_s / options.short_cycle_s, options.long_on_s / options.long_cycle_s
        return {
            "promotion": options.promotion_w,
            "transfer": options.connected_w,
            "inactivity": options.connected_w,
            "short_drx": options.tail_w + short * (options.short_on_w - options.tail_w),
            "long_drx": options.tail_w + long * (options.long_on_w - options.tail_w),
            "idle": options.idle_on_w * options.idle_on_s / options.idle_cycle_s,
        }

    def use(self, up: NDArray[np.float64], down: NDArray[np.float64], simulated_s: float) -> RadioUse | None:
        """Time and energy of a run; see :class:`Radio`."""
        seconds = self._seconds(merged(np.concatenate((up, down)), simulated_s), simulated_s)
        joules = {state: power_w * seconds[state] for state, power_w in self.powers_w().items()}
        options = self.options
        extrapolated = False
        for messages, w_per_mbps, limit_mbps in (
            (up, options.uplink_w_per_mbps, options.uplink_limit_mbps),
            (down, options.downlink_w_per_mbps, options.downlink_limit_mbps),
        ):
            mbit = 8e-6 * carried_bytes(messages, simulated_s)
            joules["transfer"] += w_per_mbps * mbit
            busy = merged(messages, simulated_s)
            extrapolated |= bool(mbit > limit_mbps * float((busy[:, 1] - busy[:, 0]).sum()))
        return RadioUse(seconds, joules, extrapolated)

    def _seconds(self, busy: NDArray[np.float64], simulated_s: float) -> dict[str, float]:
        """How long the radio was in each state, given the disjoint intervals in which it was busy."""
        options = self.options
        if not len(busy):
            return {**dict.fromkeys(self.powers_w(), 0.0), "idle": simulated_s}
        gaps_s = np.append(busy[1:, 0], simulated_s) - busy[:, 1]  # after each busy time
        listening_s = np.minimum(gaps_s, options.inactivity_s)
        short_s = np.minimum(gaps_s - listening_s, options.short_drx_s)
        long_s = np.minimum(
            gaps_s - listening_s - short_s, options.tail_s - options.inactivity_s - options.short_drx_s
        )
        rest_s = np.maximum(gaps_s - options.tail_s, 0.0)
        before_message_s = np.append(busy[0, 0], rest_s[:-1])  # idle, but for the promotion
        promotion_s = np.minimum(before_message_s, options.promotion_s)
        return {
            "promotion": float(promotion_s.sum()),
            "transfer": float((busy[:, 1] - busy[:, 0]).sum()),
            "inactivity": float(listening_s.sum()),
            "short_drx": float(short_s.sum()),
            "long_drx": float(long_s.sum()),
            "idle": float((before_message_s - promotion_s).sum() + rest_s[-1]),
        }


def merged(messages: NDArray[np.float64], until_s: float) -> NDArray[np.float64]:
    """The times at which at least one message is under way, up to an end: disjoint, ascending, (times, 2).

    Args:
        messages: begin, end and bytes, (messages, 3); one that takes no time does not count.
        until_s: the end.
    """
    began_s, ended_s = messages[:, 0], np.minimum(messages[:, 1], until_s)
    real = ended_s > began_s
    began_s, ended_s = began_s[real], ended_s[real]
    order = np.argsort(began_s, kind="stable")
    began_s, ended_s = began_s[order], np.maximum.accumulate(ended_s[order])
    first = np.append(True, began_s[1:] > ended_s[:-1]) if len(began_s) else np.empty(0, bool)
    last = np.append(first[1:], True) if len(began_s) else first
    return np.column_stack((began_s[first], ended_s[last]))


def carried_bytes(messages: NDArray[np.float64], until_s: float) -> float:
    """The bytes that had left by an end; of a message under way then, in proportion to its time."""
    began_s, ended_s, size_bytes = messages.T
    length_s = ended_s - began_s
    with np.errstate(all="ignore"):
        share = np.where(length_s > 0.0, (until_s - began_s) / length_s, ended_s <= until_s)
    return float((size_bytes * np.clip(share, 0.0, 1.0)).sum())
