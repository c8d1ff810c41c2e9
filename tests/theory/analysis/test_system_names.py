"""What a run's system is called in tables and pictures."""

from __future__ import annotations

import pytest

from analysis.tables import system_name


@pytest.mark.parametrize(
    ("overrides", "name"),
    [
        ([], "coach"),
        (["system=coach", "frames=2"], "coach"),
        (["experiment/measured_davis=full_offload_jpeg"], "full_offload_jpeg"),  # its own variant
        (["system=coach", "experiment=a/b", "experiment/a/calibration=fitted"], "coach"),
        (["experiment/a/task=detect", "frames=2"], "coach"),  # a paper's task names no system
    ],
)
def test_a_name_is_the_systems_or_that_of_an_experiments_variant(overrides, name):
    assert system_name({"system": "coach"}, overrides) == name
