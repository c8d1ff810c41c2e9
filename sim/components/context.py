"""What a system is built from: everything that is known before the first frame."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from profiler.latency import Cut, Profile
from sim.accuracy.network import NetworkInLoop, NetworkMaker, no_network
from sim.accuracy.region_finder import FinderMaker, FinderRequest, RegionFinder
from sim.accuracy.staged import StagedInLoop, no_stages
from sim.configuration.sections import MatchingConfig
from sim.physics.estimators import BandwidthEstimator
from sim.schedulers import OracleScheduler, Scheduler
from sim.shared_work import NOTHING_KEPT, SharedWork
from sim.world.frame import FrameGeometry
from traces.errors import InputError

if TYPE_CHECKING:
    from kernels.codecs.block_codecs import BlockCodec
    from kernels.codecs.frame_codecs import FrameCodec
    from traces.video.block_statistics import BlockSampler


def _no_codec(name: str | None, quality: int | None) -> BlockCodec:
    raise InputError(f"system.codec: expected null where only the payload's codec is known, found {name!r}")


def _no_cuts() -> tuple[Cut, ...]:
    raise InputError("model.split: expected a table of the network's cuts, found none")


def _no_finder(request: FinderRequest) -> RegionFinder:
    raise InputError(f"system.detector: expected a run that can make one, found none for {request.card!r}")


@dataclass(frozen=True, slots=True, eq=False)
class SystemContext:
    """What one camera's system may build on.

    Args:
        geometry: size of the frames and their blocks.
        edge, cloud: both devices' latency profiles of the model.
        scheduler: picks path and number of blocks.
        codec: the payload's: how blocks are encoded unless a system chooses otherwise.
        codecs: makes the codec of a name and a quality; None is the payload's.
        matching: how blocks are searched and classified.
        networks: makes the network that runs in the loop; one that does nothing where none runs.
        network_name: of the network that runs in the loop; None: none does, or nobody says.
        staged: the network that runs in the loop in stages, with its exits; refuses where none has them.
        cuts: reads where the model can be cut between edge and cloud.
        finders: makes a small network on the edge that says where in a frame there is something.
        estimator: what is believed of the uplink; the world asks it on the system's behalf.
        rng: randomness of the system's own; the same seed gives the same numbers.
        regret_against: an oracle to report regret against; None where nobody asked.
        counts: block counts and sizes of a video without pixels; None where frames have pixels.
        work: what is the same in other runs, by a key of all that it follows from.
    """

    geometry: FrameGeometry
    edge: Profile
    cloud: Profile
    scheduler: Scheduler
    codec: BlockCodec
    matching: MatchingConfig = field(default_factory=MatchingConfig)
    codecs: Callable[[str | None, int | None], BlockCodec] = _no_codec
    networks: NetworkMaker = no_network
    network_name: str | None = None
    staged: Callable[[], StagedInLoop] = no_stages
    cuts: Callable[[], tuple[Cut, ...]] = _no_cuts
    finders: FinderMaker = _no_finder
    estimator: BandwidthEstimator | None = None
    rng: np.random.Generator = field(default_factory=lambda: np.random.default_rng(0))
    regret_against: OracleScheduler | None = None
    counts: BlockSampler | None = None
    work: SharedWork = NOTHING_KEPT

    def block_codec(self, name: str | None = None, quality: int | None = None) -> BlockCodec:
        """What codes blocks: the payload's codec and quality where a system's own are None.

        Raises:
            InputError: no such codec, or a quality that it refuses.
        """
        return self.codec if name is None and quality is None else self.codecs(name, quality)

    def frame_codec(self, name: str | None = None, quality: int | None = None) -> FrameCodec:
        """The same for whole frames: see :func:`kernels.codecs.payload_frames.frame_codec_of`."""
        from kernels.codecs.payload_frames import frame_codec_of

        return frame_codec_of(self.block_codec(name, quality), self.geometry.block_px)

    def network(self, policy: str = "fixed", sampling: str = "bilinear", margin_px: int = 0) -> NetworkInLoop:
        """The network that runs in the loop.

        Args:
            policy: how computed blocks go through it: "fixed" (the same at every layer) or "truncate" (what
                they change spreads, and is pruned where it is small). `accuracy.policy` may override it.
            sampling: how maps are read along vectors: "bilinear" or "nearest". `accuracy.sampling` may
                override it.
            margin_px: how far beyond the computed blocks every layer computes; see `kernels/executor`.
        """
        return self.networks(policy, sampling, margin_px)

    def need_pixels(self, what: str) -> None:
        """Refuse a video without pixels.

        Args:
            what: the part of the system that needs them, for the message.

        Raises:
            InputError: the video has none.
        """
        if self.counts is not None:
            raise InputError(
                f"video.kind: this system needs {what}, which recorded statistics do not hold: expected "
                "scene or file, found 'statistical'"
            )
