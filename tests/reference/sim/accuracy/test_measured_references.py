"""No side reuses features of another image than its vectors lead into.

The network here is a mirror: its features are the frame's pixels, blocks that are computed are copied, the
rest is moved. So a cache says by itself which image it belongs to.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from kernels.models.predictions.results import Segmentation
from kernels.motion.warp import warp_image
from sim.accuracy import inference as measured
from sim.accuracy.inference import pack
from sim.components.blocks import BlockFeatures
from sim.components.blocks.pixels import PixelReference
from sim.components.synchronisation import ServerHalf
from tests.strategies.sim import pixels, run

pytestmark = pytest.mark.filterwarnings("ignore:video.size_px")
BLOCK_PX = 16
Image = NDArray[np.uint8]


@dataclass(frozen=True)
class Mirror:
    """Infers that a frame is what it looks like."""

    height_px: int
    width_px: int

    @property
    def grid(self) -> tuple[int, int]:
        return self.height_px // BLOCK_PX, self.width_px // BLOCK_PX

    def dense(self, image: Image) -> tuple[Image, Image]:
        return image.copy(), image.copy()

    def sparse(self, image: Image, active: Any, vectors: Any, cache: Image) -> tuple[Image, Image]:
        made = np.where(in_pixels(active), image, warp_image(cache, vectors, BLOCK_PX))
        return made, made

    def result(self, outputs: Image) -> bytes:
        return pack(Segmentation(outputs[..., 0]))

    def blank(self) -> Image:
        return np.zeros((self.height_px, self.width_px, 3), np.uint8)


def in_pixels(blocks: NDArray[np.bool_]) -> NDArray[np.bool_]:
    return np.kron(blocks, np.ones((BLOCK_PX, BLOCK_PX), np.bool_))[..., None]


class Watch:
    """Looks at every use of a cache; counts them by kind."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.searched: dict[int, tuple[Any, Image | None]] = {}  # by match: it, and the image it was found in
        self.count = {"edge": 0, "server": 0, "refreshing": 0, "realigned": 0}
        match, sparse, follow, receive = (
            PixelReference.match,
            BlockFeatures.sparse,
            BlockFeatures.follow,
            ServerHalf.receive,
        )

        def watched_match(reference: Any, frame: Any) -> Any:
            image = None if reference.image is None else reference.image.copy()
            found = match(reference, frame)
            self.searched[id(found)] = found, image
            return found

        def watched_sparse(features: Any, frame: Any, found: Any, processed: int) -> Any:
            image = self.searched[id(found)][1]
            assert found.frame_index == frame.index
            if image is None:
                assert found.vectors is None
            else:
                assert np.array_equal(features._features, image)
                self.count["edge"] += 1
            return sparse(features, frame, found, processed)

        def watched_follow(features: Any, image: Any, message: Any, **how: Any) -> Any:
            self.count["refreshing"] += features._refreshing is not None
            result = follow(features, image, message, **how)
            clean = in_pixels(image._dirty_since == 0)
            if features._features is None:
                assert not clean.any()
            else:
                assert np.array_equal(features._features * clean, image.image * clean)
                self.count["server"] += 1
            return result

        def watched_receive(server: Any, message: Any, world: Any, **how: Any) -> Any:
            before = None if server.image.image is None else server.image.image.copy()
            blocks = receive(server, message, world, **how)
            # What a server that is down takes in is lost before anything comes of it.
            if blocks is not None and message.realigned and not world.cloud.processor.is_down():
                assert any(
                    found.frame_index == message.frame_index and np.array_equal(image, before)
                    for found, image in self.searched.values()
                )
                self.count["realigned"] += 1
            return blocks

        monkeypatch.setattr(
            measured,
            "open_inference",
            lambda choice, config, geometry, *_: Mirror(geometry.height_px, geometry.width_px),
        )
        monkeypatch.setattr("sim.components.blocks.pixels.PixelSharedImage.match", watched_match)
        monkeypatch.setattr(PixelReference, "match", watched_match)
        monkeypatch.setattr(BlockFeatures, "sparse", watched_sparse)
        monkeypatch.setattr(BlockFeatures, "follow", watched_follow)
        monkeypatch.setattr(ServerHalf, "receive", watched_receive)


FAULTS: dict[str, dict[str, Any]] = {
    "none": {},
    "slow": {"trace": {"mean_mbps": 3.0, "duration_s": 5.0, "seed": 7}},
    "a crash while a frame is offloaded": {
        "trace": {"mean_mbps": 100.0, "duration_s": 5.0, "seed": 2},
        "server": {"crashes_s": [[0.3, 0.5]]},
        "options": {"patience_s": 0.3},
    },
    "outages and losses": {
        "trace": {"mean_mbps": 100.0, "duration_s": 5.0, "seed": 2},
        "link": {"outages_s": [[0.5, 0.7]], "loss": 0.1, "delay_s": 0.005},
        "options": {"patience_s": 0.3, "chunk_blocks": 5},
    },
    "three cameras": {"cameras": 3},
}


@pytest.mark.parametrize("fault", FAULTS)
def test_features_belong_to_the_image_that_was_searched(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    watch = Watch(monkeypatch)
    content = pixels(accuracy={"mode": "measured"}, payload={"codec": "jpeg"}, **FAULTS[fault])
    run({**content, "frames": 40})
    assert min(watch.count.values()) > 0, watch.count
