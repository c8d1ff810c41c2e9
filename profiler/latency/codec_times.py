"""How long a codec takes on a device's processor, and the file beside its profiles that says so.

    T = c0 + c_px · pixels + c_B · bytes        (c ≥ 0; encode and decode each their own)

Pixels are what is transformed, predicted and converted, bytes what is entropy-coded: on one image a finer
quality costs bytes, a larger image both. The file ``codecs.yaml`` of a device, or a section ``codecs`` of a
profile, is

    provenance: {kind: measured, source: …}      # measured, published or assumed
    jpeg:
      encode: {base_s: …, per_pixel_s: …, per_byte_s: …, error: …}
      decode: {…}

with any codec's name for a key, one's own included; `jpeg_blocks` is the codec on messages of blocks
(gathering them, the vectors and the bitmap included), for which `jpeg` stands where there is no such key;
`h264_keyframe` likewise. `error` is the median relative error of the fit on messages that it has not seen;
null where nobody measured.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from profiler.latency.yaml_section import YamlSection

KINDS = ("measured", "published", "assumed")
PROVENANCE = "provenance"
KEYFRAME = "_keyframe"  # after the name of a stream's codec: of frames that build on none, as the first does
BLOCKS = "_blocks"  # after a codec's name: of messages of blocks, with what gathers and lists them


@dataclass(frozen=True, slots=True)
class CodecTime:
    """One direction of one codec: affine in pixels and bytes for pixels > 0, and nothing for none."""

    base_s: float
    per_pixel_s: float
    per_byte_s: float
    error: float | None = None

    def seconds(self, pixels: float, size_bytes: float) -> float:
        """T of a message of so many pixels that takes so many bytes; 0 where there is no pixel to code."""
        if pixels == 0:
            return 0.0
        return self.base_s + self.per_pixel_s * pixels + self.per_byte_s * size_bytes


@dataclass(frozen=True, slots=True)
class CodecTimes:
    """Both directions of one codec; None: not known."""

    encode: CodecTime | None
    decode: CodecTime | None


@dataclass(frozen=True, slots=True)
class CodecTable:
    """What a device takes for each codec, by name, and where that comes from."""

    provenance: Mapping[str, Any] = field(hash=False)
    times: Mapping[str, CodecTimes] = field(hash=False)

    def of(self, codec: str) -> CodecTimes | None:
        """A codec's times; where its blocks, or keyframes, have none of their own, those of whole frames."""
        usual = codec.removesuffix(BLOCKS).removesuffix(KEYFRAME)
        return self.times.get(codec) or self.times.get(usual)


def read_codecs(keys: YamlSection) -> CodecTable:
    """What codecs take, as a device's file or a section of a profile says it.

    Raises:
        InputError: a key is missing, unknown or holds a wrong value.
    """
    provenance = keys.section(PROVENANCE)
    if provenance.text("kind") not in KINDS:
        raise provenance.error("kind", f"one of {list(KINDS)}", provenance.text("kind"))
    provenance.text("source")
    names = [name for name in keys.content if name != PROVENANCE]
    return CodecTable(provenance.content, {name: _read_times(keys.section(name)) for name in names})


def codecs_content(table: CodecTable) -> dict[str, Any]:
    """The file as plain mappings, for YAML."""
    content: dict[str, Any] = {PROVENANCE: dict(table.provenance)}
    for name, times in table.times.items():
        content[name] = {way: _plain(getattr(times, way)) for way in ("encode", "decode")}
    return content


def _read_times(keys: YamlSection) -> CodecTimes:
    keys.only(("encode", "decode"))
    encode, decode = (
        _read_time(keys.section(way)) if keys.has(way) else None for way in ("encode", "decode")
    )
    return CodecTimes(encode, decode)


def _read_time(keys: YamlSection) -> CodecTime:
    keys.only(("base_s", "per_pixel_s", "per_byte_s", "error"))
    return CodecTime(
        keys.number("base_s"),
        keys.number("per_pixel_s"),
        keys.number("per_byte_s"),
        keys.optional_number("error"),
    )


def _plain(time: CodecTime | None) -> dict[str, float | None] | None:
    if time is None:
        return None
    return {
        "base_s": time.base_s,
        "per_pixel_s": time.per_pixel_s,
        "per_byte_s": time.per_byte_s,
        "error": time.error,
    }
