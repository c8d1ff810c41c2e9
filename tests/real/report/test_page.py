"""The report as a file: what is in it, what is not, how large it is, and how the command ends."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shutil
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from analysis.__main__ import main
from analysis.comparison.compare import compare
from analysis.comparison.pairing import pair_up, read_side
from analysis.replicates import pooled_rows
from analysis.report.frames import FEWEST, FRAMES_IN_ALL, frames_a_run
from analysis.report.packing import UNKNOWN, Column, pack_columns
from analysis.results import run_rows
from sim.records.intervals import interval_keys

SMALL = Path(__file__).resolve().parents[2] / "golden" / "tables" / "sweep"
VENDOR = Path(__file__).resolve().parents[3] / "analysis" / "report" / "vendor"


def report(tmp_path: Path, *words: str) -> str:
    out = tmp_path / "report.html"
    main(["report", *words, f"out={out}"])
    return out.read_text(encoding="utf-8")


def stored(page: str, name: str) -> str:
    found = re.search(rf'<script type="text/plain" id="{name}">(.*?)</script>', page, re.S)
    assert found is not None, name
    return found[1]


def content_of(page: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(zlib.decompress(base64.b64decode(stored(page, "content"))))
    return found


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> str:
    return report(tmp_path_factory.mktemp("small"), str(SMALL))


def columns_of(block: dict[str, Any]) -> dict[str, np.ndarray[Any, Any]]:
    """What the page's script unpacks, written from the description of the format alone."""
    planes = np.frombuffer(zlib.decompress(base64.b64decode(block["data"])), np.uint8)
    planes = planes.reshape(len(block["columns"]), 4, block["rows"]).astype(np.int64)
    found = {}
    for (name, step), (a, b, c, d) in zip(block["columns"], planes, strict=True):
        whole = (a | b << 8 | c << 16 | d << 24).astype(np.uint32).view(np.int32).astype(float)
        found[name] = np.where(whole == UNKNOWN, np.nan, whole * step)
    return found


def test_its_numbers_are_those_of_the_tables(small: str) -> None:
    rows = pooled_rows([{**row, "folder": str(SMALL / row["folder"])} for row in run_rows(SMALL)])
    shown = content_of(small)["configurations"]
    assert len(shown) == len(rows) == 4
    for one, row in zip(shown, rows, strict=True):
        assert one["completed"] == row["frames_completed"]
        for key in ("ea_mean", "latency_mean_s", "uplink_bps_mean"):
            mean, low, high = one["values"][key]
            assert [mean, low, high] == pytest.approx(
                [row[key], *(row[end] for end in interval_keys(key))], rel=1e-5
            )


def test_its_differences_are_those_of_compare(small: str) -> None:
    a, b = (read_side(SMALL, "system", name) for name in ("fluxshard_ea", "full_offload"))
    wanted = {(one.quantity.key, one.setting): one for one in compare(pair_up(a, b))}
    shown = content_of(small)["comparison"]
    assert shown["key"] == "system"
    assert {(row["quantity"], row["setting"]) for row in shown["rows"]} == set(wanted)
    for row in shown["rows"]:
        one = wanted[row["quantity"], row["setting"]]
        assert (row["a"], row["b"], row["pairs"]) == ("fluxshard_ea", "full_offload", one.pairs)
        assert row["mean_a"] == pytest.approx(one.a, rel=1e-5)
        assert row["low"] == (None if one.interval.low is None else pytest.approx(one.interval.low, rel=1e-5))
    assert shown["tests"] == sum(one.p_value is not None for one in wanted.values())


def test_its_frames_are_those_of_the_table(small: str) -> None:
    frames = pd.read_parquet(SMALL / "0" / "frames.parquet").sort_values(["captured_s", "camera"])
    found = columns_of(json.loads(stored(small, "frames-0")))
    assert np.array_equal(found["frame"], frames["frame"])
    for name in ("latency_s", "transmit_s", "queue_s"):
        assert np.allclose(found[name], frames[name], atol=5.1e-6, equal_nan=True)
    sent = frames["uplink_bytes"].astype(float)
    assert np.array_equal(found["uplink_bytes"], sent, equal_nan=True)


def test_numbers_come_back_from_their_packing() -> None:
    values = {"a": [0.0, -1.25, np.nan, 2.0**20], "b": [1, 2, 3, -4]}
    found = columns_of(pack_columns([Column("a", 0.25), Column("b", 1), Column("c", 1)], values))
    assert set(found) == {"a", "b"}
    assert np.array_equal(found["a"], values["a"], equal_nan=True)
    assert np.array_equal(found["b"], values["b"])
    with pytest.raises(ValueError, match="a: does not fit"):
        pack_columns([Column("a", 1e-9)], {"a": [100.0]})


@pytest.mark.parametrize("counts", [[80] * 100, [9000] * 100, [30, 500_000, 10], [5_000_000] * 3, []])
def test_a_page_carries_as_many_frames_as_it_has_room_for(counts: list[int]) -> None:
    limit = frames_a_run(counts)
    carried = sum(min(count, limit) for count in counts)
    assert carried <= max(FRAMES_IN_ALL, FEWEST * len(counts))
    if sum(counts) > FRAMES_IN_ALL:
        assert sum(min(count, limit + 1) for count in counts) > FRAMES_IN_ALL
    else:
        assert carried == sum(counts)


def test_the_same_runs_give_the_same_page(small: str, tmp_path: Path) -> None:
    assert report(tmp_path, str(SMALL)) == small


