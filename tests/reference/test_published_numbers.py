"""The published numbers against the text of the papers they are from."""

from __future__ import annotations

import collections
import csv
import re

import pytest

from analysis.published.draw import draw
from analysis.published.numbers import COLUMNS, FOLDER, papers, read_drawn, read_published
from traces.errors import InputError

PAPERS = papers()
# A number as the papers print it: not a part of a word, a version or a longer number.
TOKEN = re.compile(r"(?<![\w.{^])\d+(?:\.\d+)?(?:e-?\d+)?(?![\d])")
# What follows a number that is a quantity; markup may lie between.
UNIT = re.compile(r"[*$\s\\)]*(?:%|\\%|times|×|→|MB/s|Mbps|ms\b|fps\b|FPS|[MG]B\b|M parameters|M\b)")
# Line → quantities that are none: the sizes of convolutions.
NO_QUANTITY = {"fluxshard_remap": {99: ["1"], 101: ["3"]}}


@pytest.fixture(params=PAPERS)
def paper(request):
    return request.param


@pytest.fixture
def text_lines(paper, repository):
    """The lines of a paper's text, from line 1."""
    path = repository.parent / "shared" / "papers" / f"{paper}.txt"
    if not path.is_file():
        pytest.skip(f"the paper's text is not at {path}")
    lines = path.read_text(encoding="utf-8").split("\n")
    end = next(n for n, line in enumerate(lines) if line.strip("# ") == "REFERENCES")
    return ["", *lines[:end]]


def test_the_two_papers_have_their_files():
    assert PAPERS == ("fluxshard_ea", "fluxshard_remap")


def test_every_number_stands_in_the_line_it_is_said_to(paper, text_lines):
    wrong = [
        one.id
        for one in read_published(paper).values()
        if not re.search(rf"(?<![\d.]){re.escape(one.printed)}(?!\d)", text_lines[one.line])
    ]
    assert wrong == []


def test_what_is_printed_is_the_value(paper):
    """A range that the text has run together ("50100") and numbers in words are told apart by hand."""
    by_hand = {"810": (8, 10), "1520": (15, 20), "80200": (80, 200), "50100": (50, 100), "twofold": (2,)}
    by_hand |= {"three": (3,)}
    wrong = [
        one.id
        for one in read_published(paper).values()
        if one.value not in by_hand.get(one.printed, ()) and float(one.printed) != one.value
    ]
    assert wrong == []


def test_every_number_of_a_table_has_its_row(paper, text_lines):
    numbers = read_published(paper).values()
    for line in sorted({one.line for one in numbers if one.item.startswith("Table")}):
        cells = text_lines[line].partition(":" if "**Table" in text_lines[line] else "\t")[2]
        printed = collections.Counter(TOKEN.findall(cells.replace("3DPW", "")))
        listed = collections.Counter(one.printed for one in numbers if one.line == line)
        assert listed == printed, f"line {line}"


def test_every_quantity_of_the_text_has_its_row(paper, text_lines):
    numbers = read_published(paper).values()
    missing = []
    for number, line in enumerate(text_lines):
        found = [m.group() for m in TOKEN.finditer(line) if UNIT.match(line, m.end())]
        listed = {one.printed for one in numbers if one.line == number}
        left = [token for token in found if token not in listed]
        if left != NO_QUANTITY.get(paper, {}).get(number, []):
            missing.append((number, left))
    assert missing == []


def test_a_number_that_states_another_again_is_that_number_rounded(paper):
    numbers = read_published(paper)
    for one in numbers.values():
        if one.repeats is not None:
            digits = len(one.printed.partition(".")[2])
            assert round(numbers[one.repeats].value, digits) == pytest.approx(
                one.value, abs=0.5 * 10**-digits
            )


