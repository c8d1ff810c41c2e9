"""The profiler's document states the coverage that was measured."""

from __future__ import annotations

from pathlib import Path

from tests.benchmarks import bench_coverage


def test_the_document_shows_the_committed_coverage(repository: Path) -> None:
    text = (repository / "profiler" / "README.md").read_text(encoding="utf-8")
    shown = text.split(bench_coverage.BEGIN)[1].split(bench_coverage.END)[0].strip()
    assert shown == bench_coverage.markdown(bench_coverage.committed())
