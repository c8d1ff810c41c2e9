"""Both paths at once: which blocks are divided, whose result counts where, how results are put together."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from kernels.codecs.result_codec import decode_result, encode_boxes, encode_classes
from sim import run
from sim.components.blocks import Match
from sim.components.blocks.merging import (
    active_on_both,
    divide,
    first,
    merged_image,
    merged_result,
)
from sim.world.frame import FrameGeometry

GEOMETRY = FrameGeometry(64, 64, 16)
BLOCKS = st.lists(st.integers(0, 15), unique=True)


def match(active: list[int]) -> Match:
    return Match(np.array(active, np.int32), np.zeros((4, 4, 2), np.int16), 1)


@given(BLOCKS, BLOCKS, st.data())
def test_every_block_counts_on_a_side_that_knows_it_if_any_does(
    on_edge: list[int], in_cloud: list[int], data: st.DataObject
) -> None:
    local, remote = match(on_edge), match(in_cloud)
    both = active_on_both(local, remote, GEOMETRY)
    assert set(both.tolist()) == set(on_edge) & set(in_cloud)
    k_cloud = data.draw(st.integers(0, len(both)))
    k_edge = data.draw(st.integers(0, len(both) - k_cloud))
    division = divide(local, remote, both, k_edge, k_cloud, GEOMETRY)
    assert not set(division.on_edge.tolist()) & set(division.in_cloud.tolist())
    for block in range(16):
        edge_knows = block not in on_edge or block in division.on_edge
        cloud_knows = block not in in_cloud or block in division.in_cloud
        if division.cloud_counts.reshape(-1)[block]:
            assert cloud_knows or not edge_knows
        else:
            assert edge_knows


@given(BLOCKS, BLOCKS)
def test_putting_blocks_first_keeps_the_set_and_their_order(active: list[int], chosen: list[int]) -> None:
    wanted = np.array([block for block in chosen if block in active], np.int32)
    ordered = first(match(active), wanted).active
    assert list(ordered[: len(wanted)]) == wanted.tolist()
    assert sorted(ordered) == sorted(active)


def test_a_class_map_is_put_together_block_by_block() -> None:
    division = divide(match([0, 1]), match([0, 2]), np.array([0], np.int32), 1, 0, GEOMETRY)
    edge, cloud = np.full((64, 64), 1, np.uint8), np.full((64, 64), 2, np.uint8)
    merged = decode_result(merged_result(encode_classes(edge), encode_classes(cloud), division, 16)).classes
    assert merged is not None
    by_block = merged[::16, ::16].reshape(-1).tolist()
    # Block 0 was computed on the edge, 1 only the server knows, 2 only the edge, all others both.
    assert by_block == [1, 2, 1] + [2] * 13
    seen = merged_image(np.zeros((64, 64, 3), np.uint8), np.ones((64, 64, 3), np.uint8), division, 16)
    assert callable(seen)
    assert seen()[::16, ::16, 0].reshape(-1).tolist() == [0, 1, 0] + [1] * 13


def test_a_box_counts_where_its_centre_does_and_once() -> None:
    # The edge knows the left half alone, the server the right half alone.
    left, right = [row * 4 + c for row in range(4) for c in (0, 1)], [8 + 2, 8 + 3]
    division = divide(match([2, 3, 6, 7, *right, 14, 15]), match(left), np.empty(0, np.int32), 0, 0, GEOMETRY)
    across = [20.0, 20.0, 42.0, 40.0]  # its centre is at 31, on the edge's side
    edge = encode_boxes(
        np.array([[0, 0, 10, 10], [40, 0, 60, 10], across], np.float32), np.array([1, 1, 2]), 64, 64
    )
    cloud = encode_boxes(
        np.array([[2, 2, 12, 12], [41, 0, 61, 10], [22.5, 20, 43, 40]], np.float32),
        np.array([1, 3, 2]),
        64,
        64,
    )
    merged = decode_result(merged_result(edge, cloud, division, 16))
    assert merged.boxes is not None
    assert merged.classes is not None
    found = {(int(c), *box) for c, box in zip(merged.classes, merged.boxes.tolist(), strict=True)}
    # The server's box across the line has its centre at 32.75, on its side: the edge's is the same object.
    assert found == {
        (3, 41.0, 0.0, 61.0, 10.0),
        (2, 22.5, 20.0, 43.0, 40.0),
        (1, 0.0, 0.0, 10.0, 10.0),
    }


def test_a_split_frame_waits_for_the_later_side_and_sends_only_what_the_server_computes() -> None:
    frames = run(
        [
            "system=fluxshard_ea",
            "scheduler=split",
            "trace=low",
            "accuracy=coverage",
            "frames=40",
            "in_flight=1",
        ]
    ).frames
    split = frames[frames.path == "split"]
    assert len(split)
    computed_s = split.extract_s + split.edge_compute_s
    assert (split.latency_s >= computed_s - 1e-9).all()
    assert (split.latency_s >= split.extract_s + split.encode_s + split.transmit_s - 1e-9).all()
    assert (split.blocks_sent < split.blocks_processed).all()
    assert (split.blocks_processed <= split[["blocks_active_edge", "blocks_active_cloud"]].min(axis=1)).all()
    # No longer than the expected latency by more than what was not foreseen.
    assert ((split.latency_s - split.predicted_latency_s).abs().median()) < 0.01
