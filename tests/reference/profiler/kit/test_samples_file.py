"""The kit's samples file keeps what was measured, whatever cuts it off: at most one sample is lost."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from profiler.fit.codec_fit import CodecSample
from profiler.kit.samples_file import SampleLog, decode_line, encode_line, is_samples_log, read_log
from profiler.measure.samples import Sample
from profiler.measure.sampling import SamplingPlan, measure
from tests.strategies.board import SteadyDevice
from traces.errors import InputError

META = {"device": "board", "model": "net", "resolution_px": [320, 320], "block_px": 16}
PLAN = SamplingPlan(repeats=3, margins_px=(16,))
DIFFERENCES = np.random.default_rng(0).random((4, 20, 20)).astype(np.float32)


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
    assert not log.has_codec(0, 0)
    log.close()
    log = SampleLog(path, META)
    log.add_codec(both)  # the first is there already
    log.close()
    assert log.has_codec(0, 0)
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
        ({"record": "sample", "op": "dense"}, ":2: expected a record of version 1"),
        ({"record": "smell"}, ":2: expected a record of version 1, found ValueError"),
    ],
)
def test_a_whole_line_of_nonsense_is_refused(line: dict, message: str, tmp_path: Path) -> None:
    path = tmp_path / "samples.jsonl"
    head = {"record": "head", "format": "fluxshard-samples", "version": 1, "meta": META}
    path.write_text(encode_line(head) + encode_line(line))
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
