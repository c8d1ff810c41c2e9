"""What a side's network makes of the pixels and features it has, and how results are evaluated."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from kernels.codecs.block_codecs import BlockCodec, JpegAtlas, RawBlocks, block_codec
from kernels.codecs.payload_frames import frame_codec_of
from kernels.models.network import SceneNetwork
from kernels.models.predictions.results import Segmentation
from kernels.models.predictions.tasks import pack
from sim.accuracy.choice import NetworkChoice
from sim.accuracy.evaluator import Evaluator, agreement_of, foreground_iou
from sim.accuracy.inference import Inference, open_inference
from sim.accuracy.running import RunningNetwork, Truth
from sim.accuracy.steps import Steps
from sim.components.blocks import BlockFeatures, Message
from sim.components.blocks.pixels import BlockOptions, PixelBlocks, PixelSharedImage
from sim.components.frame_encoders import PixelFrameEncoder
from sim.configuration.sections import AccuracyConfig
from sim.world.frame import Frame, FrameGeometry
from traces.video.scenes.scene import Scene

SIDE_PX = 256
BLOCKS = (SIDE_PX // 16) ** 2
GEOMETRY = FrameGeometry(SIDE_PX, SIDE_PX, 16)
CODECS: dict[str, BlockCodec] = {
    "raw": RawBlocks(RawBlocks.Options()),
    "jpeg": JpegAtlas(JpegAtlas.Options(quality=30)),
}


@pytest.fixture(scope="module")
def inference() -> Inference:
    choice = NetworkChoice("default", SceneNetwork(SceneNetwork.Options()), None, False)
    return open_inference(choice, AccuracyConfig("measured"), GEOMETRY)


@pytest.fixture(scope="module")
def image() -> Callable[[int], NDArray[np.uint8]]:
    return Scene("walk", 1, 8, SIDE_PX, noise_sigma=0.0).image


@pytest.mark.parametrize(("named", "used"), [(None, "nearest"), ("bilinear", "bilinear")])
def test_a_system_has_its_own_sampling_unless_the_run_names_one(named: str | None, used: str) -> None:
    choice = NetworkChoice("default", SceneNetwork(SceneNetwork.Options()), None, False)
    config = AccuracyConfig("measured", sampling=named)
    assert open_inference(choice, config, GEOMETRY, "fixed", "nearest").executor.sampling == used


class Server:
    """A server that takes in messages of one camera, lossless or not."""

    def __init__(self, inference: Inference, image: Callable[[int], NDArray[np.uint8]], codec: str) -> None:
        self.content = PixelBlocks(GEOMETRY, BlockOptions(codec=CODECS[codec]))
        self.view: PixelSharedImage = self.content.shared_image()
        self.inference = inference
        steps = Steps(inference)
        self.network = RunningNetwork(steps, Truth(steps, image))
        self.features = BlockFeatures(self.network, GEOMETRY)
        self.image = image

    def frame(self, index: int) -> Frame:
        return Frame(index, float(index), self.image(index))

    def message(self, index: int, *, share: float = 1.0, inferred: bool = True) -> Message:
        frame = self.frame(index)
        match = self.view.match(frame)
        blocks = match.active[: int(share * len(match.active))]
        return self.content.message(frame, blocks, match, 0, inferred=inferred, realign=True)

    def take(self, message: Message, *, densely: bool = False) -> Any:
        self.view.apply(message)
        return self.features.follow(self.view, message, densely=densely)

    def start(self, index: int, *, inferred: bool = True) -> Any:
        return self.take(self.content.whole_message(self.frame(index), 0, inferred=inferred))

    def dense(self) -> bytes:
        """Dense inference on the image that the server has."""
        assert self.view.image is not None
        return self.inference.result(self.inference.dense(self.view.image)[0])


@pytest.fixture
def server(inference: Inference, image: Callable[[int], NDArray[np.uint8]]) -> Server:
    return Server(inference, image, "raw")


# -- the server's features -------------------------------------------------------------------------


@pytest.mark.parametrize("codec", ["raw", "jpeg"])
def test_a_whole_frame_is_inferred_as_it_arrives(inference, image, codec) -> None:
    server = Server(inference, image, codec)
    shown = server.start(0)
    assert shown == server.dense()
    assert (shown == server.network.truth.of(0)) == (codec == "raw")


def test_dense_inference_shows_what_the_server_has_and_not_the_frame(server: Server) -> None:
    server.start(0)
    message = server.message(6, share=0.5)
    assert message.unsent > 0
    assert server.take(message, densely=True) == server.dense()
    assert server.dense() != server.network.truth.of(6)


def test_blocks_that_wait_for_inference_show_with_the_next(server: Server) -> None:
    """Nothing is shown for them, and once they are computed it is as if they had come with the offload."""
    server.start(0)
    assert server.take(server.message(4, inferred=False)) is None
    assert len(server.view.covered) == 0
    waiting = server.view.dirty_blocks()
    assert waiting > 0
    late = server.take(server.message(4))
    assert len(server.view.covered) >= waiting
    assert agreement_of(late, server.network.truth.of(4)) > 0.85


def test_a_refresh_is_taken_along_with_what_arrives_meanwhile(
    inference: Inference, image: Callable[[int], NDArray[np.uint8]]
) -> None:
    """Begun before two messages and ended after them, it leaves what it would have left at once."""
    at_once, meanwhile = (Server(inference, image, "jpeg") for _ in range(2))
    for server in (at_once, meanwhile):
        server.start(0)
        server.take(server.message(2, share=0.5))
        server.features.begin_refresh(server.view)
        if server is at_once:
            server.features.end_refresh()
        server.take(server.message(3, share=0.5))
        server.take(server.message(4, share=0.3, inferred=False))
    meanwhile.features.end_refresh()
    assert at_once.take(at_once.message(5, share=0.0)) == meanwhile.take(meanwhile.message(5, share=0.0))


def test_a_refresh_serves_a_server_that_has_inferred_nothing_yet(server: Server) -> None:
    """After a resynchronisation the first refresh fills the features, whatever arrives while it runs."""
    assert server.start(0, inferred=False) is None
    server.features.begin_refresh(server.view)
    assert server.take(server.message(1, inferred=False)) is None
    server.features.end_refresh()
    server.view.clean(server.view.version)
    assert agreement_of(server.take(server.message(1, share=0.0)), server.network.truth.of(1)) > 0.8


def test_a_new_start_forgets_the_features_and_the_refresh(server: Server) -> None:
    server.start(0)
    server.features.begin_refresh(server.view)
    assert server.start(5) == server.network.truth.of(5)
    server.features.end_refresh()
    assert server.take(server.message(5, share=0.0)) == server.network.truth.of(5)


# -- the edge's features ---------------------------------------------------------------------------


def test_the_edge_reuses_the_reference_it_keeps(server: Server) -> None:
    """All blocks of the frame: dense inference. None of a frame that did not move: the reference's result."""
    reference, edge, truth = server.content.reference(), server.features, server.network.truth
    reference.replace(server.frame(0))
    edge.keep(server.frame(0))
    unmoved = reference.match(server.frame(0))
    assert len(unmoved.active) == 0
    assert edge.sparse(server.frame(0), unmoved, 0) == truth.of(0)
    everything = server.content.reference().match(server.frame(4))
    assert len(everything.active) == BLOCKS
    assert edge.sparse(server.frame(4), everything, BLOCKS) == truth.of(4)
    assert edge.sparse(server.frame(0), unmoved, 0) == truth.of(0)  # the reference has stayed


