"""Replicates: the same configuration on another network, from another start in the video, with other scatter.

Replicate 0 is the run that the configuration describes, without any shift: a run alone is the first of its
replicates, and asking for more of them adds rows and changes none. All that replicate r draws follows from
the seeds and r, never from how many replicates there are or which system runs: replicate r of two systems
meets the same network and the same frames, so they can be compared pair by pair, and eight replicates are the
first half of sixteen.

A recorded trace is one network; its replicates enter it at other places, and so in a clip or a folder. The
places are those of a golden-ratio sequence,

    share(r) = frac(u + r·(√5 − 1)/2),   r ≥ 1,  u uniform by the seed,

which divides any interval into parts of at most three lengths for any number of points (the three-distance
theorem), so they spread over the recording however many there are, and u makes each of them uniform.
"""

from __future__ import annotations

import math

import numpy as np

GOLDEN = (math.sqrt(5.0) - 1.0) / 2.0
NETWORK, VIDEO = 1, 2  # what a place is drawn for


def replicate_seed(seed: int, replicate: int) -> int:
    """The seed in the place of `seed`: itself for replicate 0."""
    if replicate == 0:
        return seed
    drawn = np.random.SeedSequence(seed, spawn_key=(replicate,)).generate_state(1, np.uint64)
    return int(drawn[0]) >> 1  # YAML readers and parquet take 63 bits everywhere


def start_share(seed: int, replicate: int, purpose: int, camera: int = 0) -> float:
    """How far into a recording a replicate >= 1 begins, in [0, 1).

    The first camera's places are spread over the recording, the others' are drawn for each by itself.
    """
    key = (purpose, camera) if camera == 0 else (purpose, camera, replicate)
    drawn = float(np.random.default_rng(np.random.SeedSequence(seed, spawn_key=key)).random())
    return (drawn + replicate * GOLDEN) % 1.0 if camera == 0 else drawn
