"""The fitted latency model, the part of the profiler that the simulator imports: read, write, evaluate."""

from __future__ import annotations

from profiler.latency.codec_times import BLOCKS, KEYFRAME, CodecTable, CodecTime, CodecTimes
from profiler.latency.curves import (
    Counts,
    LatencyCurve,
    PiecewiseLinear,
    Quadratic,
    Tabulated,
    best_of_times,
)
from profiler.latency.disturbance import warn_if_disturbed
from profiler.latency.profile import Encoding, Layer, Power, Profile, Residuals
from profiler.latency.profile_file import (
    CODECS_FILE,
    PROFILE_FOLDER,
    available_profiles,
    load_profile,
    read_codecs_file,
    read_profile,
    save_codecs_file,
    save_profile,
)
from profiler.latency.split_table import Cut, SplitTable, load_split_table

__all__ = [
    "BLOCKS",
    "CODECS_FILE",
    "KEYFRAME",
    "PROFILE_FOLDER",
    "CodecTable",
    "CodecTime",
    "CodecTimes",
    "Counts",
    "Cut",
    "Encoding",
    "LatencyCurve",
    "Layer",
    "PiecewiseLinear",
    "Power",
    "Profile",
    "Quadratic",
    "Residuals",
    "SplitTable",
    "Tabulated",
    "available_profiles",
    "best_of_times",
    "load_profile",
    "load_split_table",
    "read_codecs_file",
    "read_profile",
    "save_codecs_file",
    "save_profile",
    "warn_if_disturbed",
]
