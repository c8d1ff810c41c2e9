"""No side reuses features of another image than its vectors lead into.

The network here is a mirror: its features are the frame's pixels, blocks that are computed are copied, the
rest is moved. So a cache says by itself which image it belongs to. Inference may be put off until somebody
asks for its result; caches are looked at once the run is over, so that what is computed late is seen too.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest
from numpy.typing import NDArray

from kernels.models.predictions.results import Segmentation
from kernels.models.predictions.tasks import pack
from kernels.motion.warp import warp_image
from sim.accuracy import inference as measured
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

    identity: ClassVar[str] = ""  # of no network that other runs would know: nothing is shared
    executor: ClassVar[Any] = SimpleNamespace(policy="fixed")

    def dense(self, image: Image) -> tuple[Image, Image]:
        return image.copy(), image.copy()

    def sparse(self, image: Image, active: Any, vectors: Any, cache: Image) -> tuple[Image, Image]:
        made = np.where(in_pixels(active), image, warp_image(cache, vectors, BLOCK_PX))
        return made, made

    def result(self, outputs: Image) -> bytes:
        return pack(Segmentation(outputs[..., 0]))


def in_pixels(blocks: NDArray[np.bool_]) -> NDArray[np.bool_]:
    return np.kron(blocks, np.ones((BLOCK_PX, BLOCK_PX), np.bool_))[..., None]


class Watch:
    """Looks at every use of a cache, when the run is over; counts them by kind."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.searched: dict[int, tuple[Any, Image | None]] = {}  # by match: it, and the image it was found in
        self.count = {"edge": 0, "server": 0, "refreshing": 0, "realigned": 0, "put off": 0}
        self.uses: list[
            tuple[str, BlockFeatures, Any, Image, Any]
        ] = []  # side, cache, and its image where clean
        match, sparse, follow, receive = (
            PixelReference.match,
            BlockFeatures.sparse,
            BlockFeatures.follow,
            ServerHalf.receive,
        )

        def watched_match(reference: Any, frame: Any, classify: Any = None) -> Any:
            image = None if reference.image is None else reference.image.copy()
            found = match(reference, frame, classify)
            self.searched[id(found)] = found, image
            return found

        def watched_sparse(features: Any, frame: Any, found: Any, processed: int) -> Any:
            image = self.searched[id(found)][1]
            assert found.frame_index == frame.index
            if image is None:
                assert found.vectors is None
            else:
                self.uses.append(("edge", features, features._features, image, True))
            return sparse(features, frame, found, processed)

        def watched_follow(features: Any, image: Any, message: Any, **how: Any) -> Any:
            self.count["refreshing"] += features._refreshing is not None
            result = follow(features, image, message, **how)
            clean = in_pixels(image._dirty_since == 0)
            if features._features is None:
                assert not clean.any()
            else:
                self.uses.append(("server", features, features._features, image.image.copy(), clean))
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
            lambda *_: Mirror(),
        )
        monkeypatch.setattr("sim.components.blocks.pixels.PixelSharedImage.match", watched_match)
        monkeypatch.setattr(PixelReference, "match", watched_match)
        monkeypatch.setattr(BlockFeatures, "sparse", watched_sparse)
        monkeypatch.setattr(BlockFeatures, "follow", watched_follow)
        monkeypatch.setattr(ServerHalf, "receive", watched_receive)

    def look(self) -> None:
        """Compare every cache that was used with the image that it should belong to."""
        for side, features, step, image, where in self.uses:
            self.count["put off"] += step.made is None
            _, cache = features.network.steps.compute(step)
            assert np.array_equal(cache * where, image * where)
            self.count[side] += 1


FAULTS: dict[str, dict[str, Any]] = {
    "none": {"fps": 24.0},  # so that the edge, where all blocks are computed until a refresh, is idle
    "slow": {
        "trace": {"mean_mbps": 3.0, "duration_s": 5.0, "seed": 7},
        "fps": 24.0,
    },
    "a crash while a frame is offloaded": {
        "trace": {"mean_mbps": 100.0, "duration_s": 5.0, "seed": 2},
        "server": {"crashes_s": [[0.3, 0.5]]},
        "options": {"patience_s": 0.3},
    },
    "outages and losses": {
        "trace": {"mean_mbps": 100.0, "duration_s": 5.0, "seed": 2},
        "link": {"outages_s": [[0.5, 0.7]], "loss": 0.1, "delay_s": 0.005},
        "fps": 24.0,  # as above
        "options": {"patience_s": 0.3, "chunk_blocks": 5},
    },
    "three cameras": {"cameras": 3},
}


@pytest.mark.parametrize("fault", FAULTS)
def test_features_belong_to_the_image_that_was_searched(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    watch = Watch(monkeypatch)
    content = pixels(accuracy={"mode": "measured"}, payload={"codec": "jpeg"}, **FAULTS[fault])
    run({**content, "frames": 40})
    watch.look()
    assert min(watch.count.values()) > 0, watch.count
