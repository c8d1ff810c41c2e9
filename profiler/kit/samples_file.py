"""The kit's samples file: a line each as it is measured, so that whatever cuts it off costs one sample.

JSON Lines, UTF-8: anything that reads JSON reads it. The last member of every line, ``crc32``, is the
CRC-32 (eight hexadecimal digits) of the line's text up to the comma before it, closed with ``}``. The first
line is the head,

    {"record": "head", "format": "fluxshard-samples", "version": 1, "meta": {…}, "crc32": "…"}

and says what was measured on what. Lines after it are, in any order:

- ``{"record": "sample", "op": …, "k": …, "mask": …, "repeat": …, "seconds": …}``: one timed call; ``op``,
  ``k`` and ``mask`` as in `profiler.measure.samples`;
- ``{"record": "layers", "repeat": …, "seconds": {name: …}}``: every layer in one inference;
- ``{"record": "codec", …}``: one timed call of a codec, with the fields of
  `profiler.fit.codec_fit.CodecSample`;
- ``{"record": "sensors", "at_s": …, …}``: power, clocks and temperatures after a round, as far as they are
  shown;
- ``{"record": "meta", "meta": {…}}``: keys that replace those of the head.

A line that is cut off or damaged is left out and counted. Every line reaches the system as it is written,
so that a killed process loses none; a board that loses power may lose what the system had not yet put on
the disk, at most one round, after each of which the file is synchronised.
"""

from __future__ import annotations

import json
import os
import re
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any

from profiler.fit.codec_fit import CodecSample
from profiler.measure.samples import LAYER, Sample
from profiler.measure.store import check_same_run
from traces.errors import InputError

FORMAT, VERSION = "fluxshard-samples", 1
_LINE = re.compile(r'(?s)(.*), "crc32": "([0-9a-f]{8})"\}')


@dataclass(frozen=True, slots=True)
class LoggedSamples:
    """What a file holds.

    Attributes:
        meta: of the head, with what later lines replaced.
        rows: samples in the order in which they were taken; layers are one row each.
        codecs: of codecs, likewise.
        sensors: readings of sensors.
        damaged: lines that were left out.
        good_bytes: length of the file up to the end of its last line that could be read.
    """

    meta: dict[str, Any]
    rows: list[Sample] = field(default_factory=list)
    codecs: list[CodecSample] = field(default_factory=list)
    sensors: list[dict[str, Any]] = field(default_factory=list)
    damaged: int = 0
    good_bytes: int = 0


def encode_line(record: Mapping[str, Any]) -> str:
    """One line, checksum and end of line included."""
    body = json.dumps(record, allow_nan=False)
    return f'{body[:-1]}, "crc32": "{zlib.crc32(body.encode()):08x}"}}\n'


def decode_line(line: str) -> dict[str, Any] | None:
    """The record of a line, without its checksum; None where it is cut off or damaged."""
    found = _LINE.fullmatch(line.rstrip("\n"))
    if found is None or not line.endswith("\n"):
        return None
    body = found.group(1) + "}"
    if zlib.crc32(body.encode()) != int(found.group(2), 16):
        return None
    record = json.loads(body)
    return record if isinstance(record, dict) else None


def is_samples_log(path: Path | str) -> bool:
    """Whether a file begins as this format does: to tell it from Parquet."""
    try:
        with open(path, "rb") as file:
            return file.read(64).lstrip().startswith(b'{"record": "head"')
    except OSError:
        return False


def _has_head(path: Path) -> bool:
    """Whether a file holds anything to continue: not one that was cut off within its first line."""
    if not path.is_file():
        return False
    with open(path, "rb") as file:
        head = file.readline()
    return head.endswith(b"\n") or not (b'{"record": "head"'.startswith(head[:17]) or is_samples_log(path))


