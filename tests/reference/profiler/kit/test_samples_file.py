"""The kit's samples file keeps what was measured, whatever cuts it off: at most one sample is lost."""

from __future__ import annotations

import json
import zlib
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from profiler.fit.codec_fit import CodecSample
from profiler.kit.samples_file import (
    SampleLog,
    check_place,
    decode_line,
    encode_line,
    is_samples_log,
    read_log,
)
from profiler.measure.codec_samples import own_numbers
from profiler.measure.samples import Sample
from profiler.measure.sampling import SamplingPlan, measure
from tests.strategies.board import SteadyDevice
from traces.errors import InputError

META = {"device": "board", "model": "net", "resolution_px": [320, 320], "block_px": 16}
PLAN = SamplingPlan(repeats=3, margins_px=(16,))
DIFFERENCES = np.random.default_rng(0).random((4, 20, 20)).astype(np.float32)


SPARSE = {"record": "sample", "op": "sparse", "k": 4, "mask": "random", "repeat": 0, "seconds": 0.1}
CODEC = {
    "record": "codec",
    "codec": "raw",
    "way": "encode",
    "message": 0,
    "repeat": 0,
    "pixels": 256,
    "size_bytes": 768,
    "seconds": 1e-4,
}


class PulledPlug(BaseException):
    """Ends a run from outside, as a signal does."""


def take(path: Path, device: SteadyDevice) -> SampleLog:
    log = SampleLog(path, META)
    try:
        measure(device, device, log, PLAN, DIFFERENCES)  # type: ignore[arg-type]
        log.flush(complete=True)
    finally:
        log.close()
    return log


def with_checksum(record: dict) -> str:
    """A line with the right checksum, also of what the kit would never write."""
    body = json.dumps(record)
    return f'{body[:-1]}, "crc32": "{zlib.crc32(body.encode()):08x}"}}\n'


def cells(rows: list[Sample]) -> Counter:
    return Counter((row.op, row.k, row.mask, row.repeat) for row in rows)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("whole") / "samples.jsonl"
    take(path, SteadyDevice())
    return path


def test_a_file_says_what_was_measured(whole: Path) -> None:
    found = read_log(whole)
    assert is_samples_log(whole)
    assert (found.damaged, found.meta["complete"], found.meta["device"]) == (0, True, "board")
    assert set(cells(found.rows).values()) == {1}
    assert {row.op for row in found.rows} == {
        *("dense", "sparse", "extract", "encode", "margin:16", "layer:first", "layer:second")
    }
    margins = found.meta["margin_computed"]["16"]
    assert set(margins) == {"random", "clustered", "recorded"}
    assert all(float(k) < blocks <= 9 * float(k) for kind in margins.values() for k, blocks in kind.items())


def test_other_programs_can_read_it(whole: Path) -> None:
    for line in whole.read_text(encoding="utf-8").splitlines():
        assert "crc32" in json.loads(line)


def test_interrupted_at_thirty_points_it_resumes_and_loses_at_most_one_sample(
    whole: Path, tmp_path: Path
) -> None:
    """Cut in the file of a run that was killed: at any byte, also in the middle of a line."""
    data, wanted = whole.read_bytes(), cells(read_log(whole).rows)
    head = data.index(b"\n") + 1
    generator = np.random.default_rng(13)
    for number, cut in enumerate(generator.integers(head, len(data), 30).tolist()):
        path = tmp_path / f"{number}.jsonl"
        path.write_bytes(data[:cut])
        kept = read_log(path)
        written = sum(line.startswith(b'{"record": "sample"') for line in data[:cut].splitlines())
        assert written - sum(not row.op.startswith("layer:") for row in kept.rows) <= 1
        assert kept.damaged <= 1
        done = take(path, SteadyDevice())
        assert done.resumed == len(kept.rows)
        again = read_log(path)
        assert again.damaged == 0
        assert again.rows[: len(kept.rows)] == kept.rows
        assert cells(again.rows) == wanted


