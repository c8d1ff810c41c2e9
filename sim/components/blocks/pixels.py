"""Blocks of pixels: vectors, differences, bytes and decoded blocks are really computed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kernels.codecs.block_codecs import BlockCodec, JpegAtlas, PredictedBlockCodec
from kernels.codecs.block_payload import (
    DecodedBlocks,
    apply_blocks,
    decode_blocks,
    encode_blocks,
    overhead_bytes,
)
from kernels.codecs.block_pixels import gather_blocks, paste_blocks
from kernels.motion.classification import active_blocks
from kernels.motion.field import MotionField
from kernels.motion.image_pyramid import ImagePyramid, build_pyramid
from kernels.motion.warp import warp_blocks_map, warp_image
from sim.components.blocks.alignment import ALIGNERS, Aligner, Target, make_aligner
from sim.components.blocks.interface import Classifier, Computed, Match, Message, SharedImage
from sim.components.blocks.margin import check_margin, computed_count, computed_counts, margin_reach
from sim.components.payload import Payload
from sim.records.outcome import RestsOn
from sim.shared_work import NOTHING_KEPT, SharedWork, code_digest, digest
from sim.world.frame import Frame, FrameGeometry
from traces.errors import InputError


@dataclass(frozen=True, slots=True)
class BlockOptions:
    """How blocks are searched, classified and encoded.

    Args:
        threshold: τ, the mean difference on [0, 1] from which a block counts as changed.
        radius_px: half the side of the search window.
        aligner: one of ALIGNERS.
        codec: how blocks are encoded.
        work: where searches are shared with other runs.
        margin_px: how far beyond given blocks inference computes.
    """

    threshold: float = 0.025
    radius_px: int = 16
    aligner: str = "search"
    codec: BlockCodec = field(default_factory=lambda: JpegAtlas(JpegAtlas.Options()))
    work: SharedWork = NOTHING_KEPT
    margin_px: int = 0

    def __post_init__(self) -> None:
        if not 0.0 <= self.threshold <= 1.0:
            raise InputError(
                f"matching.threshold: expected a mean difference in [0, 1], found {self.threshold}"
            )
        if self.aligner not in ALIGNERS:
            raise InputError(
                f"matching.aligner: expected one of {', '.join(ALIGNERS)}, found {self.aligner!r}"
            )
        if self.radius_px < 0:
            raise InputError(f"matching.radius_px: expected a radius >= 0 px, found {self.radius_px}")
        check_margin(self.margin_px)


@dataclass(slots=True, eq=False)
class PixelReference:
    """An image that frames are searched in."""

    options: BlockOptions
    geometry: FrameGeometry
    aligner: Aligner
    image: NDArray[np.uint8] | None = None
    frame_index: int = -1
    _levels: ImagePyramid | None = None
    _last: Match | None = None

    def match(self, frame: Frame, classify: Classifier | None = None) -> Match:
        if self.image is None:
            return Match(np.arange(self.geometry.blocks_total, dtype=np.int32), None, frame.index)
        found = self._shared(frame) if self.options.work.kept else self._align(frame)
        active = active_blocks(found, self.options.threshold) if classify is None else classify(found)
        self._last = Match(active, found.vectors, frame.index, found.difference)
        return self._last

    def computed(self, match: Match) -> Computed:
        return self._computed_with(match, np.empty(0, np.int32))

    def _computed_with(self, match: Match, others: NDArray[np.integer]) -> Computed:
        reach = self._reach
        if not reach:
            return Computed(len(others))
        return Computed(counts=computed_counts(self.geometry, np.asarray(match.active), reach, others))

    @property
    def _reach(self) -> int:
        return margin_reach(self.options.margin_px, self.geometry.block_px)

    def _shared(self, frame: Frame) -> MotionField:
        """The motion field, from another run that has searched the same pixels from the same start."""
        assert self.image is not None
        if self.options.aligner != "search":  # an encoder's vectors follow from more than two images
            return self._align(frame)
        work, last = self.options.work, self._last
        start = (0, 0, None) if last is None else (self.frame_index, last.frame_index, last.vectors)
        key = digest(
            *("search", code_digest("kernels"), code_digest("sim.components.blocks")),
            *(
                self.geometry.block_px,
                self.options.radius_px,
                work.key_of(frame.pixels),
                work.key_of(self.image),
            ),
            *(frame.index if last is not None else 0, *start),
        )
        shape = self.geometry.rows, self.geometry.columns
        if (known := work.get(key)) is not None:
            split = 4 * shape[0] * shape[1]
            vectors = np.frombuffer(known[:split], "<i2").reshape(*shape, 2).astype(np.int16)
            return MotionField(vectors, np.frombuffer(known[split:], "<f4").reshape(shape).astype(np.float32))
        found = self._align(frame)
        work.put(key, found.vectors.astype("<i2").tobytes() + found.difference.astype("<f4").tobytes())
        return found

    def _align(self, frame: Frame) -> MotionField:
        assert self.image is not None
        if self._levels is None and self.options.aligner == "search":
            self._levels = build_pyramid(self.image, "reference")
        last = self._last
        target = Target(
            self.image,
            self._levels,
            self.frame_index,
            None if last is None else last.vectors,
            -1 if last is None else last.frame_index,
        )
        return self.aligner.align(frame, target)

    def replace(self, frame: Frame) -> None:
        self.image = frame.pixels
        self.frame_index = frame.index
        self._levels = frame.prepared
        self._last = None

    def moved(self, frame: Frame, match: Match, processed: int) -> RestsOn:
        reference, block_px = self.image, self.geometry.block_px

        def image() -> NDArray[np.uint8]:
            if reference is None or match.vectors is None:  # what was not computed is a black frame's
                moved = np.zeros_like(frame.pixels, order="C")
            else:
                moved = warp_image(reference, match.vectors, block_px)
            taken = np.asarray(match.active[:processed], np.int32)
            return paste_blocks(moved, taken, gather_blocks(frame.pixels, taken, block_px))

        return image


@dataclass(slots=True, eq=False)
class PixelSharedImage(PixelReference):
    """The server's image, as edge and server each build it from the messages.

    `covered` are the flat indices of the blocks that inference is given for the last message.
    """

    version: int = 0
    covered: NDArray[np.intp] = field(default_factory=lambda: np.empty(0, np.intp))
    _dirty_since: NDArray[np.int32] | None = field(default=None)  # version a block became dirty at; 0: clean

    def apply(self, message: Message) -> int:
        decoded = self._decoded(message)
        self.version = 1 if message.whole else self.version + 1
        if self.image is None or message.whole:
            rows, columns, side = decoded.rows, decoded.columns, decoded.block_px
            before = np.empty((rows * side, columns * side, 3), np.uint8)
            self._dirty_since = np.zeros((rows, columns), np.int32)
        else:
            before = self.image
        assert self._dirty_since is not None
        if decoded.vectors is not None and self._dirty_since.any():
            self._dirty_since = np.asarray(
                warp_blocks_map(self._dirty_since, decoded.vectors, decoded.block_px), np.int32
            )
        self.image = apply_blocks(before, decoded)  # anew: what has been handed out stays as it was
        self._levels = None
        if message.realigned or message.whole:
            self._last = None
            self.frame_index = message.frame_index
        dirty = self._dirty_since.reshape(-1)
        dirty[decoded.indices] = self.version
        self.covered = np.flatnonzero(dirty) if message.inferred else np.empty(0, np.intp)
        if message.inferred:
            dirty[:] = 0
        return computed_count(self.geometry, self.covered, self._reach)

    def computed(self, match: Match) -> Computed:
        return self._computed_with(match, self._dirty(match))

    def dirty_blocks(self, match: Match | None = None) -> int:
        return len(self._dirty(match))

    def _dirty(self, match: Match | None) -> NDArray[np.intp]:
        dirty = self._dirty_since
        if dirty is None or not dirty.any():
            return np.empty(0, np.intp)
        if match is not None and match.vectors is not None:
            dirty = warp_blocks_map(dirty, match.vectors, self.geometry.block_px)
        return np.flatnonzero(dirty)

    def clean(self, version: int) -> None:
        if self._dirty_since is not None:
            self._dirty_since[self._dirty_since <= version] = 0

    def computed_blocks(self) -> tuple[NDArray[np.uint8], NDArray[np.intp]]:
        assert self.image is not None
        return self.image, self.covered

    def rests_on(self) -> RestsOn:
        assert self.image is not None
        return self.image

    def same_as(self, other: SharedImage) -> bool:
        assert isinstance(other, PixelSharedImage)
        if self.image is None or other.image is None:
            return self.image is other.image
        assert self._dirty_since is not None
        assert other._dirty_since is not None
        return np.array_equal(self.image, other.image) and np.array_equal(
            self._dirty_since > 0, other._dirty_since > 0
        )

    def _decoded(self, message: Message) -> DecodedBlocks:
        """Decode a message once; both ends see what the bytes say, lossy codecs included.

        Where blocks are coded against this image each end decodes with its own: they are equal because the
        images are, not because one end has looked at the other's.
        """
        assert message.data is not None
        codec = self.options.codec
        if isinstance(codec, PredictedBlockCodec) and not message.whole:
            message.decoded = decode_blocks(message.data, codec, self.image)
        elif message.decoded is None:
            message.decoded = decode_blocks(message.data, codec)
        decoded: DecodedBlocks = message.decoded
        return decoded


@dataclass(slots=True, eq=False)
class PixelBlocks:
    """One camera's blocks of a video with pixels."""

    geometry: FrameGeometry
    options: BlockOptions = field(default_factory=BlockOptions)
    aligner: Aligner = field(init=False)
    payload: Payload = field(init=False)

    def __post_init__(self) -> None:
        options, block_px = self.options, self.geometry.block_px
        self.payload = Payload.of(options.codec, block_px)
        if options.aligner == "h264" and block_px != 16:
            raise InputError(
                f"payload.block_px: matching.aligner=h264 has vectors for 16 px, found {block_px}"
            )
        self.aligner = make_aligner(options.aligner, options.radius_px, block_px)

    @property
    def blocks_total(self) -> int:
        """Blocks of a frame."""
        return self.geometry.blocks_total

    def reference(self) -> PixelReference:
        """An empty reference."""
        return PixelReference(self.options, self.geometry, self.aligner)

    def shared_image(self) -> PixelSharedImage:
        """An empty shared image."""
        return PixelSharedImage(self.options, self.geometry, self.aligner)

    def message(
        self,
        frame: Frame,
        blocks: Any,
        match: Match,
        epoch: int,
        *,
        inferred: bool,
        realign: bool,
        against: SharedImage | None = None,
    ) -> Message:
        """Encode blocks of a frame, with all vectors if `realign`."""
        vectors = match.vectors if realign else None
        codec, block_px = self.options.codec, self.geometry.block_px
        reference = against.image if isinstance(against, PixelSharedImage) else None
        data = encode_blocks(frame.pixels, blocks, vectors, codec, block_px, reference)
        return Message(
            epoch=epoch,
            frame_index=frame.index,
            size_bytes=len(data),
            overhead_bytes=overhead_bytes(data),
            blocks=len(blocks),
            whole=False,
            inferred=inferred,
            realigned=vectors is not None,
            unsent=len(match.active) - len(blocks),
            data=data,
        )

    def whole_message(self, frame: Frame, epoch: int, *, inferred: bool = True) -> Message:
        """Encode all blocks of a frame: the start of an epoch."""
        everything = Match(np.arange(self.blocks_total, dtype=np.int32), None, frame.index)
        message = self.message(frame, everything.active, everything, epoch, inferred=inferred, realign=False)
        message.whole = True
        return message

    def block_bytes(self) -> float:
        """Typical bytes of a block, before anything was sent."""
        return self.options.codec.typical_block_bytes * (self.geometry.block_px / 16) ** 2
