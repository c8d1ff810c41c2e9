"""From scheduled transport blocks to delivery opportunities, for the recordings of LTE control channels.

Such a recording lists what the cell scheduled for all of its users. It is the *load* of a cell, not the
capacity of a link: a silent millisecond may mean that nobody had anything to send. Used as a link, it
answers "what if one camera had exactly what all users of this cell were granted". Published evaluations use
it so after scaling to a mean; the burst structure is what it contributes.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from traces.bandwidth.trace import MS_PER_S, OpportunityTrace
from traces.errors import InputError

PACKET_BYTES = 1500
REORDER_S = 0.02  # decoders emit the two directions of a frame (10 ms) out of order
DIRECTION_CODE = {"uplink": 0, "downlink": 1}


def opportunities_from_grants(
    path: Path,
    direction: str,
    places: NDArray[np.int64],
    word: str,
    timestamps_s: NDArray[np.float64],
    bits: NDArray[np.int64],
) -> OpportunityTrace:
    """Delivery opportunities of 1500 bytes from transport blocks.

    The packets of a millisecond are the increments of floor(cumulative bits / 12000): what does not fill a
    packet is carried to the next grant, and less than one packet is lost at the end. Milliseconds count
    from the first row of the direction; the trace loops after its last millisecond.

    places, word: (n,) line or row numbers and what they are, for messages.
    timestamps_s: (n,) times of the grants.
    bits: (n,) new information bits.

    Raises:
        InputError: no row, times that go back by more than 20 ms, or less than one packet in all.
    """
    if timestamps_s.size == 0:
        raise InputError(f"{path}: expected {direction} rows, found none")
    steps_s = np.diff(timestamps_s)
    if steps_s.size and steps_s.min() < -REORDER_S:
        i = int(np.argmax(steps_s < -REORDER_S)) + 1
        raise InputError(
            f"{path}, {word} {places[i]}: expected times that do not go back, found {timestamps_s[i]:.6f} s "
            f"after {timestamps_s[i - 1]:.6f} s"
        )
    order = np.argsort(timestamps_s, kind="stable")
    times_ms = np.rint((timestamps_s[order] - timestamps_s.min()) * MS_PER_S).astype(np.int64)
    packets = np.diff(np.cumsum(bits[order]) // (8 * PACKET_BYTES), prepend=0)
    if packets.sum() == 0:
        raise InputError(
            f"{path}: expected at least one packet of {PACKET_BYTES} bytes of new {direction} data, "
            f"found {int(bits.sum())} bits in {timestamps_s.size} rows"
        )
    return OpportunityTrace(
        name=f"{path.name} {direction}",
        times_ms=np.repeat(times_ms, packets),
        period_ms=int(times_ms[-1]) + 1,
        packet_bytes=PACKET_BYTES,
        source=str(path),
    )