def test_it_is_small_and_names_no_place_to_fetch_from(small: str, page: Path) -> None:
    with_frames = page.read_text(encoding="utf-8")
    assert len(small) < 5e6
    assert len(with_frames) < 20e6
    for text in (small, with_frames):
        assert re.search(r"""\b(src|href)=["'](https?:)?//""", text) is None
        assert "default-src 'none'" in text


def test_the_library_is_what_it_is_said_to_be_and_its_licences_come_along(small: str) -> None:
    said = (VENDOR / "README.md").read_text(encoding="utf-8")
    library = (VENDOR / "echarts-6.1.0.min.js").read_bytes()
    assert hashlib.sha256(library).hexdigest() in said
    assert "</script" not in library.decode("utf-8").lower()  # it would end the element that it stands in
    for words in ("Apache ECharts\nCopyright", "Apache License\n", "Mike Bostock", "Baidu Inc."):
        assert words in small, words


def test_failed_and_unfinished_runs_are_shown_with_their_reason(tmp_path: Path) -> None:
    sweep = tmp_path / "sweep"
    shutil.copytree(SMALL, sweep)
    summary = json.loads((sweep / "1" / "summary.json").read_text())
    failed = {**summary, "status": "failed", "error": "it broke"}
    (sweep / "1" / "summary.json").write_text(json.dumps(failed))
    (sweep / "2" / "summary.json").unlink()
    content = content_of(report(tmp_path, str(sweep)))
    assert [(run["status"], run["error"]) for run in content["runs"][:3]] == [
        ("completed", None),
        ("failed", "it broke"),
        ("unfinished", "running, or cut short"),
    ]
    assert len(content["comparison"]["rows"]) == 0
    assert "expected completed runs" in content["comparison"]["refused"][0]["why"]


def test_pictures_of_the_same_frames_are_carried_once(page: Path, inspected_sweep: Path) -> None:
    text = page.read_text(encoding="utf-8")
    pictures = json.loads(stored(text, "pictures"))
    assert content_of(text)["inspected"] == [0, 2]  # the first run of either system
    seen = [
        {
            one["frame"]
            for one in json.loads((inspected_sweep / run / "inspection/inspection.json").read_text())[
                "frames"
            ]
        }
        for run in ("0", "2")
    ]
    assert len(pictures) == len(seen[0] | seen[1]) < len(seen[0]) + len(seen[1])


def test_runs_to_look_at_can_be_chosen(inspected_sweep: Path, tmp_path: Path) -> None:
    text = report(tmp_path, str(inspected_sweep), f"frames_of={inspected_sweep / '1'}")
    assert content_of(text)["inspected"] == [1]


def test_a_page_is_replaced_only_where_that_is_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "report.html"
    out.write_text("somebody's")
    with pytest.raises(SystemExit):
        main(["report", str(SMALL), f"out={out}"])
    assert "overwrite=true replaces it" in capsys.readouterr().err
    assert out.read_text() == "somebody's"
    main(["report", str(SMALL), f"out={out}", "overwrite=true"])
    assert out.stat().st_size > 1_000_000


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["nowhere"], "nowhere: expected a run or the jobs of a sweep, found none"),
        (["out=a.html"], "report: expected folders of runs or sweeps, found none"),
        (
            [str(SMALL), "ouy=a.html"],
            "report: expected one of out, frames_of, overwrite, found 'ouy' (ouy=a.html)",
        ),
        ([str(SMALL), "out=a.html", "out=b.html"], "out: expected once, found out=a.html and out=b.html"),
        ([str(SMALL), "overwrite=yes"], "overwrite: expected true or false, found 'yes'"),
        ([str(SMALL), "out=page.pdf"], "out: expected a file that ends in .html, found 'page.pdf'"),
        (
            [str(SMALL), "frames_of=elsewhere"],
            "frames_of: expected completed runs of this report, found elsewhere",
        ),
        (
            [str(SMALL), f"frames_of={SMALL / '0'}"],
            f"frames_of: expected a run with inspect=true, found {SMALL / '0'}",
        ),
    ],
)
def test_bad_input_ends_in_one_line(
    words: list[str],
    expected: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        main(["report", *words])
    assert ended.value.code == 2
    assert capsys.readouterr().err == f"error: {expected}\n"
    assert list(tmp_path.iterdir()) == []


def test_a_run_without_a_partner_is_left_out_and_the_rest_is_compared(tmp_path: Path) -> None:
    stray = tmp_path / "stray"
    shutil.copytree(SMALL / "0", stray)
    config = (stray / ".hydra" / "config.yaml").read_text()
    changed = re.sub(r"outages_s: \[\]", "outages_s:\n  - [0.5, 1.0]", config)
    assert changed != config
    (stray / ".hydra" / "config.yaml").write_text(changed)
    alone = content_of(report(tmp_path, str(SMALL)))["comparison"]
    (tmp_path / "report.html").unlink()
    beside = content_of(report(tmp_path, str(SMALL), str(stray)))["comparison"]
    assert alone["left_out"] == []
    assert beside["rows"] == alone["rows"]
    assert beside["refused"] == alone["refused"]
    assert {len(one["why"]) for one in beside["left_out"]} == {1}
    assert all(str(stray) in one["why"][0] for one in beside["left_out"])
    assert all("link.outages_s=[[0.5, 1.0]] here, [] there" in one["why"][0] for one in beside["left_out"])
