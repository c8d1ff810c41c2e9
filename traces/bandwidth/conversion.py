"""From one kind of trace to the other, and to files."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from traces.bandwidth.formats import cooked, delimited, mahimahi
from traces.bandwidth.loading import SYNTHETIC_MARK
from traces.bandwidth.trace import MAX_OPPORTUNITIES, MS_PER_S, BandwidthTrace, OpportunityTrace, RateTrace
from traces.errors import InputError

WRITABLE = ("mahimahi", "csv", "cooked")
_FORMAT_OF_SUFFIX = {
    ".csv": "csv",
    ".cooked": "cooked",
    ".mahimahi": "mahimahi",
    ".up": "mahimahi",
    ".down": "mahimahi",
}


def to_opportunities(trace: RateTrace, packet_bytes: int = mahimahi.PACKET_BYTES) -> OpportunityTrace:
    """Delivery opportunities of a rate trace: a packet leaves in the millisecond in which its last byte fits.

    The k-th packet takes the first millisecond t with integral of the rate up to t >= k * packet_bytes. Less
    than one packet a period is lost.

    Raises:
        InputError: a period carries less than one packet.
    """
    carried_bytes = np.concatenate(([0.0], np.cumsum(trace.rates_bps * trace.durations_s / 8.0)))
    # A period that carries a whole number of packets up to rounding carries them all.
    packets = int(carried_bytes[-1] / packet_bytes * (1 + 1e-12))
    if packets < 1:
        raise InputError(
            f"{trace.source or trace.name}: a period carries {carried_bytes[-1]:g} bytes, less than one "
            f"packet of {packet_bytes} bytes"
        )
    if packets > MAX_OPPORTUNITIES:
        raise InputError(
            f"{trace.source or trace.name}: {packets:.3g} packets in a period; at most "
            f"{MAX_OPPORTUNITIES:.0e} are allowed"
        )
    wanted_bytes = np.minimum(np.arange(1, packets + 1) * float(packet_bytes), carried_bytes[-1])
    segment = np.searchsorted(carried_bytes, wanted_bytes, side="left") - 1
    within_s = (wanted_bytes - carried_bytes[segment]) * 8.0 / trace.rates_bps[segment]
    period_ms = max(1, round(trace.period_s * MS_PER_S))
    times_ms = np.ceil((trace.times_s[segment] + within_s) * MS_PER_S - 1e-6).astype(np.int64)
    return OpportunityTrace(
        name=trace.name,
        times_ms=np.clip(times_ms, 0, period_ms),
        period_ms=period_ms,
        packet_bytes=packet_bytes,
        synthetic=trace.synthetic,
        source=trace.source,
    )


def to_rates(trace: OpportunityTrace, bin_s: float) -> RateTrace:
    """Mean rates in bins of bin_s, a last shorter bin included; every byte of the period is kept.

    The bursts within a bin are lost, and with them delay: use it where a format or tool knows rates only.

    Raises:
        InputError: bin_s is not at least 1 ms or not whole milliseconds.
    """
    bin_ms = round(bin_s * MS_PER_S)
    if bin_ms < 1 or abs(bin_ms - bin_s * MS_PER_S) > 1e-6:
        raise InputError(f"bin_s(={bin_s:g}) must be whole milliseconds, at least one")
    starts_ms = np.arange(0, trace.period_ms, bin_ms)
    bins = np.minimum(trace.times_ms // bin_ms, starts_ms.size - 1)
    packets = np.bincount(bins, minlength=starts_ms.size)
    lengths_s = np.diff(starts_ms, append=trace.period_ms) / MS_PER_S
    return RateTrace(
        name=trace.name,
        times_s=starts_ms / MS_PER_S,
        rates_bps=packets * (8.0 * trace.packet_bytes) / lengths_s,
        period_s=trace.duration_s,
        synthetic=trace.synthetic,
        source=trace.source,
    )


def format_of(path: str | os.PathLike[str]) -> str:
    """The format that a file's suffix stands for.

    Raises:
        InputError: the suffix stands for none.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in _FORMAT_OF_SUFFIX:
        raise InputError(
            f"{path}: expected a suffix in {', '.join(_FORMAT_OF_SUFFIX)} or a format in {WRITABLE}, "
            f"found {suffix or 'no suffix'!r}"
        )
    return _FORMAT_OF_SUFFIX[suffix]


def save_trace(
    trace: BandwidthTrace, path: str | os.PathLike[str], format: str | None = None, *, bin_s: float = 0.1
) -> list[str]:
    """Write a trace as mahimahi, csv or cooked, converting its kind where the format needs it.

    format: None takes it from the suffix. bin_s: bins for opportunities written as rates (cooked). The file
    appears whole or not at all.

    Returns: one line for each thing that the format could not hold.

    Raises:
        InputError: an unknown format, a synthetic trace in a format without room for that label and a file
            name without the word, or a path that cannot be written.
    """
    path = Path(path)
    format = format or format_of(path)
    if format not in WRITABLE:
        raise InputError(f"format must be in {WRITABLE} (got {format!r})")
    if trace.synthetic and format != "csv" and SYNTHETIC_MARK not in path.name.lower():
        raise InputError(
            f"{path}: expected {SYNTHETIC_MARK!r} in the file's name, because the trace is synthetic and the "
            f"{format} format has no place to say so"
        )
    notes: list[str] = []
    if format == "csv":
        text = delimited.dumps(trace)
    elif format == "mahimahi":
        if isinstance(trace, RateTrace):
            notes.append("rates became millisecond opportunities of 1500 bytes; less than one packet is lost")
            trace = to_opportunities(trace)
        if trace.packet_bytes != mahimahi.PACKET_BYTES:
            raise InputError(
                f"{path}: mahimahi packets are {mahimahi.PACKET_BYTES} bytes (got {trace.packet_bytes})"
            )
        silence_ms = trace.period_ms - int(trace.times_ms[-1])
        if silence_ms:
            notes.append(
                f"the loop starts {silence_ms} ms earlier, since the format ends with an opportunity"
            )
        text = mahimahi.dumps(trace)
    else:
        if isinstance(trace, OpportunityTrace):
            notes.append(f"the millisecond structure is lost: rates in bins of {bin_s:g} s")
            trace = to_rates(trace, bin_s)
        lengths_s = trace.durations_s
        median_s = float(np.median(lengths_s[:-1])) if lengths_s.size > 1 else 0.0
        if abs(lengths_s[-1] - median_s) > 1e-6:
            notes.append(
                f"the last segment holds {lengths_s[-1]:g} s; the format does not say so, readers assume "
                f"the median step {median_s:g} s"
            )
        text = cooked.dumps(trace)
    partial = path.with_name(path.name + ".part")
    try:
        partial.write_text(text)
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise InputError(f"{path}: expected a path that can be written, found {error.strerror}") from error
    return notes
