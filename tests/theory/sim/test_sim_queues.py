"""Single-server queues against theory, within an interval computed from regenerative cycles.

Waiting times of customers that follow one another are correlated, so their mean's interval is not that of
independent values. A queue forgets its past whenever a customer finds it empty; with (customers, sum of
waits) of each cycle between such customers, the ratio of sums estimates the mean wait and has the variance
Σ(Wᵢ − w·Nᵢ)² / (ΣNᵢ)²  (Law, Simulation Modeling and Analysis, §9.5.3). The mean must lie within 3.9 standard
errors: a right simulator fails one seed in ten thousand, and the seeds are fixed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from simpy import Environment

from sim.physics.link import Link, LinkConditions
from sim.physics.processor import Processor, operators
from sim.physics.trace_replay import replay
from traces.bandwidth.trace import RateTrace

CUSTOMERS = 60_000
SERVICE_S = 0.01
STANDARD_ERRORS = 3.9


def waits(load: float, seed: int, serve: Callable[[Environment, float], float], exponential: bool) -> Any:
    """Waits of Poisson arrivals; `serve` books a service time and returns when it begins."""
    rng = np.random.default_rng(seed)
    gaps_s = rng.exponential(SERVICE_S / load, CUSTOMERS)
    services_s = rng.exponential(SERVICE_S, CUSTOMERS) if exponential else np.full(CUSTOMERS, SERVICE_S)
    env = Environment()
    waited_s: list[float] = []

    def arrive() -> Iterator[Any]:
        for gap_s, service_s in zip(gaps_s.tolist(), services_s.tolist(), strict=True):
            yield env.timeout(gap_s)
            waited_s.append(serve(env, service_s) - env.now)

    env.process(arrive())  # type: ignore[arg-type]
    env.run()
    return np.array(waited_s)


def mean_and_standard_error(waited_s: NDArray[np.float64]) -> tuple[float, float]:
    """Mean wait and its standard error, from the cycles that begin with a customer who need not wait."""
    starts = np.flatnonzero(waited_s <= 1e-12)
    cycles = [part for part in np.split(waited_s, starts) if len(part)][:-1]
    sums = np.array([part.sum() for part in cycles])
    sizes = np.array([len(part) for part in cycles])
    mean = sums.sum() / sizes.sum()
    return mean, math.sqrt(((sums - mean * sizes) ** 2).sum()) / sizes.sum()


def on_processor() -> Callable[[Environment, float], float]:
    made: dict[Environment, Processor] = {}
    return lambda env, s: made.setdefault(env, Processor(env, "server")).reserve(s).began_s


def on_link() -> Callable[[Environment, float], float]:
    """A link of 1.2 Mbit/s carries a packet of 1500 bytes in 10 ms."""
    trace = RateTrace("constant", np.zeros(1), np.array([1500 * 8 / SERVICE_S]), 1.0)
    made: dict[Environment, Link] = {}
    return lambda env, _: (
        made.setdefault(env, Link(env, replay(trace), LinkConditions())).reserve(1500).began_s
    )


@pytest.mark.parametrize("load", [0.3, 0.6, 0.8])
@pytest.mark.parametrize(("queue", "variation"), [("M/D/1", 0.0), ("M/M/1", 1.0), ("M/D/1 on a link", 0.0)])
def test_mean_wait_is_pollaczek_and_khinchines(queue: str, variation: float, load: float) -> None:
    """W = ρ·(1 + C²)·s / (2·(1 − ρ)), C² the squared coefficient of variation of the service time s."""
    serve = on_link() if "link" in queue else on_processor()
    mean_s, error_s = mean_and_standard_error(waits(load, 7, serve, exponential=variation > 0))
    expected_s = load * (1 + variation) * SERVICE_S / (2 * (1 - load))
    assert abs(mean_s - expected_s) < STANDARD_ERRORS * error_s
    assert error_s < 0.05 * expected_s, "the interval is too wide to say anything"


@pytest.mark.parametrize("load", [0.3, 0.8])
def test_the_share_of_customers_who_wait_is_the_load(load: float) -> None:
    """Poisson arrivals see time averages: P(wait > 0) = ρ."""
    waited = waits(load, 11, on_processor(), exponential=False) > 1e-12
    cycles = np.diff(np.flatnonzero(~waited))  # customers of a cycle; all but the first wait
    share = 1 - len(cycles) / cycles.sum()
    error = math.sqrt((((cycles - 1) - share * cycles) ** 2).sum()) / cycles.sum()
    assert abs(share - load) < STANDARD_ERRORS * error


def test_background_work_of_short_operators_adds_at_most_one_to_a_wait() -> None:
    """A job that finds the server idle waits for the operator that runs, and for no other."""
    operator_s = 0.002

    def serve(env: Environment, service_s: float) -> float:
        processor = made.setdefault(env, Processor(env, "edge"))
        if not processor.refreshing:
            processor.refresh(operators(operator_s * 50, 50), lambda: None)
        return processor.reserve(service_s).began_s

    made: dict[Environment, Processor] = {}
    disturbed_s = waits(0.5, 3, serve, exponential=True)
    alone_s = waits(0.5, 3, on_processor(), exponential=True)
    assert disturbed_s.mean() > alone_s.mean() + 0.1 * operator_s
    assert np.all(disturbed_s >= alone_s - 1e-9)
    assert np.all(disturbed_s <= alone_s + operator_s + 1e-9)