def test_an_edge_without_a_reference_knows_only_what_it_computes(server: Server) -> None:
    nothing_kept = server.content.reference().match(server.frame(4))
    results = [server.features.sparse(server.frame(4), nothing_kept, k) for k in (BLOCKS // 3, BLOCKS)]
    agreements = [agreement_of(result, server.network.truth.of(4)) for result in results]
    assert agreements[0] < agreements[1] == 1.0


def test_what_arrives_lossless_is_the_truth(server: Server) -> None:
    frame, truth = server.frame(2), server.network.truth.of(2)
    for codec, same in (("png", True), ("jpeg", False)):
        message = PixelFrameEncoder(frame_codec_of(block_codec(codec, 3))).encode(frame)
        assert (server.network.dense(frame, message.decoded) == truth) == same


# -- evaluation ------------------------------------------------------------------------------------


class Shifting:
    """A camera whose truth is one of a few maps."""

    def __init__(self, maps: list[bytes]) -> None:
        self.maps = maps

    def of(self, index: int) -> bytes:
        return self.maps[index % len(self.maps)]


def maps() -> list[bytes]:
    drawn = []
    for left in range(3):
        classes = np.zeros((2, 8), np.uint8)
        classes[:, left : left + 3] = 1
        drawn.append(pack(Segmentation(classes)))
    return drawn


def test_agreement_is_intersection_over_union() -> None:
    drawn = maps()
    assert [agreement_of(drawn[0], other) for other in drawn] == [1.0, 2 / 4, 1 / 5]


def test_foreground_does_not_ask_for_the_class() -> None:
    one, other, nothing = (np.full((2, 4), fill, np.uint8) for fill in (1, 2, 0))
    other[:, 0] = 0
    packed = [pack(Segmentation(classes)) for classes in (one, other, nothing)]
    assert agreement_of(packed[0], packed[1]) == 0.0
    assert foreground_iou(packed[0], packed[1]) == 3 / 4
    assert foreground_iou(packed[0], packed[2]) == 0.0
    assert foreground_iou(packed[2], packed[2]) == 1.0


@st.composite
def runs(draw: st.DrawFn) -> dict[str, NDArray[np.float64]]:
    """Frames every tick; some give results, one after the other, after 0 to 5 ticks of work."""
    rows: list[tuple[float, ...]] = []
    for camera in range(draw(st.integers(1, 2))):
        free = 0
        for frame in range(draw(st.integers(1, 12))):
            if draw(st.booleans()):
                free = max(free, frame) + draw(st.integers(0, 5))
                rows.append((camera, frame, frame, free, 0))
            else:
                rows.append((camera, frame, frame, np.nan, draw(st.integers(1, 3))))
    names = ("camera", "frame", "captured_s", "completed_s", "outcome")
    return dict(zip(names, np.array(rows, np.float64).T, strict=True))


@settings(max_examples=60)
@given(runs(), st.data())
def test_streaming_takes_the_newest_result_that_is_out(rows, data) -> None:
    """Against the definition: of all results out by a frame's capture, the one that came last."""
    drawn = maps()
    cameras = int(rows["camera"].max()) + 1
    evaluator = Evaluator("any", [Shifting(drawn)] * cameras)
    table = list(zip(*(rows[name] for name in rows), strict=True))
    shown: dict[tuple[float, float], bytes] = {}
    for camera, frame, _, _, outcome in table:
        if outcome == 0:
            shown[camera, frame] = data.draw(st.sampled_from(drawn))
            evaluator.collect(int(camera), int(frame), shown[camera, frame])
    found = evaluator.compare(rows)
    for place, (camera, frame, captured_s, _, outcome) in enumerate(table):
        truth = evaluator.truths[int(camera)].of(int(frame))
        out = [
            (ready_s, other)
            for mine, other, _, ready_s, end in table
            if mine == camera and end == 0 and ready_s <= captured_s
        ]
        expected = agreement_of(shown[camera, max(out)[1]], truth) if out else 0.0
        assert found.streaming[place] == expected
        if outcome == 0:
            assert found.at_capture[place] == agreement_of(shown[camera, frame], truth)
        else:
            assert np.isnan(found.at_capture[place])
