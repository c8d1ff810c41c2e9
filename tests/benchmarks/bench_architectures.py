"""Architectures sparse against dense, and batches: `python -m tests.benchmarks.bench_architectures`.

Writes both tables beside `kernels/bench/architecture_ratios.py`, and prints them for the executor's page.
"""

from __future__ import annotations

import argparse

from kernels.bench.architecture_ratios import page_tables, run

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--page", action="store_true", help="print the page's tables without measuring")
    chosen = parser.parse_args()
    if not chosen.page:
        run(chosen.repeats)
    print(page_tables())
