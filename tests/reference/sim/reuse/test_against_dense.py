"""Whole runs of fluxshard_remap where it is known what must come out: dense results, and no bytes.

The default network really runs; `accuracy` of a frame is its agreement with dense inference on the frame as
it was captured, 1 where every pixel has the same class.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from sim.command.single_run import run_once
from sim.records.summary import RunRecord
from traces.video.scenes.scene import Scene

SIDE_PX = 256
BLOCKS = (SIDE_PX // 16) ** 2
HEADER_BYTES = 64  # of a message
VECTOR_BYTES = 4 * BLOCKS  # at most; and a bit a block
FRAMES = 12
pytestmark = pytest.mark.filterwarnings("ignore:video.size_px", "ignore:video.path")


@pytest.fixture(scope="module")
def picture() -> NDArray[np.uint8]:
    """A scene in which the network finds something, three times as large as what the camera sees."""
    return Scene(seed=1, frame_count=1, size_px=768).image(0)


def written(folder: Path, images: list[NDArray[np.uint8]]) -> dict[str, Any]:
    """The section of a video of these frames."""
    for number, image in enumerate(images):
        Image.fromarray(image).save(folder / f"{number:05d}.png")
    return {"kind": "file", "path": str(folder), "size_px": SIDE_PX}


def run(
    video: dict[str, Any], mode: str = "measured", policy: str | None = None, **changes: Any
) -> RunRecord:
    content: dict[str, Any] = {
        "system": {"name": "fluxshard_remap", **changes.pop("options", {})},
        "video": video,
        "trace": {"mean_mbps": 50.0, "duration_s": 5.0, "seed": 2},
        "accuracy": {"mode": mode, "policy": policy},
        "payload": {"codec": "png"},
        "warmup_s": 0.0,
        "frames": FRAMES,
    }
    return run_once({**content, **changes}).record


def completed(record: RunRecord) -> Any:
    return record.frames[record.frames["outcome"] == "completed"]


def seen(picture: NDArray[np.uint8], x: int, y: int) -> NDArray[np.uint8]:
    return picture[y : y + SIDE_PX, x : x + SIDE_PX].copy()


@pytest.mark.parametrize("paths", ["latency", "scheduler"])
def test_of_a_static_scene_nothing_is_sent_and_every_result_is_dense_inferences(
    paths: str, picture: NDArray[np.uint8], tmp_path: Path
) -> None:
    record = run(written(tmp_path, [seen(picture, 256, 256)] * FRAMES), options={"paths": paths})
    frames = completed(record)
    assert len(frames) >= FRAMES // 2
    assert (frames["accuracy"] == 1.0).all()
    assert record.summary["foreground_iou_mean"] == 1.0
    later = frames.iloc[1:]
    assert (later["blocks_sent"] == 0).all()
    assert (later["blocks_active_cloud"].dropna() == 0).all()
    assert (later["uplink_bytes"] <= HEADER_BYTES + VECTOR_BYTES + BLOCKS // 8).all()
    assert record.summary["uplink_opportunistic_bytes"] <= 12_000  # a probe may be among them


@pytest.mark.filterwarnings("ignore:accuracy.policy")
@pytest.mark.parametrize(("dx", "dy"), [(32, 0), (0, -32), (32, 32)])
def test_a_pan_by_multiples_of_the_largest_stride_equals_dense_inference_where_reuse_is_exact(
    dx: int, dy: int, picture: NDArray[np.uint8], tmp_path: Path
) -> None:
    """§8 of the exactness conditions: one vector, ≡ 0 modulo 32, blocks that are the same to the last bit.

    The threshold asks for that: over several frames a flat block may agree by τ with another than its own.
    """
    start_y = 480 if dy < 0 else 16
    images = [seen(picture, 16 + dx * i, start_y + dy * i) for i in range(FRAMES)]
    record = run(written(tmp_path, images), policy="exact", options={"threshold": 1e-6})
    frames = completed(record)
    assert len(frames) >= FRAMES // 2
    assert (frames["accuracy"] == 1.0).all()
    assert frames["reuse_ratio"].iloc[3:].min() > 0.5  # once either side has inferred a frame lately


def test_noise_is_no_miss(picture: NDArray[np.uint8], tmp_path: Path) -> None:
    """Of a camera: σ = 2 grey levels, another draw in every frame."""
    random, still = np.random.default_rng(4), seen(picture, 256, 256)
    images = [
        np.clip(np.rint(still + random.normal(0.0, 2.0, still.shape)), 0, 255).astype(np.uint8)
        for _ in range(FRAMES)
    ]
    frames = completed(run(written(tmp_path, images))).iloc[1:]
    assert len(frames) >= FRAMES // 2
    in_edge = frames["blocks_active_edge"].dropna()
    known = in_edge[in_edge.cummin() < BLOCKS]  # the edge has a reference: its first refresh is through
    for misses in (known, frames["blocks_active_cloud"].dropna()):
        assert len(misses) >= 3
        assert (misses < 0.01 * BLOCKS).all()


def test_without_sparse_inference_every_frame_takes_dense_inferences_time(
    picture: NDArray[np.uint8], tmp_path: Path
) -> None:
    """The ablation keeps what is sent, and recomputes everything where it is sent."""
    images = [seen(picture, 16 + 8 * i, 256) for i in range(FRAMES)]
    frames = completed(run(written(tmp_path, images), options={"sparse": False}, codec_time="none"))
    edge_s, cloud_s = 0.209, 0.0119  # Table 1 of the first paper
    on_edge = frames["path"] == "edge"
    assert frames.loc[on_edge, "edge_compute_s"].to_numpy() == pytest.approx(edge_s)
    assert frames.loc[~on_edge, "cloud_compute_s"].to_numpy() == pytest.approx(cloud_s)
    assert (~on_edge).sum() >= 3
    assert (frames["blocks_computed"] == BLOCKS).all()
    assert (frames["blocks_sent"].iloc[1:] < BLOCKS).all()
    assert (frames["accuracy"] == 1.0).all()  # with a codec that loses nothing


def test_salience_follows_results_and_needs_a_network(picture: NDArray[np.uint8], tmp_path: Path) -> None:
    video = written(tmp_path, [seen(picture, 16 + 5 * i, 256) for i in range(FRAMES)])
    with pytest.warns(UserWarning, match="system.salience: no network runs") as caught:
        covered = run(video, mode="coverage")
    assert len([one for one in caught if "system.salience" in str(one.message)]) == 1
    blind = run(video, options={"salience": False}).frames
    columns = ["path", "blocks_active_edge", "blocks_active_cloud", "blocks_sent"]
    assert covered.frames[columns].equals(blind[columns])
    told = run(video).frames
    assert told["blocks_active_cloud"].sum() > blind["blocks_active_cloud"].sum()
    filtered = run(video, options={"salience_rule": "filter"}).frames
    assert filtered["blocks_active_cloud"].sum() < blind["blocks_active_cloud"].sum()


def test_a_perfect_proxy_is_a_bound_on_what_tracking_it_wins() -> None:
    """On a composed scene over a link that both know: what a perfect one has not got to send is not sent."""
    video = {"kind": "scene", "size_px": SIDE_PX, "seed": 1}
    tracked, perfect = (
        run(video, options={"proxy": proxy}, frames=40, link={"delay_s": 0.005}, payload={"codec": "jpeg"})
        for proxy in ("tracked", "perfect")
    )
    assert perfect.frames["blocks_sent"].sum() <= tracked.frames["blocks_sent"].sum()
    assert perfect.summary["uplink_bytes"] < tracked.summary["uplink_bytes"]
    for key in ("accuracy_mean", "ea_per_captured"):
        assert perfect.summary[key] > tracked.summary[key] - 0.01, key
