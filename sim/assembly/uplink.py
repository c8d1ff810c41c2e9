"""The links of a run: which trace the uplink replays, what the downlink carries."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from sim.assembly.replicate import NETWORK, replicate_seed, start_share
from sim.configuration.plugins import find_plugin
from sim.configuration.sections import LEVELS_MBPS, DownlinkConfig, TraceConfig
from sim.records.intervals import correlation_samples
from traces.bandwidth.loading import load_trace
from traces.bandwidth.statistics import binned_rates_bps
from traces.bandwidth.synthetic import CORRELATION_S, synthetic_network, synthetic_uplink
from traces.bandwidth.trace import BandwidthTrace, RateTrace
from traces.bandwidth.trace_format import TraceFormat
from traces.errors import InputError
from traces.notices import warn_once

HOUR_S = 3600.0  # of a synthetic network: 130 MB at 56 Mbit/s
RATE_BIN_S = 0.1
SLACK_S = 10.0  # after the last capture: its frame's way, and what is still queued
FILE_KEYS = ("format", "column", "time_column", "time_unit", "rate_unit")


def load_uplink(
    config: TraceConfig, seed: int, run_s: float, folders: Iterable[str] = (), replicate: int = 0
) -> BandwidthTrace:
    """The uplink's trace: from its file, or synthetic and longer than a run of `run_s`.

    A synthetic trace depends on its seed alone: a longer run sees the same minutes and then more of them
    (:func:`traces.bandwidth.synthetic.synthetic_network`), so runs of other lengths and frame rates are on
    the same network. With `trace.duration_s` it is a loop of that length, as a file is.

    Args:
        config: section `trace`.
        seed: of the run, which `trace.seed` null follows.
        run_s: how long the run lasts, about.
        folders: searched for formats.
        replicate: 0, or which other network: another seed's, or the file from another place on.
    """
    own_seed = seed if config.seed is None else config.seed
    if config.path is None:
        if config.mean_mbps is None:
            raise InputError("trace.path: expected a trace file (or trace.mean_mbps for a synthetic one)")
        for key in FILE_KEYS:
            if getattr(config, key) is not None:
                raise InputError(f"trace.{key}: expected trace=file trace.path=... with it, found no file")
        mean_bps, drawn_seed = config.mean_mbps * 1e6, replicate_seed(own_seed, replicate)
        made: BandwidthTrace
        if config.duration_s is None:
            made = synthetic_network(mean_bps, _covered_s(config, run_s), drawn_seed)
        else:
            made = synthetic_uplink(mean_bps, config.duration_s, drawn_seed)
        if config.start_s or config.end_s is not None:
            made = made.sliced(config.start_s, made.duration_s if config.end_s is None else config.end_s)
        return made.shifted(config.offset_s) if config.offset_s else made
    try:
        loaded = load_trace(
            config.path,
            _format(config.format, tuple(folders)),
            direction=config.direction,
            column=config.column,
            time_column=config.time_column,
            time_unit=config.time_unit,
            rate_unit=config.rate_unit,
            start_s=config.start_s,
            end_s=config.end_s,
            offset_s=config.offset_s,
            mean_bps=None if config.mean_mbps is None else config.mean_mbps * 1e6,
        )
    except InputError as error:
        if str(error).partition(":")[0] in FILE_KEYS:
            raise InputError(f"trace.{error}") from None
        raise
    if replicate == 0:
        return loaded
    if loaded.duration_s < 2 * run_s:
        warn_once(
            f"trace.path: {loaded.name!r} has {loaded.duration_s:g} s, a run {run_s:g} s: replicates see "
            "much of the same network, and their intervals hold for this recording alone"
        )
    return loaded.shifted(start_share(own_seed, replicate, NETWORK) * loaded.duration_s)


def _covered_s(config: TraceConfig, run_s: float) -> float:
    """How much of a synthetic network a run may see; after an hour it begins again.

    Raises:
        InputError: an offset from the end of a trace that has none.
    """
    last_s = config.end_s
    if last_s is None:
        for key in ("start_s", "offset_s"):
            if not 0 <= getattr(config, key) < HOUR_S:
                raise InputError(
                    f"trace.{key}: expected 0 to {HOUR_S:g} s into a synthetic trace that goes on "
                    f"(trace.duration_s=... makes one that loops), found {getattr(config, key):g}"
                )
        last_s = config.start_s + config.offset_s + run_s + SLACK_S
    return min(HOUR_S, max(1.0, last_s))


def _format(name: str | None, folders: tuple[str, ...]) -> TraceFormat | str | None:
    """The format behind a name; None and "auto" leave it to the file's content."""
    if name is None or name == "auto":
        return name
    made: TraceFormat = find_plugin("trace/format", name, folders).make()
    return made


def trace_name(config: TraceConfig, trace: BandwidthTrace) -> str:
    """The name that tables show: the configuration's, with where the trace came from."""
    if config.path is None:
        return f"{config.name} (synthetic)"
    # A file that no level scaled is not of that level, whatever the default is called.
    return trace.name if config.name in ("file", *LEVELS_MBPS) else f"{config.name} ({trace.name})"


def link_correlation_s(trace: BandwidthTrace) -> float:
    """How long the uplink's rate stays alike: 1 + 2·Σ ρ of its rates, 0 of a constant one.

    A synthetic network's is the generator's: a minute of it shows too little.
    """
    if trace.synthetic:
        return CORRELATION_S
    if trace.duration_s < 2 * RATE_BIN_S:
        return 0.0
    rates_bps = binned_rates_bps(trace, RATE_BIN_S)
    return correlation_samples(rates_bps) * RATE_BIN_S if rates_bps.std() > 0 else 0.0


def constant_rate(config: DownlinkConfig) -> RateTrace:
    """The downlink's trace."""
    return RateTrace("downlink", np.zeros(1), np.array([config.mean_mbps * 1e6]), 1.0)
