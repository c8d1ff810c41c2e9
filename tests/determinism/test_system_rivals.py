"""The same frames over the same link give the same rows, to the last bit."""

from __future__ import annotations

import numpy as np
import pytest

from sim.systems.awstream import AwStream
from sim.systems.coach import Coach
from sim.systems.deltacnn import DeltaCnn
from sim.systems.full_offload import FullOffloadStream
from sim.systems.h264_offload import H264Offload
from sim.systems.motion_deltacnn import MotionDeltaCnn
from sim.systems.roi import Roi
from tests.strategies.images import texture
from tests.strategies.systems import KnownRegions, invented_profile, run

SYSTEMS = {
    "h264": (FullOffloadStream, FullOffloadStream.Options()),
    "deltacnn": DeltaCnn,
    "coach": Coach,
    "motion_deltacnn": MotionDeltaCnn,
    "h264_offload": H264Offload,
    "awstream": (AwStream, AwStream.Options(invented_profile(), empty_ticks=1)),
    "roi": Roi,
}
REGIONS = [[(5.0, 8.0, 20.0, 30.0)], [], [(30.0, 30.0, 60.0, 60.0)]]


@pytest.mark.parametrize("name", SYSTEMS)
def test_two_runs_are_equal(name):
    wide = texture(64, 100, np.random.default_rng(7), 1.5, True)
    frames = [np.ascontiguousarray(wide[:, 3 * i : 3 * i + 64]) for i in range(12)]
    first, second = (
        run(SYSTEMS[name], frames, [(0.0, 2e6), (0.4, 0.3e6)], in_flight=4, finder=KnownRegions(REGIONS)).rows
        for _ in range(2)
    )
    for column, values in first.items():
        assert values.tobytes() == second[column].tobytes(), column
