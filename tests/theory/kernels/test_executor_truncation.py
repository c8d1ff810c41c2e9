"""The ε profile: the largest ε that adds no more error than allowed, for frames that move alike."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from kernels.bench.truncation import TruncationSample, build_profile, epsilon_effects, measure
from kernels.executor.calibration.truncation_profile import MotionStatistics, TruncationProfile, TruncationRow


def runs(length_px: float, active: float, knee: float) -> list[TruncationSample]:
    """A frame whose error stays at 0.1 up to ε = knee and then rises by 1."""
    statistics = MotionStatistics(length_px, length_px / 2, active)
    grid = (0.0, 0.1, 0.2, 0.4)
    return [TruncationSample(statistics, epsilon, 0.1 + (epsilon > knee), 0.5) for epsilon in grid]


def test_each_bin_takes_what_its_frames_tolerate() -> None:
    calm = [sample for i in range(4) for sample in runs(0.1 * i, 0.1, knee=0.4)]
    wild = [sample for i in range(4) for sample in runs(20.0 + i, 0.6, knee=0.1)]
    profile = build_profile(calm + wild, tolerance=0.05, bins=2)
    assert sorted({row.epsilon for row in profile.rows}) == [0.1, 0.4]
    still, blocks = torch.zeros(4, 4, 2, dtype=torch.int32), torch.zeros(4, 4, dtype=torch.bool)
    assert profile.lookup(blocks, still) == 0.4
    assert profile.lookup(~blocks, still + 15) == 0.1


def test_effects_show_what_each_epsilon_trades() -> None:
    samples = [*runs(0.0, 0.1, knee=0.4), *runs(20.0, 0.6, knee=0.1)]
    table = epsilon_effects(samples, tolerance=0.05)
    assert [row.epsilon for row in table] == [0.0, 0.1, 0.2, 0.4]
    assert [row.tolerated for row in table] == [1.0, 1.0, 0.5, 0.5]
    assert [row.added for row in table] == pytest.approx([0.0, 0.0, 0.5, 0.5])
    assert [row.error for row in table] == pytest.approx([0.1, 0.1, 0.6, 0.6])


def test_a_profile_survives_its_file(tmp_path: Path) -> None:
    profile = TruncationProfile((TruncationRow(1.0, 2.0, 0.3, 0.05), TruncationRow(4.0, 5.0, 0.6, 0.01)))
    profile.save(tmp_path / "profile.json")
    assert TruncationProfile.load(tmp_path / "profile.json") == profile


@pytest.mark.parametrize("text", ["", "{}", '{"rows": []}', '{"rows": [{"epsilon": -1}]}', '{"rows": [3]}'])
def test_a_broken_profile_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "broken.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"broken\.json: "):
        TruncationProfile.load(path)


def test_measuring_reports_less_work_and_more_error_as_epsilon_grows() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.SiLU(), nn.Conv2d(8, 8, 3, 1, 1)).eval()
    scene = np.random.default_rng(0).integers(0, 255, (64, 96, 3), np.uint8)
    frames = [scene[:, shift : shift + 64].copy() for shift in (0, 2, 4, 6, 8, 10)]
    for frame in frames[1:]:
        frame[16:32, 16:32] = 255 - frame[16:32, 16:32]
    samples = list(measure(network, frames, epsilons=(0.0, 0.5, 5.0)))
    by_epsilon = {epsilon: [s for s in samples if s.epsilon == epsilon] for epsilon in (0.0, 0.5, 5.0)}
    reused = [np.mean([sample.reused for sample in group]) for group in by_epsilon.values()]
    errors = [np.mean([sample.error for sample in group]) for group in by_epsilon.values()]
    assert reused == sorted(reused)
    assert errors[0] < errors[-1]
    assert all(sample.statistics.active_ratio > 0 for sample in samples)
