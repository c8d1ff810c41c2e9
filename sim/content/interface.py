"""The face that pixels and statistics have in common."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray


@dataclass(slots=True, eq=False)
class Frame:
    """One captured frame. `image` is (H, W, 3) uint8 RGB; None where the video is statistical.

    `index` counts the camera's frames; `prepared` holds what a search needs of the image, made once.
    """

    index: int
    captured_s: float
    image: NDArray[np.uint8] | None = None
    prepared: Any = None


@dataclass(frozen=True, slots=True, eq=False)
class Match:
    """A frame against one reference.

    Args:
        active: flat indices of the blocks to recompute, the most different first. Where only counts are
            known it is a range, of which nothing but the length means anything.
        vectors: (rows, columns, 2) int16 motion vectors; None where only counts are known, or where there
            was no reference to search.
        frame_index: the frame that was searched.
    """

    active: Sequence[int] | NDArray[np.int32]
    vectors: NDArray[np.int16] | None
    frame_index: int


@dataclass(slots=True, eq=False)
class Message:
    """What crosses the uplink: vectors and blocks that turn the server's image into a newer one.

    Args:
        epoch: which synchronisation of edge and server the message builds on.
        frame_index: the frame whose blocks it carries.
        size_bytes: all of it, headers included.
        overhead_bytes: of these, what does not grow with the blocks: header, vectors, bitmap.
        blocks: how many blocks it carries.
        whole: whether it replaces the image rather than building on it.
        inferred: whether the server computes what it receives at once; otherwise blocks stay dirty.
        realigned: whether it carries vectors.
        unsent: active blocks that it leaves out.
        data: the encoded bytes; None where only counts are known.
        decoded: what the bytes decode to, once somebody has looked.
    """

    epoch: int
    frame_index: int
    size_bytes: int
    overhead_bytes: int
    blocks: int
    whole: bool
    inferred: bool
    realigned: bool
    unsent: int
    data: bytes | None = None
    decoded: Any = None


class Reference(Protocol):
    """An image that frames are searched in: the frame of a dense refresh, or the server's view."""

    def match(self, frame: Frame) -> Match:
        """Search `frame` here and classify its blocks; with nothing to search in, all blocks are active."""

    def replace(self, frame: Frame) -> None:
        """Make `frame` the reference."""


class SharedImage(Reference, Protocol):
    """The image that edge and server build from the same messages, each for itself.

    Blocks that arrived without inference are dirty: the server's features do not show them yet.
    `version` counts messages; a refresh that began at a version cleans what was dirty by then.
    """

    version: int

    def apply(self, message: Message) -> int:
        """Take a message in; return how many blocks inference must compute for it (sent and dirty ones)."""

    def dirty_blocks(self, match: Match | None = None) -> int:
        """Dirty blocks now, or after `match`'s vectors have moved them."""

    def clean(self, version: int) -> None:
        """A dense refresh of the image as of `version` is through."""

    def same_as(self, other: SharedImage) -> bool:
        """Whether both hold the same bytes and the same dirty blocks."""


class Received(Protocol):
    """The far side of an encoder."""

    def decoded(self) -> NDArray[np.uint8]:
        """The frame that was encoded last, (H, W, 3), as it arrives; ask once for each frame that does."""


class FrameEncoder(Received, Protocol):
    """Encodes whole frames, one after another."""

    def encode(self, frame: Frame) -> int:
        """Bytes of the encoded frame. Encoders with memory must be given each frame that is sent, once."""

    def restart(self) -> None:
        """The far side may have missed a frame: the next one must decode without any before it."""


class QuantisedEncoder(Received, Protocol):
    """Encodes whole frames at a precision chosen for each: uniform quantisation, then entropy coding."""

    values: int  # of a frame: pixels times colours

    def encode(self, frame: Frame, bits: int) -> int:
        """Bytes of a frame at `bits` a value, 1 to 8."""


@dataclass(frozen=True, slots=True, eq=False)
class Delta:
    """The pixels of a frame that differ from a reference, as one message.

    Args:
        size_bytes: the message, header and mask included.
        blocks: blocks with at least one such pixel; all of them if `whole`.
        active_fraction: share of the pixels.
        whole: whether it needs no reference: there was none.
        data: the message; None where only counts are known.
        reference: what the reference becomes once the delta is applied; whatever the maker keeps there.
        indices: (blocks,) flat indices of the blocks; None where only counts are known.
    """

    size_bytes: int
    blocks: int
    active_fraction: float
    whole: bool
    data: bytes | None = None
    reference: Any = None
    indices: NDArray[np.int32] | None = None