def test_a_run_that_is_ended_at_any_call_goes_on_where_it_was(whole: Path, tmp_path: Path) -> None:
    wanted = cells(read_log(whole).rows)
    for number, last in enumerate(np.random.default_rng(7).integers(15, 150, 6).tolist()):
        path = tmp_path / f"{number}.jsonl"
        calls = 0

        def tick(last: int = last) -> None:
            nonlocal calls
            calls += 1
            if calls == last:
                raise PulledPlug

        with pytest.raises(PulledPlug):
            take(path, SteadyDevice(tick))
        taken = len(read_log(path).rows)
        device = SteadyDevice()
        log = take(path, device)
        assert log.resumed == taken
        assert cells(log.rows) == wanted


def test_a_damaged_line_in_the_middle_costs_itself_alone(whole: Path, tmp_path: Path) -> None:
    lines = whole.read_bytes().splitlines(keepends=True)
    place = len(lines) // 2
    lines[place] = lines[place].replace(b'"seconds": ', b'"seconds": 9', 1)
    path = tmp_path / "damaged.jsonl"
    path.write_bytes(b"".join(lines))
    found = read_log(path)
    assert found.damaged == 1
    missing = len(read_log(whole).rows) - len(found.rows)
    assert 1 <= missing <= 2  # a line of layers holds two


@pytest.mark.parametrize("start", [b"", b'{"record": "he', b'{"record": "head", "format": "fluxshard-sam'])
def test_a_file_cut_off_in_its_head_is_begun_again(start: bytes, tmp_path: Path) -> None:
    path = tmp_path / "samples.jsonl"
    path.write_bytes(start)
    log = SampleLog(path, META)
    log.close()
    assert read_log(path).meta["device"] == "board"


def test_codecs_are_kept_line_by_line_too(tmp_path: Path) -> None:
    path = tmp_path / "samples.jsonl"
    both = [CodecSample("raw", way, 0, 0, 100, 300, 1e-4) for way in ("encode", "decode")]
    log = SampleLog(path, META)
    log.add_codec(both[:1])
    assert not log.has_codec("raw", 0, 0)
    log.close()
    log = SampleLog(path, META)
    log.add_codec(both)  # the first is there already
    log.close()
    assert log.has_codec("raw", 0, 0)
    assert read_log(path).codecs == both


def test_the_checksum_sees_every_changed_character() -> None:
    line = encode_line({"record": "sample", "op": "dense", "seconds": 0.25})
    assert decode_line(line) == {"record": "sample", "op": "dense", "seconds": 0.25}
    for place in range(len(line)):
        assert decode_line(line[:place] + ("x" if line[place] != "x" else "y") + line[place + 1 :]) is None
        assert decode_line(line[:place]) is None


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            {"record": "sample", "op": "dense"},
            ":2: k: expected a whole number of blocks, or null, found none",
        ),
        ({**SPARSE, "seconds": -1}, r":2: seconds: expected a time above 0 \(s\), found -1"),
        ({**SPARSE, "seconds": float("nan")}, r":2: seconds: expected a time above 0 \(s\), found nan"),
        ({**SPARSE, "seconds": "x"}, r":2: seconds: expected a time above 0 \(s\), found 'x'"),
        ({**SPARSE, "k": 1.5}, ":2: k: expected a whole number of blocks, or null, found 1.5"),
        ({**SPARSE, "k": None}, ":2: k: expected a whole number of blocks for sparse, found none"),
        ({**SPARSE, "op": "foo"}, ":2: op: expected one of dense, .* found 'foo'"),
        ({**SPARSE, "more": 1}, ":2: more: expected one of op, k, mask, repeat, seconds"),
        ({"record": "layers", "repeat": 0, "seconds": {"a": "b"}}, ":2: seconds: expected a time above 0"),
        ({**CODEC, "way": 3}, ":2: way: expected encode or decode, found 3"),
        ({**CODEC, "pixels": 0}, ":2: pixels: expected a whole number above 0, found 0"),
        ({"record": "sensors", "celsius": {"cpu": "x"}}, ":2: celsius: expected a temperature"),
        ({"record": "smell"}, ":2: record: expected sample, layers, codec, sensors or meta, found 'smell'"),
    ],
)
def test_a_whole_line_of_nonsense_is_refused(line: dict, message: str, tmp_path: Path) -> None:
    path = tmp_path / "samples.jsonl"
    head = {"record": "head", "format": "fluxshard-samples", "version": 1, "meta": META}
    path.write_text(encode_line(head) + with_checksum(line))
    with pytest.raises(InputError, match=message):
        read_log(path)


