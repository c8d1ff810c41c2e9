"""What crosses the link at each cut of a network: by hand, by an independent count, and in the files."""

from __future__ import annotations

import json

import pytest

from profiler.latency.split_table import SPLIT_FOLDER, load_split_table
from profiler.split_table import derive_split_table
from traces.errors import InputError

# YOLO11m at 640 × 640, from the public architecture: maps that are alive after a layer, channels × side².
LIVE_BY_HAND = {
    "input": 3 * 640**2,
    "3": 256 * 80**2,
    "4": 512 * 80**2,
    "6": 512 * 80**2 + 512 * 40**2,  # layer 4 is read again by 15, layer 6 by 12
    "10": 512 * 80**2 + 512 * 40**2 + 512 * 20**2,
    "16": 256 * 80**2 + 512 * 40**2 + 512 * 20**2,  # layers 13 and 10 are read again by 18 and 21
    "22": 256 * 80**2 + 512 * 40**2 + 512 * 20**2,  # the three maps of the head
    "23": (64 + 80 + 32) * 8400 + 32 * 160**2,  # boxes, classes, mask coefficients; prototypes
}


def test_live_tensors_of_yolo11m_seg_by_hand():
    cuts = {cut.after: cut for cut in load_split_table("yolo11m-seg").cuts}
    assert {after: cuts[after].elements for after in LIVE_BY_HAND} == LIVE_BY_HAND
    assert cuts["22"].tensors == 3


def test_the_smallest_inner_cut_is_larger_than_the_raw_frame():
    """Why split systems struggle here: 1.64 M elements after layer 3 against 1.23 M input bytes."""
    table = load_split_table("yolo11m-seg")
    smallest = min(table.cuts[1:-1], key=lambda cut: cut.elements)
    assert (smallest.after, smallest.elements) == ("3", 1_638_400)
    assert smallest.elements > table.cuts[0].elements == 1_228_800


@pytest.mark.parametrize("path", sorted(SPLIT_FOLDER.glob("*.yaml")), ids=lambda path: path.stem)
def test_the_files_are_what_the_networks_say(path):
    table = load_split_table(path.stem)
    network = path.stem.removesuffix("-1024")
    assert table == derive_split_table(path.stem, network, table.resolution_px)


@pytest.mark.data
def test_multiplications_of_the_small_network_equal_a_published_layer_list(data_dir):
    """The list counts convolutions; two layers of it are not traced, and attention is not in it."""
    listed = json.loads((data_dir / "weights" / "yolo11n-seg_fused_arch.json").read_text(encoding="utf-8"))
    box_expectation = 16 * 4 * 8400  # decoding, which is not part of the traced network
    attention = 400 * 400 * (64 + 128)  # 20 × 20 positions: queries · keys, then weights · values
    assert load_split_table("yolo11n-seg").multiplications == listed["macs"] - box_expectation + attention


def test_a_model_without_a_table_names_those_that_have_one():
    with pytest.raises(
        InputError, match=r"no split table of 'sdpose': expected one of \['default', 'yolo11m-1024'"
    ):
        load_split_table("sdpose")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("tensors: 3", "tensors: 0", "tensors: expected a whole number of at least 1, found 0"),
        (
            "arithmetic_share: 1.0",
            "arithmetic_share: 0.9",
            "cuts: expected arithmetic_share to rise from 0 to 1",
        ),
        ("model: yolo11n", "model: yolo11m", "model: expected 'yolo11n' (from the path), found 'yolo11m'"),
        ("cuts:", "cut:", "cut: expected one of"),
    ],
)
def test_an_unsound_table_is_refused(tmp_path, old, new, message):
    text = (SPLIT_FOLDER / "yolo11n.yaml").read_text(encoding="utf-8").replace(old, new)
    (tmp_path / "yolo11n.yaml").write_text(text.replace("split_table yolo11m", ""), encoding="utf-8")
    with pytest.raises(InputError) as caught:
        load_split_table("yolo11n", [tmp_path])
    assert message in str(caught.value)
