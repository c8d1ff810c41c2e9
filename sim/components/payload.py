"""What a system's messages are coded with, and the time that this takes on either side.

The payload of a run (`payload.codec`, `payload.quality`) is that of every system that sends pixels; a
system's own `codec` and `quality` replace it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from profiler.latency import BLOCKS
from sim.configuration.sections import RECORDED_QUALITY
from sim.world.frame_work import Awaitable
from sim.world.frame_world import FrameWorld
from traces.errors import InputError

if TYPE_CHECKING:
    from kernels.codecs.block_codecs import BlockCodec


class Sized(Protocol):
    """A message of blocks."""

    @property
    def blocks(self) -> int:
        """How many it carries."""

    @property
    def size_bytes(self) -> int:
        """All of it."""


@dataclass(frozen=True, slots=True)
class Payload:
    """A codec as profiles, tables and the world know it.

    Args:
        codec: its name.
        quality: its quality; None where it has none.
        lossless: what was encoded is what is decoded: the edge knows it without decoding.
        block_pixels: pixels of a block.
    """

    codec: str
    quality: float | None
    lossless: bool = False
    block_pixels: int = 256
    timed_as: str = field(init=False, compare=False)  # what profiles call the codec on messages of blocks

    def __post_init__(self) -> None:
        object.__setattr__(self, "timed_as", self.codec + BLOCKS)

    @classmethod
    def of(cls, codec: BlockCodec, block_px: int = 16) -> Payload:
        """The payload of blocks, or frames, that a block codec codes."""
        lossless = bool(getattr(codec, "lossless", False))
        return cls(codec.name, codec.quality or None, lossless, block_px**2)

    def encode(self, message: Sized, world: FrameWorld) -> Awaitable:
        """Encode a message of blocks on the edge."""
        return world.encode(self.timed_as, message.blocks * self.block_pixels, message.size_bytes)

    def decode(self, message: Sized, world: FrameWorld) -> Awaitable:
        """Decode a message of blocks on the server."""
        return world.decode(self.timed_as, message.blocks * self.block_pixels, message.size_bytes)

    def reconstruct(self, message: Sized, world: FrameWorld) -> None:
        """Decode a message on the edge, which keeps what the server will have; for nothing if lossless."""
        if not self.lossless:
            world.reconstruct(self.timed_as, message.blocks * self.block_pixels, message.size_bytes)

    def decode_beside(self, message: Sized, world: FrameWorld) -> None:
        """Decode a message on the server that no frame waits for."""
        world.decode_beside(self.timed_as, message.blocks * self.block_pixels, message.size_bytes)

    def encoding_s(self, message: Sized, world: FrameWorld) -> float:
        """How long encoding a message on the edge should take."""
        return world.encoding_s(self.timed_as, message.blocks * self.block_pixels, message.size_bytes)


def check_recorded(
    codec: BlockCodec, recorded: Iterable[str], own_codec: str | None, own_quality: int | None
) -> None:
    """Refuse a codec whose sizes the statistics of a video do not hold.

    Args:
        codec: what is asked for.
        recorded: the codecs of the recording.
        own_codec, own_quality: the system's own options; None: the payload's. The message names the one that
            asks for what was not recorded.

    Raises:
        InputError: the recording lacks it, or has it in another quality; names what is recorded.
    """
    names = tuple(recorded)
    if codec.name in names and (codec.quality or RECORDED_QUALITY) == RECORDED_QUALITY:
        return
    elsewhere = "use video=scene or video=file"
    if codec.name in names and own_quality is not None:
        raise InputError(
            f"system.quality: statistics are recorded with {RECORDED_QUALITY}, found {own_quality}; "
            f"{elsewhere}"
        )
    key = "payload.codec" if own_codec is None else "system.codec"
    raise InputError(
        f"{key}: statistics are recorded with {', '.join(names)} of quality {RECORDED_QUALITY}, found "
        f"{codec.name!r} of quality {codec.quality}; {elsewhere}"
    )
