"""What a run computes does not change by accident: ``frames.parquet`` of every system, byte for byte."""

from __future__ import annotations

import pytest

from tests.golden.frame_hashes import RUNS, recorded, run_hash

# Measured accuracy sums floats in an order that depends on the processor's vector width.
PORTABLE = [name for name in RUNS if not name.endswith("measured")]


def test_every_run_has_its_hash():
    assert list(recorded()) == list(RUNS)


@pytest.mark.parametrize("name", PORTABLE)
def test_frames_keep_their_bytes(name):
    assert run_hash(RUNS[name]) == recorded()[name]
