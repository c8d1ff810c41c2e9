"""Records of a samples file into values, each field checked: a checksum finds damage, not nonsense."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from profiler.fit.codec_fit import CodecSample
from profiler.measure.samples import LAYER, MARGIN, MASKS, OPS, Sample

Check = Callable[[Any], bool]


def _whole(least: int) -> Check:
    return lambda value: type(value) is int and value >= least


def _number(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)


def _time(value: Any) -> bool:
    return _number(value) and value > 0


def _operation(value: Any) -> bool:
    return isinstance(value, str) and (
        value in OPS or (value.startswith(MARGIN) and value[len(MARGIN) :].isdigit())
    )


_SAMPLE: Mapping[str, tuple[str, Check]] = {
    "op": (f"one of {', '.join(OPS)}, {MARGIN}<px>", _operation),
    "k": ("a whole number of blocks, or null", lambda value: value is None or _whole(0)(value)),
    "mask": (f"one of {', '.join(MASKS)}, or null", lambda value: value is None or value in MASKS),
    "repeat": ("a whole number", _whole(0)),
    "seconds": ("a time above 0 (s)", _time),
}
_LAYERS: Mapping[str, tuple[str, Check]] = {
    "repeat": ("a whole number", _whole(0)),
    "seconds": (
        "a time above 0 (s) for each layer",
        lambda value: isinstance(value, dict) and all(map(_time, value.values())),
    ),
}
_CODEC: Mapping[str, tuple[str, Check]] = {
    "codec": ("a name", lambda value: isinstance(value, str)),
    "way": ("encode or decode", lambda value: value in ("encode", "decode")),
    "message": ("a whole number", _whole(0)),
    "repeat": ("a whole number", _whole(0)),
    "pixels": ("a whole number above 0", _whole(1)),
    "size_bytes": ("a whole number", _whole(0)),
    "seconds": ("a time above 0 (s)", _time),
}


def samples_of(record: Mapping[str, Any]) -> list[Sample]:
    """The samples of a ``sample`` or ``layers`` record.

    Raises:
        ValueError: a field is missing, unknown or holds something else; the message says what was expected.
    """
    if record["record"] == "sample":
        fields = _checked(record, _SAMPLE)
        if fields["k"] is None and fields["op"] not in ("dense", "extract"):
            raise ValueError(f"k: expected a whole number of blocks for {fields['op']}, found none")
        return [Sample(**fields)]
    fields = _checked(record, _LAYERS)
    return [
        Sample(LAYER + name, None, None, fields["repeat"], float(seconds))
        for name, seconds in fields["seconds"].items()
    ]


def codec_sample(record: Mapping[str, Any]) -> CodecSample:
    """The sample of a ``codec`` record; raises ValueError as `samples_of` does."""
    return CodecSample(**_checked(record, _CODEC))


def sensor_reading(record: Mapping[str, Any]) -> dict[str, Any]:
    """The reading of a ``sensors`` record; raises ValueError as `samples_of` does."""
    reading = {key: value for key, value in record.items() if key != "record"}
    celsius = reading.get("celsius", {})
    if not isinstance(celsius, dict) or not all(map(_number, celsius.values())):
        raise ValueError(f"celsius: expected a temperature for each sensor, found {celsius!r}")
    if "gpu_hz" in reading and not _number(reading["gpu_hz"]):
        raise ValueError(f"gpu_hz: expected a number, found {reading['gpu_hz']!r}")
    return reading


def _checked(record: Mapping[str, Any], fields: Mapping[str, tuple[str, Check]]) -> dict[str, Any]:
    found = {key: value for key, value in record.items() if key != "record"}
    for key in (*fields, *found):
        if key not in found:
            raise ValueError(f"{key}: expected {fields[key][0]}, found none")
        if key not in fields:
            raise ValueError(f"{key}: expected one of {', '.join(fields)}")
        if not fields[key][1](found[key]):
            raise ValueError(f"{key}: expected {fields[key][0]}, found {found[key]!r}")
    return found
