"""The staged network itself: see :mod:`sim.accuracy.staged`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from kernels.codecs.feature_codec import FeatureCodec, named
from kernels.models.exit_tables import ExitTables, read_exit_tables
from kernels.models.networks.exit_heads import confidence, to_output_stride
from kernels.models.networks.staged import INPUT, OUTPUT, Maps, StagedNetwork, shares
from kernels.models.predictions.results import Segmentation
from kernels.models.predictions.tasks import unpack
from profiler.latency import Cut
from sim.accuracy.inference import Inference
from sim.accuracy.network import Image
from sim.accuracy.staged import ExitAnswer


@dataclass(slots=True, eq=False)
class RunningFrame:
    """One frame's maps after a stage."""

    stages: RunningStages
    at: str
    maps: Maps

    def advance(self, until: str) -> None:
        self.maps = self.stages.network.run(self.maps, self.at, until)
        self.at = until

    def exit(self) -> ExitAnswer:
        logits, embedding = self.stages.network.exit(self.maps, self.at)
        return ExitAnswer(self.stages.inference.result(logits), confidence(logits), embedding[0].numpy())

    def message(self, bits: int) -> bytes:
        _, features = named({name: tensor[0].numpy() for name, tensor in self.maps.items()})
        return FeatureCodec(bits).encode(features)

    def result(self) -> bytes:
        return self.stages.inference.result(self.maps[OUTPUT])


@dataclass(frozen=True, slots=True, eq=False)
class RunningStages:
    """A staged network that runs on frames of one size.

    Args:
        network: the network with its exits.
        inference: reads its outputs.
    """

    network: StagedNetwork
    inference: Inference
    cuts: tuple[Cut, ...] = field(init=False)
    heads: Mapping[str, float] = field(init=False)
    tables: ExitTables = field(init=False)

    def __post_init__(self) -> None:
        geometry = self.inference.geometry
        trunk, heads = shares(self.network)
        sizes = self.network.elements(geometry.height_px, geometry.width_px)
        cuts = (
            Cut(name, len(live), sum(sizes[each] for each in live), trunk[name])
            for name in self.network.stages
            for live in (self.network.live_after(name),)
        )
        object.__setattr__(self, "cuts", tuple(cuts))
        object.__setattr__(self, "heads", heads)
        object.__setattr__(self, "tables", read_exit_tables())

    @property
    def classes(self) -> int:
        return self.network.classes

    def start(self, image: Image) -> RunningFrame:
        return RunningFrame(self, INPUT, {INPUT: self.inference.tensor(image)})

    def receive(self, data: bytes, after: str, bits: int) -> RunningFrame:
        names = sorted(self.network.live_after(after))
        arrived = FeatureCodec(bits).decode(data)
        maps = {name: torch.from_numpy(each)[None] for name, each in zip(names, arrived, strict=True)}
        return RunningFrame(self, after, maps)

    def result_of(self, scores: NDArray[np.float32]) -> bytes:
        height_px = self.inference.geometry.height_px
        maps = torch.from_numpy(np.ascontiguousarray(scores))[None]
        return self.inference.result(to_output_stride(maps, height_px // scores.shape[1]))

    def classes_of(self, result: bytes, rows: int, columns: int) -> NDArray[np.uint8]:
        said = unpack(result)
        assert isinstance(said, Segmentation)  # of networks with exits only, which segment
        found: NDArray[np.uint8] = said.classes
        down, across = found.shape[0] // rows, found.shape[1] // columns
        return found[down // 2 :: down, across // 2 :: across]
