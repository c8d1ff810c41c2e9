"""Edge and server hold the same image, byte for byte, whatever becomes of links, servers and answers.

Checked at every message, not only in the end: what the server makes of a message is what the edge's proxy
made of it. At quiescence, once everything in flight has arrived, both images are equal, or a crash has wiped
the server's and no message has come since.
"""

from __future__ import annotations

import hashlib
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sim.components.blocks import Message
from sim.components.blocks.pixels import PixelSharedImage
from sim.components.synchronisation import ServerHalf
from tests.strategies.sim import Run, outages, pixels, run

FRAMES = 20
DELAYS = st.sampled_from(
    [0.001, 0.01]
)  # so near that a small scene, quick on the edge, is offloaded, and not
FAULTS = st.fixed_dictionaries(
    {
        "trace": st.fixed_dictionaries(
            {
                "mean_mbps": st.sampled_from([0.3, 2.0, 8.0, 60.0]),
                "duration_s": st.just(5.0),
                "seed": st.integers(0, 3),
            }
        ),
        "link": st.one_of(
            st.fixed_dictionaries(
                {
                    "outages_s": outages(max_ms=900),
                    "loss": st.sampled_from([0.0, 0.05, 0.4]),
                    "delay_s": DELAYS,
                }
            ),
            st.fixed_dictionaries(
                {"outages_s": outages(max_ms=900), "sharing": st.just("fair"), "delay_s": DELAYS}
            ),
        ),
        "server": st.fixed_dictionaries({"crashes_s": outages(max_ms=900)}),
        "downlink": st.fixed_dictionaries(
            {"mean_mbps": st.sampled_from([0.05, 100.0, 100.0]), "delay_s": st.just(0.001)}
        ),
        "scheduler": st.fixed_dictionaries({"name": st.sampled_from(["ea", "latency"])}),
        "cameras": st.integers(1, 2),
        "in_flight": st.sampled_from([None, 1]),
        "cloud": st.sampled_from(["rtx_3080", "jetson_xavier_nx"]),  # fast, or slow to decode
        "codec_time": st.sampled_from(["profile", "none"]),
        "payload": st.fixed_dictionaries({"codec": st.sampled_from(["jpeg", "raw"])}),
        "matching": st.fixed_dictionaries({"threshold": st.sampled_from([0.025, 0.005])}),
    }
)
OPTIONS = st.fixed_dictionaries(
    {
        "patience_s": st.sampled_from(
            [0.005, 0.05, 0.2, 1.0]
        ),  # shorter than the way there and back, and longer
        "opportunistic": st.booleans(),
        "chunk_blocks": st.sampled_from([4, 64]),
    }
)
SYSTEMS = st.sampled_from(["fluxshard_ea", "fluxshard_remap"])


def digest(image: PixelSharedImage) -> str:
    assert image.image is not None
    return hashlib.blake2b(image.image.tobytes()).hexdigest()