def test_the_contradictions_that_are_known_are_recorded_with_a_link():
    remap = read_published("fluxshard_remap")
    pairs = {(one.id, one.contradicts) for one in remap.values() if one.contradicts}
    assert {
        ("hit/deltacnn/detect", "table3/hit/medium/detect/deltacnn"),
        ("bytes/deltacnn/most", "table3/bytes/high/segment/deltacnn"),
        ("bytes/deltacnn/least", "table3/bytes/low/segment/deltacnn"),
        ("table3/bytes/low/segment/roi", "figure3/low/roi"),
        ("intro/speedup", "figure3/high/detect/full_offload"),
    } <= pairs
    # 16.57 and 6.57, 4.89 and 0.89: printed apart by more than any rounding.
    assert remap["bytes/deltacnn/most"].value > 2 * remap["table3/bytes/high/segment/deltacnn"].value
    assert remap["bytes/deltacnn/least"].value > 5 * remap["table3/bytes/low/segment/deltacnn"].value


def test_ratios_follow_from_what_they_are_said_to(paper):
    """Figure 5's text: a rise is the latency of four workers over that of one; two digits are printed."""
    numbers = read_published(paper)
    rises = [one for one in numbers.values() if one.id.endswith("/rise")]
    assert len(rises) == (5 if paper == "fluxshard_remap" else 0)
    for one in rises:
        first, last = (numbers[id].value for id in one.follows_from)
        assert last / first == pytest.approx(one.value, abs=0.05)


def test_the_committed_draw_is_the_seeds(paper):
    numbers = read_published(paper).values()
    assert sorted(draw(numbers)) == sorted(read_drawn()[paper])


def test_another_seed_draws_others():
    numbers = read_published("fluxshard_remap").values()
    assert draw(numbers, seed=2) != draw(numbers, seed=1)


def test_half_of_each_table_is_held_out(paper):
    groups = collections.defaultdict(list)
    for one in read_published(paper).values():
        if one.is_outcome and one.repeats is None and not one.follows_from:
            groups[one.place].append(one.held_out)
    assert all(sum(drawn) == (len(drawn) + 1) // 2 for drawn in groups.values())
    assert sum(map(len, groups.values())) == {"fluxshard_ea": 4, "fluxshard_remap": 108}[paper]


def test_no_fit_sees_a_held_out_number_by_another_name(paper):
    numbers = read_published(paper)
    for one in numbers.values():
        sources = [*one.follows_from, *([one.repeats] if one.repeats else [])]
        if not one.held_out:
            assert not [id for id in sources if numbers[id].held_out]
        if one.claim in ("setting", "background", "profiled"):
            assert not one.held_out


@pytest.mark.parametrize(
    ("column", "text", "said"),
    [
        ("value", "much", "p.csv:2: expected a finite value and a line from 1, found 'much' and '3'"),
        ("line", "0", "p.csv:2: expected a finite value and a line from 1, found '5' and '0'"),
        ("unit", "furlong", "p.csv:2: unit: expected one of %, x, 1, s, ms,"),
        ("claim", "hoped", "p.csv:2: claim: expected one of measured, ratio, up_to,"),
        ("paper", "q", "p.csv:2: paper: expected 'p', found 'q'"),
        ("id", "", "p.csv:2: id: expected a text, found none"),
        ("contradicts", "b", "p.csv: a: contradicts: expected another id, found 'b'"),
        ("repeats", "a", "p.csv: a: repeats: expected another id, found 'a'"),
    ],
)
def test_a_row_that_is_wrong_is_refused_by_name(tmp_path, column, text, said):
    row = dict.fromkeys(COLUMNS, "") | {"paper": "p", "id": "a", "section": "1", "item": "text", "row": "r"}
    row |= {"column": "c", "value": "5", "unit": "ms", "claim": "measured", "printed": "5", "line": "3"}
    with (tmp_path / "p.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerow(row | {column: text})
    with pytest.raises(InputError) as caught:
        read_published("p", tmp_path)
    assert str(caught.value).startswith(said)


def test_other_columns_and_unknown_papers_are_refused(tmp_path):
    (tmp_path / "p.csv").write_text("paper,id\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"p\.csv:1: expected the columns paper, id, section"):
        read_published("p", tmp_path)
    with pytest.raises(InputError, match="paper: expected one of p, found 'x'"):
        read_published("x", tmp_path)
    assert FOLDER.is_dir()
