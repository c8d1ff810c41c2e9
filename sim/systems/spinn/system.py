"""SPINN: a network cut between edge and cloud, in the FluxShard paper's reading and in its own.

``static`` (first paper): cut once, features uncompressed; :mod:`sim.systems.spinn.static`.
``progressive`` (SPINN itself): early exits, quantised features, cut and threshold chosen before each frame;
:mod:`sim.systems.spinn.progressive`.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from math import isfinite
from typing import Any, Literal, get_args

from sim.components.context import SystemContext
from sim.components.message_sizes import check_result_bytes
from sim.components.payload import Payload
from sim.components.splits import FLOAT_BITS
from sim.records.outcome import Outcome
from sim.systems.spinn.progressive import FEATURES, Progressive, ProgressiveOptions
from sim.systems.spinn.static import StaticSplit
from sim.world.frame import Frame
from sim.world.frame_world import FrameWorld
from traces.errors import InputError

Variant = Literal["static", "progressive"]
FEATURE_BITS = {"static": FLOAT_BITS, "progressive": 8}


class Spinn:
    """One camera's SPINN."""

    works_without_pixels = True  # in the variant ``static``
    max_in_flight = 4  # no frame builds on another

    @dataclass(frozen=True, slots=True)
    class Options:
        """How SPINN is read, and how it decides.

        Args:
            variant: "static" or "progressive".
            after: the layer to cut after; None chooses: the fastest cut at `nominal_bps` (`static`), one
                before each frame (`progressive`).
            nominal_bps: the uplink that the cut is chosen for: the papers' medium level (`static`), or what
                is believed before anything was sent (`progressive`).
            bits: of a feature value on the wire; None: 32, float32 as it is (`static`), or 8 (`progressive`).
            ends: whether the cut may be at the input, which sends whole frames in the payload's codec, or at
                the output (`progressive`).
            threshold: how sure an exit must be, in [0, 1]; 1 never leaves early; None: one before each frame
                (`progressive`).
            accuracy_floor: the least accuracy that a pair of cut and threshold may be expected to have, as
                agreement with the final output (`progressive`).
            deadline_s: from capture; then the latest answer of the edge's exits stands (`progressive`).
            result_bytes: size of a result on the downlink; None: of the network's result.
        """

        variant: Variant = "static"
        after: str | None = None
        nominal_bps: float = 56e6
        bits: int | None = None
        ends: bool = True
        threshold: float | None = None
        accuracy_floor: float = 0.95
        deadline_s: float = 0.25
        result_bytes: int | None = None

        def __post_init__(self) -> None:
            if self.variant not in get_args(Variant):
                expected = " or ".join(get_args(Variant))
                raise InputError(f"system.variant: expected {expected}, found {self.variant!r}")
            if not (isfinite(self.nominal_bps) and self.nominal_bps > 0.0):
                raise InputError(f"system.nominal_bps: expected a rate > 0 bit/s, found {self.nominal_bps}")
            most, fewest = FEATURE_BITS[self.variant], 1 if self.variant == "static" else 2
            if not fewest <= self.feature_bits <= most:
                raise InputError(
                    f"system.bits: expected {fewest} to {most} bits a value with "
                    f"system.variant={self.variant}, found {self.bits}"
                )
            for name, value in (("threshold", self.threshold), ("accuracy_floor", self.accuracy_floor)):
                if value is not None and not 0.0 <= value <= 1.0:
                    raise InputError(f"system.{name}: expected a number in [0, 1], found {value}")
            if not (isfinite(self.deadline_s) and self.deadline_s > 0.0):
                raise InputError(f"system.deadline_s: expected a time > 0 s, found {self.deadline_s}")
            check_result_bytes(self.result_bytes)

        @property
        def feature_bits(self) -> int:
            """`bits`, or the variant's own."""
            return FEATURE_BITS[self.variant] if self.bits is None else self.bits

        @property
        def unmeasured(self) -> str | None:
            """Why accuracy cannot be measured: features are quantised, and what runs may be a stand-in."""
            if self.variant == "progressive" or self.feature_bits == FLOAT_BITS:
                return None
            return (
                f"system.bits={self.bits} quantises features of the run's model, which may not be what runs"
            )

    def __init__(self, context: SystemContext, options: Options) -> None:
        self.payload_codec: str | None = None
        self.payload_quality: float | None = None
        self.way: StaticSplit | Progressive
        if options.variant == "static":
            bits = options.feature_bits
            self.way = StaticSplit(context, options.after, options.nominal_bps, bits, options.result_bytes)
            return
        payload = Payload.of(context.block_codec())
        self.payload_codec, self.payload_quality = payload.codec, payload.quality
        if not options.ends:
            self.payload_codec, self.payload_quality = FEATURES, options.feature_bits
        self.way = Progressive(
            context,
            ProgressiveOptions(
                options.after,
                options.ends,
                options.threshold,
                options.accuracy_floor,
                options.deadline_s,
                options.nominal_bps,
                options.feature_bits,
                options.result_bytes,
            ),
            payload,
            context.frame_codec(),
        )

    def process(self, frame: Frame, world: FrameWorld) -> Generator[Any, Any, Outcome]:
        """Cut, send, and go on in the cloud, or leave early."""
        outcome = yield from self.way.process(frame, world)
        return outcome