class Witness:
    """Remembers what either side has made of each message."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.made: dict[int, dict[int, str]] = {}  # message → image object → its bytes then
        self.messages: list[Message] = []  # kept, so that no other takes its id
        apply = PixelSharedImage.apply

        def applying(image: PixelSharedImage, message: Message) -> int:
            computed = apply(image, message)
            self.messages.append(message)
            self.made.setdefault(id(message), {})[id(image)] = digest(image)
            return computed

        patch.setattr(PixelSharedImage, "apply", applying)

    def check(self, done: Run) -> int:
        """Compare both sides; returns how many messages both have taken in."""
        both = 0
        for made in self.made.values():
            assert len(set(made.values())) == 1, "a message gave another image on the other side"
            both += len(made) == 2
        for camera in done.assembly.simulation.cameras:
            state: Any = camera.system.state  # type: ignore[attr-defined]
            server = state.server
            assert state.synchronised, "faults are over: the server must be found again"
            assert not server._early, "a message waits for ever"
            now = SimpleNamespace(cloud=camera.world.cloud, now_s=float(camera.world.env.now))
            # By a crash that the edge has not heard of, for want of a message.
            wiped = server._memory.lost(now)
            assert wiped or server.epoch in (-1, state.epoch)
            if not wiped and server.epoch == state.epoch:
                assert state.proxy.same_as(server.image)
        return both


@pytest.mark.filterwarnings("ignore:video.size_px", "ignore:system.salience", "ignore:scheduler")
@settings(max_examples=40)
@given(SYSTEMS, OPTIONS, FAULTS)
def test_both_sides_make_the_same_of_every_message_under_every_fault(
    system: str, options: dict[str, Any], faults: dict[str, Any]
) -> None:
    content = pixels(system, options=options, frames=FRAMES, **faults)
    with pytest.MonkeyPatch.context() as patch:
        witness = Witness(patch)
        done = run(content, drain=True)
        witness.check(done)


@given(st.permutations(range(1, 7)))
def test_messages_are_taken_in_by_the_order_of_their_sending_whatever_that_of_their_coming(
    arrivals: list[int],
) -> None:
    """A link that shares fairly lets a short message overtake a long one."""
    image = SimpleNamespace(version=1)
    server = ServerHalf(image, SimpleNamespace(), epoch=0)  # type: ignore[arg-type]
    processor = SimpleNamespace(is_down=lambda: False, crashes_s=())
    world: Any = SimpleNamespace(now_s=0.0, cloud=SimpleNamespace(processor=processor))
    server._memory.fill(world)
    taken: list[int] = []

    def take(builds_on: int) -> None:
        taken.append(builds_on)
        image.version += 1

    for builds_on in arrivals:
        server.in_turn(0, builds_on, lambda builds_on=builds_on: take(builds_on), world)  # type: ignore[misc]
        server.take_early()
    assert taken == sorted(arrivals)


@pytest.mark.filterwarnings("ignore:video.size_px", "ignore:system.salience")
@pytest.mark.parametrize("system", ["fluxshard_ea", "fluxshard_remap"])
def test_without_faults_every_message_is_taken_in_by_both_sides(system: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        witness = Witness(patch)
        near = {"delay_s": 0.001}
        done = run(pixels(system, frames=40, link=near, downlink=near), drain=True)
        assert witness.check(done) == len(witness.made) > 20
        assert (done.frames["path"] == "cloud").sum() > 10


def test_what_waited_for_a_lost_state_does_not_lose_the_new_one() -> None:
    """A crash wipes epoch 0, a message of which still waits there when epoch 1 begins."""
    image = SimpleNamespace(version=1, apply=lambda message: 7)
    features = SimpleNamespace(follow=lambda image, message, densely: None)
    server = ServerHalf(image, features)  # type: ignore[arg-type]
    processor = SimpleNamespace(is_down=lambda: False, crashes_s=((1.0, 1.1),))
    world: Any = SimpleNamespace(now_s=0.5, cloud=SimpleNamespace(processor=processor))
    whole, late, again = (
        SimpleNamespace(epoch=epoch, whole=is_whole) for epoch, is_whole in ((0, True), (0, False), (1, True))
    )
    refused: list[Any] = []
    assert server.receive(whole, world) == 7  # type: ignore[arg-type]
    server.in_turn(0, 5, lambda: refused.append(server.receive(late, world)), world)  # type: ignore[arg-type]
    world.now_s = 2.0
    assert server.receive(again, world) == 7  # type: ignore[arg-type]
    assert (refused, server.epoch) == ([None], 1)


@pytest.mark.filterwarnings("ignore:video.size_px", "ignore:system.salience")
@pytest.mark.parametrize("system", ["fluxshard_ea", "fluxshard_remap"])
@pytest.mark.parametrize("in_flight", [1, 4])
def test_a_restarted_server_is_used_again_a_patience_and_one_whole_frame_later(
    system: str, in_flight: int
) -> None:
    """One frame waits its patience out, one whole frame is sent, once; then frames go to the server again."""
    near = {"delay_s": 0.001}
    content = pixels(
        system,
        options={"patience_s": 0.3},
        frames=90,
        in_flight=in_flight,
        link=near,
        downlink=near,
        server={"crashes_s": [[1.0, 1.1]]},
    )
    done = run(content, drain=True)
    state: Any = done.assembly.simulation.cameras[0].system.state  # type: ignore[attr-defined]
    assert state.epoch == 1
    offloaded = done.frames[done.frames["path"] == "cloud"]["started_s"]
    assert not offloaded.between(1.05, 1.25).any()
    assert offloaded.between(1.45, 1.7).any()


@pytest.mark.filterwarnings("ignore:video.size_px")
@pytest.mark.parametrize("sharing", ["fifo", "fair"])
def test_a_server_is_found_again_over_a_link_whose_packets_are_further_apart_than_the_patience(
    sharing: str,
) -> None:
    """A packet every 40 ms, now and then none for 100, and 50 ms of patience: the frame takes its time."""
    content = pixels(
        options={"patience_s": 0.05},
        trace={"mean_mbps": 0.3, "duration_s": 5.0, "seed": 0},
        link={"sharing": sharing, "delay_s": 0.01},
        payload={"codec": "raw"},
        frames=300,
    )
    done = run(content)
    state: Any = done.assembly.simulation.cameras[0].system.state  # type: ignore[attr-defined]
    assert state.epoch > 0, "the first frame takes longer than the patience"
    assert state.synchronised
    assert state.server.epoch == state.epoch
