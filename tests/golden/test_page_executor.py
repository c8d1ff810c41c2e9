"""The loop over a network of one's own, on the executor's page, works as it stands there."""

from __future__ import annotations

import csv
import re
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pytest

PAGE = "kernels/executor/README.md"
SHIFT_PX = 4
TRIED = "kernels/models/evaluation/tables/reuse_policies.csv"
DAVIS = "kernels/models/evaluation/tables/yolo11n-seg_davis_sparse.csv"


@pytest.mark.parametrize("policy", ["exact", "truncate", "fixed", "adaptive"])
def test_the_pages_loop_runs_and_reuses(repository: Path, policy: str) -> None:
    torch = pytest.importorskip("torch")
    text = (repository / PAGE).read_text(encoding="utf-8")
    block = next(code for code in re.findall(r"```python\n(.*?)```", text, re.S) if "SparseExecutor(" in code)
    assert '"exact"' in block
    torch.manual_seed(0)
    scene = np.random.default_rng(0).integers(0, 256, (64, 64 + 2 * SHIFT_PX, 3), np.uint8)
    names: dict[str, Any] = {
        "model": torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3, 2, 1), torch.nn.ReLU()),
        "video": [np.ascontiguousarray(scene[:, first : first + 64]) for first in range(0, 9, SHIFT_PX)],
    }
    exec(compile(textwrap.dedent(block.replace("exact", policy)), PAGE, "exec"), names)
    assert names["report"].policy == policy
    reused = names["report"].reused["0"]
    assert reused == 0.5 if policy == "adaptive" else reused > 0.5  # a margin of one block beside one of four
    if policy == "exact":
        expected, _ = names["executor"].dense(names["tensor"](names["video"][-1]))
        assert torch.equal(names["outputs"], expected)


def test_the_pages_tables_are_those_of_the_benchmark(repository: Path) -> None:
    pytest.importorskip("torch")
    from kernels.bench.architecture_ratios import page_tables

    text = (repository / PAGE).read_text(encoding="utf-8")
    begin, end = "<!-- tables of bench_architectures -->\n", "\n<!-- end of tables -->"
    assert text.partition(begin)[2].partition(end)[0] == page_tables()


@pytest.mark.parametrize("policy", ["exact", "truncate", "fixed", "adaptive"])
def test_the_pages_times_are_those_of_the_table(repository: Path, policy: str) -> None:
    text = (repository / PAGE).read_text(encoding="utf-8")
    assert DAVIS in text
    with (repository / DAVIS).open(encoding="utf-8") as file:
        ratios = [
            float(row["sparse_ms"]) / float(row["dense_ms"])
            for row in csv.DictReader(file)
            if row["policy"] == policy
        ]
    row = next(line for line in text.splitlines() if line.strip().startswith(f'| `"{policy}"`'))
    assert row.rstrip(" |").endswith(f"{min(ratios):.2f} to {max(ratios):.2f}")


def test_what_was_tried_is_read_out_of_its_table(repository: Path) -> None:
    text = (repository / PAGE).read_text(encoding="utf-8")
    assert TRIED in text
    with (repository / TRIED).open(encoding="utf-8") as file:
        tried = {(row["policy"], row["half"]): row for row in csv.DictReader(file)}
    lines = text.splitlines()
    start = lines.index("| tried | active | multiply-adds | agreement | foreground |")
    shown = lines[start + 2 : lines.index("", start)]
    assert len(shown) > 10
    for line in shown:
        name, *figures = [cell.strip() for cell in line.strip("|").split("|")]
        row = tried[name.strip("`"), "research"]
        assert figures == [row[key] for key in ("active", "multiply_adds", "agreement", "iou_foreground")]


def test_the_bench_tries_what_the_table_lists(repository: Path) -> None:
    from tests.benchmarks.reuse_policies import policies

    with (repository / TRIED).open(encoding="utf-8") as file:
        listed = {row["policy"] for row in csv.DictReader(file)}
    assert listed <= {str(policy) for policy in policies()}