class DeltaReference(Protocol):
    """An image that changed pixels are counted against and that takes on what was counted (DeltaCNN)."""

    def difference(self, frame: Frame) -> Delta:
        """What `frame` changes; the reference stays as it is."""

    def commit(self, delta: Delta) -> None:
        """Make the reference what the last difference led to."""

    def reset(self) -> None:
        """Forget the reference: the next difference is the whole frame."""


class DeltaReceiver(Protocol):
    """The same image on the far side, from the messages alone."""

    def apply(self, delta: Delta) -> None:
        """Take a message in."""

    def same_as(self, reference: DeltaReference) -> bool:
        """Whether both ends hold the same bytes."""


@dataclass(frozen=True, slots=True)
class Likeness:
    """The most similar frame of a history: which one, and how similar (1: the same)."""

    frame_index: int
    similarity: float


class FrameHistory(Protocol):
    """The last frames that were remembered, to be compared with new ones."""

    def most_similar(self, frame: Frame) -> Likeness | None:
        """The most similar remembered frame, the latest of equals; None without any."""

    def remember(self, frame: Frame) -> None:
        """Add a frame; the oldest goes when there are too many."""

    def changed_blocks(self, frame: Frame, likeness: Likeness) -> int:
        """Blocks of `frame` that really differ from the remembered frame at the same place."""


class Network(Protocol):
    """The network on one side, and the features it keeps there.

    It computes what the side's results really are; how long that takes is the world's business. A result is
    opaque to a system, which hands it on in its outcome. Where accuracy is known by coverage alone nothing
    runs, and every result is None.
    """

    @property
    def runs(self) -> bool:
        """Whether anything is computed."""

    def dense(self, frame: Frame, received: Received | None = None) -> Any:
        """The result of dense inference on a frame, or on what was `received` of it; no features are kept."""

    def keep(self, frame: Frame) -> None:
        """Keep the features of dense inference on a frame: it is the reference from now on."""

    def sparse(self, frame: Frame, match: Match, processed: int) -> Any:
        """The result for a frame with the first `processed` active blocks computed and the features reused
        along the vectors elsewhere, stale blocks included. What was kept stays."""

    def follow(self, image: SharedImage, message: Message, *, densely: bool = False) -> Any:
        """Take the features along with a message that `image` has just taken in.

        Returns the result where the message asks for inference, over the sent and the dirty blocks or
        `densely` over all; else None.
        """

    def begin_refresh(self, image: SharedImage) -> None:
        """Dense inference on the image as it is now begins."""

    def end_refresh(self) -> None:
        """It has ended: what it made, taken along with the messages since, becomes the features."""

    def update(self, delta: Delta, *, densely: bool) -> Any:
        """The result for the reference that a delta leads to, with its blocks or all computed and kept."""


class Content(Protocol):
    """What systems ask of frames, whatever they are made of."""

    @property
    def blocks_total(self) -> int:
        """Blocks of a frame."""

    def reference(self) -> Reference:
        """An empty reference."""

    def shared_image(self) -> SharedImage:
        """An empty shared image."""

    def message(
        self, frame: Frame, blocks: Any, match: Match, epoch: int, *, inferred: bool, realign: bool
    ) -> Message:
        """Encode `blocks` (part of ``match.active``) of a frame, with all vectors if `realign`."""

    def whole_message(self, frame: Frame, epoch: int, *, inferred: bool = True) -> Message:
        """Encode all blocks of a frame, with no vectors: the start of an epoch."""

    def block_bytes(self) -> float:
        """Typical bytes of a block, before anything was sent."""

    def frame_encoder(
        self, codec: str, *, quality: int = 85, crf: float = 23.0, keyframe_interval: int = 250
    ) -> FrameEncoder:
        """An encoder of whole frames: "raw", "png", "jpeg" (quality) or "h264" (crf, keyframe_interval)."""

    def quantised_encoder(self) -> QuantisedEncoder:
        """An encoder of quantised frames."""

    def delta_reference(self, threshold: float, dilation_px: int) -> DeltaReference:
        """An empty reference for pixel deltas.

        A pixel counts if its difference, or one within a window of `dilation_px`, exceeds `threshold` on
        [0, 1].
        """

    def delta_receiver(self) -> DeltaReceiver:
        """The far side of a reference for pixel deltas, empty."""

    def frame_history(self, frames: int) -> FrameHistory:
        """An empty history of at most `frames` frames."""

    def network(self, policy: str = "fixed") -> Network:
        """A network that has seen no frame yet.

        How the blocks that are computed go through it: "fixed" (the same at every layer) or "truncate" (what
        they change spreads, and is pruned where it is small).
        """
