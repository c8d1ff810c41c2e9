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
import tempfile
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any

from profiler.fit.codec_fit import CodecSample
from profiler.kit.records import codec_sample, samples_of, sensor_reading
from profiler.measure.samples import LAYER, Sample
from profiler.measure.store import check_same_run
from traces.errors import InputError

try:
    import fcntl
except ImportError:  # not Unix: two runs into one file are not told apart
    fcntl = None  # type: ignore[assignment]

FORMAT, VERSION = "fluxshard-samples", 1
# Beside `RUN_KEYS`, what changes times without a word in the command: key, and where heads have it.
SETTING = (
    ("hardware", ("hardware",)),
    ("power_mode", ("board", "power_mode")),
    ("highest GPU clock (Hz)", ("board", "gpu_clock", "most_hz")),
    ("torch", ("versions", "torch")),
    ("extraction", ("extraction",)),
)
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
    found = _LINE.fullmatch(
        line.rstrip("\r\n")
    )  # a copy may have made its ends of line those of another system
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
    if not isinstance(head.get("meta"), dict):
        raise InputError(f"{path}:1: meta: expected what was measured on what, found {head.get('meta')!r}")
    found = LoggedSamples(dict(head["meta"]))
    damaged, good_bytes = 0, 0
    for number, (end, record) in enumerate(lines, 1):
        if record is None:
            damaged += 1
            continue
        good_bytes = end
        try:
            _take(found, record)
        except ValueError as error:
            raise InputError(f"{path}:{number}: {error}") from error
    return LoggedSamples(found.meta, found.rows, found.codecs, found.sensors, damaged, good_bytes)


def _lines(data: bytes) -> Iterator[tuple[int, dict[str, Any] | None]]:
    """The end of each line, and its record."""
    end = 0
    for line in data.splitlines(keepends=True):
        end += len(line)
        yield end, decode_line(line.decode("utf-8", errors="replace"))


def _take(found: LoggedSamples, record: dict[str, Any]) -> None:
    kind = record.get("record")
    if kind in ("sample", "layers"):
        found.rows.extend(samples_of(record))
    elif kind == "codec":
        found.codecs.append(codec_sample(record))
    elif kind == "sensors":
        found.sensors.append(sensor_reading(record))
    elif kind == "meta" and isinstance(record.get("meta"), dict):
        found.meta.update(record["meta"])
    elif kind != "head":
        raise ValueError(f"record: expected sample, layers, codec, sensors or meta, found {kind!r}")


def _inner(meta: Mapping[str, Any], words: Sequence[str]) -> Any:
    """What a head says at the end of a chain of keys; None where one is missing."""
    value: Any = meta
    for word in words:
        value = value.get(word) if isinstance(value, Mapping) else None
    return value


def check_place(path: Path | str) -> None:
    """Raise InputError unless a samples file can be written there: better said before all checks."""
    path = Path(path)
    try:
        if path.exists():
            open(path, "r+b").close()
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=path.parent).close()
    except OSError as error:
        raise _not_writable(path, error) from error


def _not_writable(path: Path, error: OSError) -> InputError:
    return InputError(f"{path}: expected a file that can be written, found {error}")


def _opened(path: Path) -> IO[bytes]:
    """A file to read and write, as it is, held against other runs until it is closed."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = open(os.open(path, os.O_RDWR | os.O_CREAT, 0o666), "r+b")  # noqa: SIM115
    except OSError as error:
        raise _not_writable(path, error) from error
    try:
        if fcntl is not None:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        file.close()
        raise InputError(f"{path}: expected no other run that writes to it, found one") from error
    except OSError:  # a file system that cannot lock, such as some network ones
        pass
    return file


class SampleLog:
    """A samples file that grows; what an interrupted run left is continued.

    Args:
        path: of the file.
        meta: of the run; the samples of one file must agree on it (`profiler.measure.store.RUN_KEYS`).
        fresh: start over where there is a file.

    Raises:
        InputError: the file holds samples of something else or of a board set otherwise, another run writes
            to it, or it cannot be written.
    """

    def __init__(self, path: Path | str, meta: Mapping[str, Any], *, fresh: bool = False) -> None:
        self.path = Path(path)
        self.rows: list[Sample] = []
        self.codecs: list[CodecSample] = []
        self.previous: Mapping[str, Any] = {}
        self.damaged = 0
        self.meta: dict[str, Any] = {**meta, "complete": False}
        self._file = _opened(self.path)
        try:
            good_bytes = 0 if fresh else self._continued(meta)
            self._file.truncate(good_bytes)  # what was cut off is measured again
            self._file.seek(0, os.SEEK_END)
        except BaseException:
            self._file.close()
            raise
        self.resumed = len(self.rows)
        self._counts = Counter((row.op, row.k, row.mask) for row in self.rows)
        self._codec_counts = Counter((one.codec, one.message, one.repeat, one.way) for one in self.codecs)
        self._written: dict[str, Any] = {}
        if good_bytes:
            self._write_meta()
        else:
            self._write({"record": "head", "format": FORMAT, "version": VERSION, "meta": self.meta})
            self._written = json.loads(json.dumps(self.meta))

    def _continued(self, meta: Mapping[str, Any]) -> int:
        """Take over what the file holds; how many of its bytes are good."""
        if not _has_head(self.path):
            return 0
        found = read_log(self.path)
        way_out = "give out=<another file>, or fresh=true to start over"
        check_same_run(self.path, found.meta, meta, way_out)
        for key, words in SETTING:
            old, new = (_inner(one, words) for one in (found.meta, meta))
            if old is not None and old != new:
                raise InputError(
                    f"{self.path}: holds samples of {key} = {old!r}, this run has {new!r}: {way_out}"
                )
        self.rows, self.codecs, self.previous = found.rows, found.codecs, found.meta
        self.damaged = found.damaged
        self.meta = {**found.meta, **self.meta}
        return found.good_bytes

    def __repr__(self) -> str:
        return f"SampleLog({self.path}, {len(self.rows)} samples)"

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()

    def count(self, op: str, k: int | None, mask: str | None) -> int:
        """Samples taken so far of one operation."""
        return self._counts[op, k, mask]

    def has_codec(self, codec: str, message: int, repeat: int) -> bool:
        """Whether a codec's message has been timed both ways in a repeat."""
        return all(self._codec_counts[codec, message, repeat, way] for way in ("encode", "decode"))

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
            key = one.codec, one.message, one.repeat, one.way
            if not self._codec_counts[key]:
                self._write({"record": "codec", **asdict(one)})
                self.codecs.append(one)
                self._codec_counts[key] += 1

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
