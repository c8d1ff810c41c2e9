"""One ruler of coverage for all systems: against its definition, and whatever a system thinks of itself."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from sim.accuracy.coverage import CoverageRuler
from sim.components.context import SystemContext
from sim.records.outcome import Outcome
from tests.strategies.images import images
from tests.strategies.sim import pixels, run, statistical
from tests.strategies.systems import differing_blocks
from tests.strategies.systems import run as run_system
from traces.errors import InputError

pytestmark = pytest.mark.filterwarnings("ignore:video.size_px")
SLOW_LINK, FAST_LINK = ({"mean_mbps": rate, "duration_s": 5.0, "seed": 2} for rate in (2.0, 300.0))


@given(images(64, 64, True, 2), st.sampled_from([0.0, 0.01, 0.025, 0.3, 1.0]))
def test_a_block_is_stale_by_the_definition(pair: list[NDArray[np.uint8]], threshold: float) -> None:
    frame, seen = pair
    ruler = CoverageRuler(threshold, 16)
    assert ruler.stale(frame, seen) == differing_blocks(frame, seen, threshold)
    assert ruler.stale(frame, lambda: seen) == differing_blocks(frame, seen, threshold)


def test_a_frame_that_a_result_rests_on_has_no_stale_block() -> None:
    frame = np.zeros((64, 64, 3), np.uint8)
    assert CoverageRuler(0.0, 16).stale(frame, frame) == 0


@pytest.mark.parametrize(
    ("rests_on", "found"),
    [
        (np.zeros((64, 64), np.uint8), "uint8 of (64, 64)"),
        (np.zeros((64, 64, 3), np.float32), "float32 of (64, 64, 3)"),
        (lambda: b"jpeg", "b'jpeg'"),
    ],
)
def test_what_is_no_image_of_the_frame_is_named(rests_on: Any, found: str) -> None:
    outcome = Outcome("edge", 16, 16, 0, rests_on=rests_on)
    with pytest.raises(InputError) as caught:
        CoverageRuler(0.025, 16).valued(outcome, np.zeros((64, 64, 3), np.uint8), "mine.py:7")
    assert str(caught.value) == f"mine.py:7: expected rests_on to be uint8 of (64, 64, 3), found {found}"


class Borrowing:
    """Gives every frame the result of the first, and says that nothing of it is stale."""

    @dataclass(frozen=True)
    class Options:
        """Whether it names what its results rest on."""

        names: bool = True

    def __init__(self, context: SystemContext, options: Options) -> None:
        self.names = options.names
        self.first: NDArray[np.uint8] | None = None

    def process(self, frame: Any, world: Any) -> Generator[Any, Any, Outcome]:
        self.first = frame.image if self.first is None else self.first
        yield world.work_edge(0.01)
        return Outcome("reused", 0, 0, 0, rests_on=self.first if self.names else None)


@pytest.mark.parametrize("names", [True, False])
def test_a_system_of_ones_own_is_measured_if_it_names_what_it_rests_on(names: bool) -> None:
    drawn = np.random.default_rng(0)
    frames = [drawn.integers(0, 256, (64, 64, 3), np.uint8) for _ in range(3)]
    rows = run_system((Borrowing, Borrowing.Options(names)), frames).rows
    assert list(rows["blocks_stale"]) == ([0, 16, 16] if names else [0, 0, 0])


# -- systems on the scene --------------------------------------------------------------------------


def frames_of(system: str, **changes: Any) -> pd.DataFrame:
    table = run(pixels(system, **changes)).frames
    return table[table["outcome"] == "completed"]


@pytest.mark.parametrize("path", ["edge", "cloud"])
def test_fluxshards_own_count_is_the_rulers_where_nothing_is_lost(path: str) -> None:
    """Blocks sent as they are, and its own threshold τ₀: stale is what is active and not processed."""
    changes: dict[str, Any] = {"payload": {"codec": "raw"}}
    changes["trace"] = SLOW_LINK if path == "edge" else FAST_LINK
    frames = frames_of("fluxshard_ea", **changes)
    frames = frames[frames["path"] == path]
    assert len(frames) > 3
    active = frames["blocks_active_edge" if path == "edge" else "blocks_active_cloud"]
    assert (frames["blocks_stale"] == active - frames["blocks_processed"]).all()


@pytest.mark.parametrize(
    ("system", "changes", "others"),
    [
        ("fluxshard_ea", {"matching": {"threshold": 1.0}}, {}),
        ("deltacnn", {"options": {"threshold": 1.0}}, {"options": {"threshold": 0.02}}),
        ("coach", {"options": {"similarity": -1.0}}, {}),
    ],
)
def test_who_recomputes_nothing_covers_little(
    system: str, changes: dict[str, Any], others: dict[str, Any]
) -> None:
    lazy, careful = frames_of(system, **changes), frames_of(system, **others)
    at_the_end = lazy["accuracy"].iloc[-4:].mean()  # the scene stands still before
    assert at_the_end < 0.8
    assert careful["accuracy"].mean() > at_the_end + 0.1
    assert lazy["blocks_processed"].iloc[-4:].mean() < 0.05 * 100  # of 100 blocks


@pytest.mark.parametrize("system", ["fluxshard_ea", "deltacnn", "coach", "full_offload"])
def test_the_runs_threshold_moves_the_ruler_and_nothing_else(system: str) -> None:
    strict, lax = (
        run(pixels(system, accuracy={"mode": "coverage", "coverage_threshold": at})).frames
        for at in (0.004, 0.2)
    )
    counted = ["blocks_stale", "accuracy", "ea"]
    pd.testing.assert_frame_equal(strict.drop(columns=counted), lax.drop(columns=counted))
    assert strict["blocks_stale"].sum() > lax["blocks_stale"].sum()


def test_recorded_counts_have_their_own_threshold() -> None:
    with pytest.raises(
        InputError, match=r"accuracy\.coverage_threshold: statistics are recorded with 0\.025"
    ):
        run(statistical(accuracy={"mode": "coverage", "coverage_threshold": 0.05}))


def test_what_has_been_handed_out_stays_as_it_was() -> None:
    """A message without vectors pastes into the server's image; earlier results rest on the old one."""
    from sim.components.blocks.pixels import BlockOptions, PixelBlocks
    from sim.world.frame import Frame, FrameGeometry

    drawn = np.random.default_rng(1)
    make: Callable[[int], Frame] = lambda index: Frame(  # noqa: E731
        index, float(index), drawn.integers(0, 256, (64, 64, 3), np.uint8)
    )
    content = PixelBlocks(FrameGeometry(64, 64, 16), BlockOptions())
    view = content.shared_image()
    view.apply(content.whole_message(make(0), 0))
    handed_out: Any = view.rests_on()
    before = handed_out.copy()
    later = make(1)
    view.apply(content.message(later, np.arange(4), view.match(later), 0, inferred=False, realign=False))
    assert not np.array_equal(view.rests_on(), before)
    assert np.array_equal(handed_out, before)
