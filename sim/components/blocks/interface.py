"""The face that blocks of pixels and blocks of counts have in common."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from sim.components.payload import Payload
from sim.records.outcome import RestsOn
from sim.world.frame import Frame

if TYPE_CHECKING:
    from kernels.motion.field import MotionField

# What of a motion field to recompute: flat indices, the first to be processed first.
Classifier: TypeAlias = "Callable[[MotionField], NDArray[np.int32]]"


@dataclass(frozen=True, slots=True, eq=False)
class Match:
    """A frame against one reference.

    Args:
        active: flat indices of the blocks to recompute, the most different first. Where only counts are
            known it is a range, of which nothing but the length means anything.
        vectors: (rows, columns, 2) int16 motion vectors; None where only counts are known, or where there
            was no reference to search.
        frame_index: the frame that was searched.
        difference: (rows, columns) float32, D of each block; None like the vectors.
    """

    active: Sequence[int] | NDArray[np.int32]
    vectors: NDArray[np.int16] | None
    frame_index: int
    difference: NDArray[np.float32] | None = None


class Computed(NamedTuple):
    """How many blocks inference computes when the first k active ones are processed.

    Without a margin k + `others`; with one `counts[k]`, for k = 0, …, N, where the others are counted in.
    """

    others: int = 0
    counts: NDArray[np.int64] | None = None

    def for_first(self, k: int) -> int:
        """Blocks computed for the first k."""
        return k + self.others if self.counts is None else int(self.counts[k])


NOTHING_MORE = Computed()  # but the k blocks themselves


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


class BlockReference(Protocol):
    """An image that frames are searched in: an earlier frame, or the server's view.

    `frame_index` is that of the frame that its content is aligned with; -1 where there is none yet.
    """

    frame_index: int

    def match(self, frame: Frame, classify: Classifier | None = None) -> Match:
        """Search `frame` here and classify its blocks; with nothing to search in, all blocks are active.

        Args:
            classify: which blocks are active; None: those with D ≥ τ. Blocks without pixels do not ask it.
        """

    def computed(self, match: Match) -> Computed:
        """What inference computes for the active blocks of a match in this reference."""

    def replace(self, frame: Frame) -> None:
        """Make `frame` the reference."""

    def moved(self, frame: Frame, match: Match, processed: int) -> RestsOn | None:
        """What a result rests on that takes the first `processed` active blocks from the frame and all else
        from here, along the vectors; None where there are no pixels."""


class SharedImage(BlockReference, Protocol):
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

    def computed_blocks(self) -> tuple[NDArray[np.uint8], NDArray[np.intp]]:
        """The image, and the flat indices of the blocks that inference computes for the last message.

        Only images of pixels have them.
        """

    def rests_on(self) -> RestsOn | None:
        """The image as it is now, which later messages leave as it is; None where there are no pixels."""

    def same_as(self, other: SharedImage) -> bool:
        """Whether both hold the same bytes and the same dirty blocks."""


class BlockContent(Protocol):
    """Makes what a system with blocks works with, for one camera."""

    @property
    def blocks_total(self) -> int:
        """Blocks of a frame."""

    @property
    def payload(self) -> Payload:
        """What codes them."""

    def reference(self) -> BlockReference:
        """An empty reference."""

    def shared_image(self) -> SharedImage:
        """An empty shared image."""

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
        """Encode `blocks` (part of ``match.active``) of a frame, with all vectors if `realign`.

        Args:
            against: the image that the message will be applied to, for codecs that predict blocks from it;
                None: blocks are coded by themselves.
        """

    def whole_message(self, frame: Frame, epoch: int, *, inferred: bool = True) -> Message:
        """Encode all blocks of a frame, with no vectors: the start of an epoch."""

    def block_bytes(self) -> float:
        """Typical bytes of a block, before anything was sent."""
