"""How long FluxShard's edge waits for an answer, on links of any propagation delay."""

from __future__ import annotations

from typing import Any

import pytest

from sim.assembly import assemble
from sim.components.synchronisation import AnswerTime, Synchronisation
from sim.configuration import read_config
from tests.conservation.test_reuse_family import CloudFirst, systems
from tests.strategies.sim import pixels

pytestmark = pytest.mark.filterwarnings("ignore:video.size_px", "ignore:system.salience")
CRASH_S = (3.0, 3.1)


def resynchronisations(
    member: str, delay_s: float, patience_s: float, monkeypatch: pytest.MonkeyPatch, **changes: Any
) -> tuple[list[float], Any]:
    """When each began, and the frames. Every frame goes to the server while there is one."""
    began_s: list[float] = []
    start_over = Synchronisation.start_over

    def starting(state: Synchronisation, world: Any) -> None:
        began_s.append(world.now_s)
        start_over(state, world)

    content = pixels(
        member,
        options={"patience_s": patience_s, "opportunistic": False, "margin_px": 0, "dense_fallback": False},
        **{
            "link": {"delay_s": delay_s},
            "downlink": {"delay_s": delay_s},
            "trace": {"mean_mbps": 60.0, "duration_s": 5.0, "seed": 3},
            "frames": 330,
            "in_flight": 4,
            **changes,
        },
    )
    assembly = assemble(read_config(content))
    for system in systems(assembly):
        system.scheduler = CloudFirst()
    with monkeypatch.context() as patch:
        patch.setattr(Synchronisation, "start_over", starting)
        result = assembly.simulation.run(drain=True)
    (system,) = systems(assembly)
    assert system.state.synchronised
    assert system.proxy.same_as(system.server.image)
    return began_s, result.table.to_frame(assembly.metric, with_regret=True)


@pytest.mark.parametrize("member", ["fluxshard_ea", "fluxshard_remap"])
@pytest.mark.parametrize(
    ("delay_s", "patience_s"),
    [
        *((delay_s, 1.0) for delay_s in (0.005, 0.025, 0.1, 0.2, 0.4)),
        *((delay_s, 0.3) for delay_s in (0.005, 0.1, 0.2, 0.4)),
        *((delay_s, 0.02) for delay_s in (0.025, 0.1, 0.2, 0.4)),
    ],
)
def test_a_server_that_restarts_once_is_resynchronised_once_however_far_it_is(
    member: str, patience_s: float, delay_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    began_s, frames = resynchronisations(
        member, delay_s, patience_s, monkeypatch, server={"crashes_s": [list(CRASH_S)]}
    )
    assert len(began_s) == 1
    assert began_s[0] > CRASH_S[0]
    answered = frames[(frames["path"] == "cloud") & (frames["outcome"] == "completed")]
    assert (answered["latency_s"] > 2 * delay_s).all()
    assert answered["captured_s"].between(0.0, CRASH_S[0] - 2 * delay_s - 0.1).sum() >= 5
    assert (answered["captured_s"] > began_s[0] + 2 * delay_s + 0.1).sum() >= 5  # it has been found again


@pytest.mark.parametrize("delay_s", [0.025, 0.4])
def test_a_server_that_never_restarts_is_never_resynchronised(
    delay_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    began_s, _ = resynchronisations("fluxshard_ea", delay_s, 0.02, monkeypatch)
    assert began_s == []


def test_the_wait_is_the_patience_where_answers_are_quick() -> None:
    answers = AnswerTime(1.0)
    answers.expect(0.05)
    for _ in range(20):
        assert answers.wait_s == 1.0
        answers.learn(0.08)


def test_the_wait_is_half_as_long_again_as_the_longest_answer_where_that_is_longer() -> None:
    answers = AnswerTime(0.1)
    answers.expect(0.2)
    assert answers.wait_s == pytest.approx(0.3)
    for took_s in (0.3, 0.8, 0.4):
        answers.learn(took_s)
    assert answers.wait_s == pytest.approx(1.2)
    for _ in range(32):  # what is longer ago is forgotten
        answers.learn(0.04)
    assert answers.wait_s == 0.1


def test_it_doubles_with_each_answer_that_does_not_come_until_one_does() -> None:
    answers = AnswerTime(0.5)
    for factor in (1, 2, 4, 8):
        assert answers.wait_s == factor * 0.5
        answers.missed()
    answers.learn(0.1)
    assert answers.wait_s == 0.5