def test_samples_of_another_version_model_or_kind_are_refused(whole: Path, tmp_path: Path) -> None:
    path = tmp_path / "samples.jsonl"
    path.write_text(encode_line({"record": "head", "format": "fluxshard-samples", "version": 2, "meta": {}}))
    with pytest.raises(InputError, match=r":1: expected version 1 of the format, found 2"):
        SampleLog(path, META)
    with pytest.raises(InputError, match=r"holds samples of model = 'net', this run has 'other'"):
        SampleLog(whole, {**META, "model": "other"})
    path.write_text("seconds,k\n")
    with pytest.raises(InputError, match=r":1: expected the head of a samples file"):
        SampleLog(path, META)
    with pytest.raises(InputError, match=r"expected a samples file of the kit, found"):
        read_log(tmp_path / "none.jsonl")
    assert not is_samples_log(path)


def test_starting_over_keeps_nothing(whole: Path, tmp_path: Path) -> None:
    path = tmp_path / "samples.jsonl"
    path.write_bytes(whole.read_bytes())
    log = SampleLog(path, META, fresh=True)
    log.close()
    assert (log.resumed, read_log(path).rows) == (0, [])


def test_two_runs_do_not_write_into_one_file(tmp_path: Path) -> None:
    path = tmp_path / "samples.jsonl"
    log = SampleLog(path, META)
    log.add([Sample("dense", None, None, 0, 0.1)])
    for fresh in (False, True):
        with pytest.raises(InputError, match="expected no other run that writes to it, found one"):
            SampleLog(path, META, fresh=fresh)
    log.close()
    again = SampleLog(path, META)
    again.close()
    assert again.resumed == 1


@pytest.mark.parametrize(
    ("now", "message"),
    [
        ({"board": {"power_mode": "MODE_15W"}}, "power_mode = 'MODE_20W', this run has 'MODE_15W'"),
        ({"versions": {"torch": "2.1.0"}}, "torch = '1.13.1', this run has '2.1.0'"),
    ],
)
def test_a_board_set_otherwise_does_not_resume(now: dict, message: str, tmp_path: Path) -> None:
    path = tmp_path / "samples.jsonl"
    before = {**META, "board": {"power_mode": "MODE_20W"}, "versions": {"torch": "1.13.1"}}
    SampleLog(path, before).close()
    with pytest.raises(InputError, match=message):
        SampleLog(path, {**before, **now})
    SampleLog(path, before).close()


def test_ends_of_line_of_another_system_are_read(whole: Path, tmp_path: Path) -> None:
    path = tmp_path / "copied.jsonl"
    path.write_bytes(whole.read_bytes().replace(b"\n", b"\r\n"))
    assert read_log(path).rows == read_log(whole).rows


def test_a_place_that_cannot_be_written_is_said_at_once(tmp_path: Path) -> None:
    check_place(tmp_path / "new" / "samples.jsonl")
    assert list((tmp_path / "new").iterdir()) == []
    with pytest.raises(InputError, match="expected a file that can be written"):
        check_place(tmp_path)


def test_a_codec_that_is_missing_changes_no_number_of_another() -> None:
    assert own_numbers(["raw", "jpeg", "raw", "jpeg", "raw"]) == [0, 0, 1, 1, 2]
    assert own_numbers(["raw", "raw", "raw"]) == [0, 1, 2]
