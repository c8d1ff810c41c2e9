"""The policies of reuse that were tried: how blocks are chosen, and how far beyond them is computed."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields


@dataclass(frozen=True)
class Policy:
    """How the blocks of a frame are chosen, and how far beyond them is computed.

    Attributes:
        elsewhere, near: τ of blocks, and of salient ones (None: the same).
        reach: blocks around the last result's foreground, moved along, that are salient as well.
        score: from which a detection counts as foreground.
        lasting: frames for which what was salient stays so.
        margin_px: computed beyond the active blocks; `strides`: another at some strides, "32=0,16=32".
        fine: boxes, coefficients and prototypes are computed at salient blocks only, with `fine_reach` and
            `fine_score` in place of `reach` and `score`, and `fine_margin_px` in place of `margin_px`.
        summed, summed_near: blocks whose differences since they were last computed add up to this are active.
        age, age_near: and blocks that were not computed for so many frames.
        least: groups of so few active blocks that are not salient are left out.
        share: so large a share of blocks, those with the largest sums of differences, instead of τ;
            `weight`: by how much the sums of salient blocks count more.
        steady: both τ are multiplied by (a / 0.15)^steady, a being the share of blocks that was active in the
            last frame, clipped to factors of 2: where much changes τ rises, where little does it falls.
        doubtful: τ near detections with scores of 0.12 to 0.42, or with another class within 0.25.
        assembled: differences are those to the pixels that the cache was computed from, moved along.
        margins: which active blocks have a margin: "all"; "salient"; "strong", those with differences from
            `strong` on, or `strong_near` where salient. Or "blocks": all, but the set grows in whole blocks
            before it becomes positions, so that less is added at stride 32. Or "changed": around those
            quarters of active blocks, 8 px a side, whose own difference is from `strong` on, or `strong_near`
            where salient, so that a side of a block on which nothing has changed has none.
    """

    elsewhere: float = 0.025
    near: float | None = None
    reach: int = 1
    score: float = 0.25
    lasting: int = 0
    margin_px: int = 0
    strides: str = ""
    fine: bool = False
    fine_reach: int | None = None
    fine_score: float | None = None
    fine_margin_px: int | None = None
    summed: float = math.inf
    summed_near: float | None = None
    age: int = 0
    age_near: int = 0
    least: int = 0
    share: float = 0.0
    weight: float = 1.0
    steady: float = 0.0
    doubtful: float | None = None
    assembled: bool = False
    margins: str = "all"
    strong: float = 0.0
    strong_near: float = 0.0

    def __str__(self) -> str:
        changed = [
            f"{one.name}={getattr(self, one.name):g}"
            if isinstance(getattr(self, one.name), (int, float))
            else f"{one.name}={getattr(self, one.name)}"
            for one in fields(self)
            if getattr(self, one.name) != one.default
        ]
        return " ".join(changed) or "fixed"

    def margin_at(self, stride: int, margin_px: int) -> int:
        """The margin of a layer."""
        own = dict(part.split("=") for part in self.strides.split(",") if part)
        return int(own.get(str(stride), margin_px))


RING = {"margin_px": 16}
SALIENT = {"elsewhere": 0.05, "near": 0.01, **RING}
FINE = {"score": 0.1, "fine": True, **RING}
NARROW = {"fine_reach": 1, "fine_margin_px": 0}


def policies() -> list[Policy]:
    """What was tried, in this order."""
    made = [Policy(), Policy(margin_px=8), Policy(**RING)]
    # Salience: how near, how sure, how long.
    made += [Policy(**SALIENT), Policy(elsewhere=0.025, near=0.005, reach=2, **RING)]
    made += [Policy(**SALIENT, score=score) for score in (0.1, 0.05)]
    made += [Policy(**SALIENT, score=0.1, reach=0), Policy(**SALIENT, lasting=3)]
    made += [Policy(**SALIENT, score=0.1, lasting=3)]
    made += [
        Policy(elsewhere=0.05, near=0.0075, margin_px=8),
        Policy(elsewhere=1, near=0.01, score=0.05, **RING),
    ]
    # Sums of differences, ages, small groups, a share of blocks.
    made += [Policy(**SALIENT, summed=0.1, summed_near=0.03)]
    made += [
        Policy(elsewhere=1, near=1, summed=a, summed_near=b, **RING) for a, b in ((0.1, 0.03), (0.06, 0.02))
    ]
    made += [Policy(elsewhere=1, near=1, summed=0.06, summed_near=0.02, margin_px=8)]
    made += [Policy(**SALIENT, age_near=3), Policy(elsewhere=0.05, near=0.025, age_near=2, **RING)]
    made += [Policy(**SALIENT, age=8), Policy(**SALIENT, least=2), Policy(**SALIENT, least=4)]
    made += [Policy(share=0.15, weight=3, **RING)]
    # What the last result was not sure of.
    sure = {"score": 0.05, "least": 4}
    made += [
        Policy(elsewhere=0.08, near=0.01, **RING, **sure),
        Policy(elsewhere=0.05, near=0.02, doubtful=0, **RING, **sure),
        Policy(elsewhere=0.05, near=0.01, doubtful=0, margin_px=8, **sure),
        Policy(elsewhere=0.05, near=0.03, doubtful=0.005, **RING, **sure),
        Policy(elsewhere=0.05, near=0.01, reach=0, doubtful=0, **RING, **sure),
        Policy(elsewhere=0.05, near=0.01, reach=2, margin_px=8, **sure),
        Policy(elsewhere=0.05, near=0, margin_px=8, **sure),
        Policy(elsewhere=0.05, near=0.01, score=0.05, least=8, **RING),
        Policy(elsewhere=0.1, near=0.01, reach=2, **RING, **sure),
        Policy(elsewhere=0.05, near=0.005, **RING, **sure),
        Policy(elsewhere=0.05, near=0.01, score=0.02, least=4, **RING),
        Policy(elsewhere=0.03, near=0.005, reach=2, **RING, **sure),
        Policy(elsewhere=0.025, near=0.01, **RING, **sure),
        Policy(elsewhere=0.025, near=0.01, margin_px=8, **sure),
        Policy(elsewhere=0.015, near=0.01, **RING, **sure),
    ]
    # Layers that feed only boxes and masks, at salient blocks only.
    made += [Policy(elsewhere=tau, near=0.01, **FINE) for tau in (0.05, 0.025, 0.02, 0.0175, 0.015)]
    made += [Policy(elsewhere=0.025, near=0.01, **{**FINE, "score": 0.05})]
    made += [Policy(elsewhere=tau, near=tau, **FINE) for tau in (0.02, 0.015)]
    made += [Policy(elsewhere=tau, near=0.01, **{**FINE, "margin_px": 8}) for tau in (0.05, 0.015)]
    # Margins by stride.
    for tau, near, strides in (
        (0.015, 0.01, "32=0"),
        (0.035, 0.015, "32=0"),
        (0.015, 0.01, "16=0,32=0"),
        (0.015, 0.01, "2=8,4=8"),
        (0.02, 0.01, "32=640"),
        (0.02, 0.01, "2=8,4=8,16=32,32=640"),
        (0.03, 0.01, "2=8,4=8,16=32,32=64"),
        (0.04, 0.01, "2=8,4=8,8=8,16=48,32=640"),
        (0.025, 0.01, "2=4,4=4,8=8,16=32,32=640"),
    ):
        made += [Policy(elsewhere=tau, near=near, strides=strides, **FINE)]
    made += [Policy(elsewhere=0.0125, near=0.01, strides="32=0", **{**FINE, "margin_px": 8})]
    # Reach and margin of those layers.
    made += [Policy(elsewhere=0.0175, near=0.01, fine_reach=0, **FINE)]
    made += [Policy(elsewhere=0.0175, near=0.01, fine_reach=0, fine_margin_px=0, **FINE)]
    made += [Policy(elsewhere=0.0175, near=0.01, fine_reach=0, fine_margin_px=8, fine_score=0.25, **FINE)]
    made += [Policy(elsewhere=0.0175, near=0.0175, fine_reach=0, fine_margin_px=8, **FINE)]
    made += [Policy(elsewhere=0.03, near=0.03, fine_reach=0, fine_margin_px=0, **FINE)]
    made += [
        Policy(elsewhere=tau, near=near, **NARROW, **{**FINE, "margin_px": margin_px})
        for tau, near, margin_px in (
            (0.06, 0.015, 16),
            (0.05, 0.01, 8),
            (0.05, 0.01, 16),
            (0.02, 0.015, 16),
            (0.02, 0.01, 16),
            (0.0175, 0.01, 8),
            (0.0175, 0.01, 16),
            (0.05, 0.0125, 16),
            (0.06, 0.0125, 16),
            (0.07, 0.0125, 16),
            (0.1, 0.0125, 16),
            (0.08, 0.011, 16),
        )
    ]
    # Margins where they are needed only; what the cache was computed from in place of the frame before.
    narrow = {**NARROW, **FINE}
    made += [
        Policy(elsewhere=tau, near=near, margins="strong", strong=a, strong_near=b, **narrow)
        for tau, near, a, b in (
            (0.02, 0.01, 0.03, 0.015),
            (0.0125, 0.0075, 0.04, 0.02),
            (0.03, 0.01, 0.06, 0.02),
            (0.01, 0.01, 0.05, 0.05),
        )
    ]
    made += [Policy(elsewhere=tau, near=0.01, margins="salient", **narrow) for tau in (0.05, 0.03)]
    made += [Policy(elsewhere=tau, near=0.01, margins="blocks", **narrow) for tau in (0.04, 0.0175)]
    made += [
        Policy(elsewhere=tau, near=near, assembled=True, **narrow)
        for tau, near in ((0.06, 0.015), (0.05, 0.01), (0.02, 0.01))
    ]
    # Margins only where something has changed; τ by how much does; margins by stride for so few blocks.
    made += [
        Policy(elsewhere=tau, near=0.0125, margins="changed", strong=a, strong_near=b, **narrow)
        for tau, a, b in ((0.05, 0.05, 0.0125), (0.05, 0.025, 0.00625), (0.04, 0.04, 0.0125))
    ]
    made += [
        Policy(elsewhere=tau, near=0.0125, steady=steady, **narrow)
        for tau, steady in ((0.05, 0.5), (0.05, 1), (0.045, 1), (0.04, 1), (0.04, 2))
    ]
    made += [
        Policy(elsewhere=0.05, near=0.0125, strides=strides, **narrow)
        for strides in ("2=8,4=8", "2=0,4=0", "16=32", "2=8,4=8,16=32")
    ]
    return made
