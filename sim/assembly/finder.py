"""The small network that a system wants on its edge: which one runs, and how long it takes there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from profiler.latency import Profile
from sim.accuracy.choice import NetworkChoice, choose_network
from sim.accuracy.region_finder import FinderRequest, NetworkFinder, open_finder
from sim.configuration.model_card import read_card
from sim.configuration.sections import ModelConfig, RunConfig
from sim.physics.processor import Processor
from sim.shared_work import SharedWork
from sim.world.device import Device, Noise
from sim.world.frame import FrameGeometry
from traces.errors import InputError


@dataclass(frozen=True, slots=True, eq=False)
class FinderSource:
    """Makes one camera's finder when a system asks for it.

    Args:
        config: the run.
        network: what runs in its loop; None: nothing does.
        geometry: of the frames.
        profile: of the edge, by model card.
        edge: the camera's edge.
        noise: scatter of its times; None where a run has none.
        work: where results are shared with other runs.
    """

    config: RunConfig
    network: NetworkChoice | None
    geometry: FrameGeometry
    profile: Callable[[ModelConfig], Profile]
    edge: Processor
    noise: Noise | None
    work: SharedWork

    def __call__(self, request: FinderRequest) -> NetworkFinder:
        """The finder.

        Raises:
            InputError: no such card, network, weights or profile; or a stand-in for another kind of video
                than it knows.
        """
        folders = self.config.config_folders
        if request.weights is not None and not Path(request.weights).expanduser().is_file():
            raise InputError(
                f"system.detector_weights: expected a safetensors file, found none at {request.weights}"
            )
        try:
            card = read_card({"name": request.card}, folders)
            choice = choose_network(replace(card, weights=request.weights or card.weights), folders)
        except InputError as error:
            raise InputError(f"system.detector: {error}") from None
        if choice.stands_in:
            self._check_stand_in(card, choice)
        longer_px = request.stand_in_px if choice.stands_in else max(card.resolution_px)
        return open_finder(choice, self.geometry, longer_px, self._seconds(request, card), self.work)

    def _check_stand_in(self, card: ModelConfig, choice: NetworkChoice) -> None:
        """Refuse a stand-in that has never seen what the run's video shows."""
        knows = (
            self.config.video.kind == "scene" if self.network is None else self.network.name == choice.name
        )
        if not knows:
            runs = (
                f"{self.network.name!r} in the loop"
                if self.network
                else f"video.kind {self.config.video.kind}"
            )
            raise InputError(
                f"system.detector_weights: expected a safetensors file of {card.network!r}, whose stand-in "
                f"{choice.name!r} knows the embedded scenes alone, found none, and {runs}"
            )

    def _seconds(self, request: FinderRequest, card: ModelConfig) -> Callable[[], float]:
        if (seconds := request.seconds) is not None:
            return lambda: seconds
        try:
            profile = self.profile(card)
        except InputError as error:
            raise InputError(f"system.detector_s: expected a time, or a profile: {error}") from None
        return Device(self.edge, profile, self.noise).dense_s