def read_log(path: Path | str) -> LoggedSamples:
    """Read a file, as far as it goes.

    Raises:
        InputError: it cannot be read, is no such file or of another version, or a whole line says nonsense.
    """
    path = Path(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: expected a samples file of the kit, found {error}") from error
    lines = list(_lines(data))
    head = lines[0][1] if lines else None
    if head is None or head.get("record") != "head" or head.get("format") != FORMAT:
        raise InputError(f"{path}:1: expected the head of a samples file of the kit, found something else")
    if head.get("version") != VERSION:
        raise InputError(f"{path}:1: expected version {VERSION} of the format, found {head.get('version')!r}")
    found = LoggedSamples(dict(head["meta"]))
    damaged, good_bytes = 0, 0
    for number, (end, record) in enumerate(lines, 1):
        if record is None:
            damaged += 1
            continue
        good_bytes = end
        try:
            _take(found, record)
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(
                f"{path}:{number}: expected a record of version {VERSION}, found {error!r}"
            ) from error
    return LoggedSamples(found.meta, found.rows, found.codecs, found.sensors, damaged, good_bytes)


def _lines(data: bytes) -> Iterator[tuple[int, dict[str, Any] | None]]:
    """The end of each line, and its record."""
    end = 0
    for line in data.splitlines(keepends=True):
        end += len(line)
        yield end, decode_line(line.decode("utf-8", errors="replace"))


def _take(found: LoggedSamples, record: dict[str, Any]) -> None:
    kind = record.pop("record")
    if kind == "sample":
        found.rows.append(Sample(**record))
    elif kind == "layers":
        found.rows.extend(
            Sample(LAYER + name, None, None, record["repeat"], float(seconds))
            for name, seconds in record["seconds"].items()
        )
    elif kind == "codec":
        found.codecs.append(CodecSample(**record))
    elif kind == "sensors":
        found.sensors.append(record)
    elif kind == "meta":
        found.meta.update(record["meta"])
    elif kind != "head":
        raise ValueError(f"record {kind!r}")


class SampleLog:
    """A samples file that grows; what an interrupted run left is continued.

    Args:
        path: of the file.
        meta: of the run; the samples of one file must agree on it (`profiler.measure.store.RUN_KEYS`).
        fresh: start over where there is a file.

    Raises:
        InputError: the file holds samples of something else, or cannot be written.
    """

    def __init__(self, path: Path | str, meta: Mapping[str, Any], *, fresh: bool = False) -> None:
        self.path = Path(path)
        self.rows: list[Sample] = []
        self.codecs: list[CodecSample] = []
        self.previous: Mapping[str, Any] = {}
        self.damaged = 0
        self.meta: dict[str, Any] = {**meta, "complete": False}
        good_bytes = 0
        if not fresh and _has_head(self.path):
            found = read_log(self.path)
            good_bytes = found.good_bytes
            check_same_run(
                self.path, found.meta, meta, "give out=<another file>, or fresh=true to start over"
            )
            self.rows, self.codecs, self.previous = found.rows, found.codecs, found.meta
            self.damaged = found.damaged
            self.meta = {**found.meta, **self.meta}
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file: IO[bytes] = open(self.path, "r+b" if good_bytes else "wb")  # noqa: SIM115
            if good_bytes:
                self._file.truncate(good_bytes)  # what was cut off is measured again
                self._file.seek(0, os.SEEK_END)
        except OSError as error:
            raise InputError(f"{self.path}: expected a file that can be written, found {error}") from error
        self.resumed = len(self.rows)
        self._counts = Counter((row.op, row.k, row.mask) for row in self.rows)
        self._codec_counts = Counter((one.message, one.repeat, one.way) for one in self.codecs)
        self._written: dict[str, Any] = {}
        if good_bytes:
            self._write_meta()
        else:
            self._write({"record": "head", "format": FORMAT, "version": VERSION, "meta": self.meta})
            self._written = json.loads(json.dumps(self.meta))

    def __repr__(self) -> str:
        return f"SampleLog({self.path}, {len(self.rows)} samples)"

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()

    def count(self, op: str, k: int | None, mask: str | None) -> int:
        """Samples taken so far of one operation."""
        return self._counts[op, k, mask]

    def has_codec(self, message: int, repeat: int) -> bool:
        """Whether a codec's message has been timed both ways in a repeat."""
        return all(self._codec_counts[message, repeat, way] for way in ("encode", "decode"))

    def add(self, rows: Iterable[Sample]) -> None:
        """Write the samples of one operation, in one line.

        Raises:
            OSError: the disk is full, or gone.
        """
        rows = list(rows)
        if rows and rows[0].op.startswith(LAYER):
            seconds = {row.op[len(LAYER) :]: row.seconds for row in rows}
            self._write({"record": "layers", "repeat": rows[0].repeat, "seconds": seconds})
        else:
            for row in rows:
                self._write({"record": "sample", **row._asdict()})
        for row in rows:
            self.rows.append(row)
            self._counts[row.op, row.k, row.mask] += 1

    def add_codec(self, samples: Iterable[CodecSample]) -> None:
        """Write samples of codecs, a line each.

        Raises:
            OSError: the disk is full, or gone.
        """
        for one in samples:
            if not self._codec_counts[one.message, one.repeat, one.way]:
                self._write({"record": "codec", **asdict(one)})
                self.codecs.append(one)
                self._codec_counts[one.message, one.repeat, one.way] += 1

    def add_sensors(self, readings: Mapping[str, Any]) -> None:
        """Write readings of sensors."""
        self._write({"record": "sensors", **readings})

    def flush(self, *, complete: bool = False) -> None:
        """Write what has changed of the meta, and have the system put everything on the disk.

        Raises:
            OSError: the disk is full, or gone.
        """
        self.meta["complete"] = complete
        self._write_meta()
        os.fsync(self._file.fileno())

    def _write_meta(self) -> None:
        now = json.loads(json.dumps(self.meta))
        changed = {key: value for key, value in now.items() if self._written.get(key, self) != value}
        if changed:
            self._write({"record": "meta", "meta": changed})
            self._written = now

    def _write(self, record: Mapping[str, Any]) -> None:
        self._file.write(encode_line(record).encode())
        self._file.flush()
