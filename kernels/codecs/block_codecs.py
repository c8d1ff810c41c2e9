"""How the pixels of chosen blocks become bytes: raw, one PNG image, one JPEG image, or a class of your own.

Whole frames go through the same codec as blocks (:mod:`kernels.codecs.payload_frames`), so that systems that
send either can be compared.

A codec of your own is any class with what :class:`BlockCodec` lists, made from its options; a YAML names it:

    # conf/payload/codec/mine.yaml, in any configuration folder
    _target_: mypackage.codecs.MyBlocks
    level: 9                 # a field of MyBlocks.Options

The image codecs put the blocks side by side in one image (an atlas), so that its headers are paid for once.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from kernels.codecs.block_pixels import paste_blocks
from kernels.codecs.image_files import read_image, write_image
from kernels.codecs.prediction import Prediction

OTHER_CODE = 255  # of every codec that is not defined here

_ATLAS_COLUMNS = range(8, 17)
_ATLAS_GREY = 128  # of places without a block
_SCAN_START = b"\xff\xda"
_NAMES = ("raw", "png", "jpeg", "jpeg_420")  # by their code in a message's header


class BlockCodec(Protocol):
    """Blocks to bytes and back, without state from one message to the next.

    A nested frozen dataclass `Options` holds what a YAML may set, and the class is made as `Class(options)`.
    Its checks raise ValueError in one line, `<field>: expected <what>, found <value>`. One that gives back
    exactly what it was given may say `lossless = True`: then no edge decodes what it has just encoded.
    """

    @property
    def name(self) -> str:
        """What messages, tables and errors call it."""
        ...

    @property
    def code(self) -> int:
        """Its byte in a message's header: 0 raw, 1 png, 2 jpeg, 3 jpeg_420; :data:`OTHER_CODE` any other."""
        ...

    @property
    def quality(self) -> int:
        """Its quality in a message's header, 0 to 255; 0 where it has none."""
        ...

    @property
    def typical_block_bytes(self) -> float:
        """Bytes of a 16×16 block in colour, expected until one has been sent."""
        ...

    def encode(self, blocks: NDArray[np.uint8]) -> bytes:
        """The bytes of (k, b, b, 3) or (k, b, b) uint8 blocks, k >= 1: no block costs no byte."""
        ...

    def decode(self, data: bytes, count: int, block_px: int, channels: int) -> NDArray[np.uint8]:
        """The `count` blocks, (count, b, b, 3) uint8, or (count, b, b) where `channels` is 1.

        Equal bytes must give equal blocks, lossy or not: both ends of a link decode them.

        Raises:
            ValueError: bytes that are not those of so many blocks.
        """
        ...


@runtime_checkable
class PredictedBlockCodec(BlockCodec, Protocol):
    """A block codec that may code blocks against what both ends of a link have."""

    predicts: ClassVar[bool]

    def encode(self, blocks: NDArray[np.uint8], prediction: Prediction | None = None) -> bytes:
        """The same; blocks are coded against `prediction` where there is one."""
        ...

    def decode(
        self, data: bytes, count: int, block_px: int, channels: int, prediction: Prediction | None = None
    ) -> NDArray[np.uint8]:
        """The same; with the prediction that the blocks were coded against.

        Raises:
            ValueError: as above, or the prediction is missing.
        """
        ...


@dataclass(frozen=True, slots=True)
class RawBlocks:
    """Pixels as they are."""

    @dataclass(frozen=True, slots=True)
    class Options:
        """None."""

    options: Options
    name: ClassVar[str] = "raw"
    code: ClassVar[int] = 0
    quality: ClassVar[int] = 0
    lossless: ClassVar[bool] = True
    typical_block_bytes: ClassVar[float] = 768.0

    def encode(self, blocks: NDArray[np.uint8]) -> bytes:
        return blocks.tobytes()

    def decode(self, data: bytes, count: int, block_px: int, channels: int) -> NDArray[np.uint8]:
        shape = _blocks_shape(count, block_px, channels)
        if len(data) != np.prod(shape):
            raise ValueError(f"block message must have {np.prod(shape)} bytes of pixels (got {len(data)})")
        return np.frombuffer(data, np.uint8).reshape(shape).copy()


@dataclass(frozen=True, slots=True)
class PngAtlas:
    """Blocks side by side in one PNG image; lossless."""

    @dataclass(frozen=True, slots=True)
    class Options:
        """`level` trades time for size: 0 does not compress, 1 is fast, 9 smallest."""

        level: int = 1

        def __post_init__(self) -> None:
            if not 0 <= self.level <= 9:
                raise ValueError(f"level: expected 0 to 9, found {self.level!r}")

    options: Options
    name: ClassVar[str] = "png"
    code: ClassVar[int] = 1
    quality: ClassVar[int] = 0
    lossless: ClassVar[bool] = True
    typical_block_bytes: ClassVar[float] = 440.0

    def encode(self, blocks: NDArray[np.uint8]) -> bytes:
        return write_image(_to_atlas(blocks), "PNG", compress_level=self.options.level)

    def decode(self, data: bytes, count: int, block_px: int, channels: int) -> NDArray[np.uint8]:
        return _from_atlas(_read_atlas(data, "PNG"), count, block_px, channels)


@dataclass(frozen=True, slots=True)
class JpegAtlas:
    """Blocks side by side in one JPEG image.

    Only the scan is sent: what stands before it in a JPEG file follows from the quality and the size. At half
    resolution of colours (4:2:0) JPEG codes 16×16 px at a time: blocks of another size share colours with
    neighbours that are none in the frame.
    """

    @dataclass(frozen=True, slots=True)
    class Options:
        """`quality` is JPEG's, 1 to 95; `full_colour`: colours as fine as brightness (4:4:4), else 4:2:0."""

        quality: int = 85
        full_colour: bool = True

        def __post_init__(self) -> None:
            if not 1 <= self.quality <= 95:
                raise ValueError(f"quality: expected 1 to 95, found {self.quality!r}")

    options: Options
    typical_block_bytes: ClassVar[float] = 60.0

    @property
    def name(self) -> str:
        """`jpeg`, or `jpeg_420` with colours at half resolution."""
        return "jpeg" if self.options.full_colour else "jpeg_420"

    @property
    def code(self) -> int:
        """2, or 3 with colours at half resolution."""
        return 2 if self.options.full_colour else 3

    @property
    def quality(self) -> int:
        """The quality of the options."""
        return self.options.quality

    def encode(self, blocks: NDArray[np.uint8]) -> bytes:
        atlas = _to_atlas(blocks)
        subsampling = _subsampling(self.options.full_colour)
        data = write_image(atlas, "JPEG", quality=self.quality, subsampling=subsampling)
        return data[len(_jpeg_headers(self.quality, subsampling, atlas.ndim == 3, *atlas.shape[:2])) :]

    def decode(self, data: bytes, count: int, block_px: int, channels: int) -> NDArray[np.uint8]:
        size_px, subsampling = _atlas_size_px(count, block_px), _subsampling(self.options.full_colour)
        headers = _jpeg_headers(self.quality, subsampling, channels == 3, *size_px)
        return _from_atlas(_read_atlas(headers + data, "JPEG"), count, block_px, channels)


@lru_cache(maxsize=256)
def block_codec(name: str, quality: int = 85) -> BlockCodec:
    """A codec of this module by its name; `quality` is that of `jpeg` and `jpeg_420`, the others have none.

    Raises:
        ValueError: another name, or a quality out of range.
    """
    if name == "raw":
        return RawBlocks(RawBlocks.Options())
    if name == "png":
        return PngAtlas(PngAtlas.Options())
    if name in ("jpeg", "jpeg_420"):
        return JpegAtlas(JpegAtlas.Options(quality, full_colour=name == "jpeg"))
    raise ValueError(f"codec must be one of {', '.join(_NAMES)} (got {name!r})")


def codec_of_header(code: int, quality: int) -> BlockCodec:
    """The codec of this module that a message's header names.

    Raises:
        ValueError: it names one that is not of this module, or a quality that cannot be.
    """
    if code == OTHER_CODE:
        raise ValueError(f"block message has a codec of its own, code {code}: decode it with that codec")
    if code >= len(_NAMES) or (_NAMES[code].startswith("jpeg") and not 1 <= quality <= 95):
        raise ValueError(f"block message must name codec 0, 1, 2 or 3 (got {code}, quality {quality})")
    return block_codec(_NAMES[code], quality)


def _blocks_shape(count: int, block_px: int, channels: int) -> tuple[int, ...]:
    return (count, block_px, block_px, 3) if channels == 3 else (count, block_px, block_px)


def _atlas_columns(count: int) -> int:
    """How many blocks stand side by side: what leaves the fewest places empty."""
    if count <= _ATLAS_COLUMNS[-1]:
        return count
    return min(_ATLAS_COLUMNS, key=lambda columns: (-count % columns, -columns))


def _atlas_size_px(count: int, block_px: int) -> tuple[int, int]:
    """Height and width of the atlas of so many blocks."""
    columns = _atlas_columns(count)
    return -(-count // columns) * block_px, columns * block_px


def _to_atlas(blocks: NDArray[np.uint8]) -> NDArray[np.uint8]:
    size = _atlas_size_px(len(blocks), blocks.shape[1])
    atlas = np.full((*size, *blocks.shape[3:]), _ATLAS_GREY, np.uint8)
    return paste_blocks(atlas, np.arange(len(blocks)), blocks)


def _from_atlas(atlas: NDArray[np.uint8], count: int, block_px: int, channels: int) -> NDArray[np.uint8]:
    size = _atlas_size_px(count, block_px)
    shape = _blocks_shape(count, block_px, channels)
    if atlas.shape != (*size, *shape[3:]):
        raise ValueError(f"block message must have an atlas of {size} px (got {atlas.shape})")
    rows, columns = size[0] // block_px, size[1] // block_px
    blocks = atlas.reshape(rows, block_px, columns, block_px, -1).swapaxes(1, 2)
    return blocks.reshape(rows * columns, *shape[1:])[:count]


def _read_atlas(data: bytes, form: str) -> NDArray[np.uint8]:
    try:
        return read_image(data, form)
    except ValueError as error:
        raise ValueError(f"block message has a {form.lower()} atlas that does not decode: {error}") from None


def _subsampling(full_colour: bool) -> int:
    """Pillow's word for 4:4:4 and 4:2:0."""
    return 0 if full_colour else 2


@lru_cache(maxsize=256)
def _jpeg_headers(quality: int, subsampling: int, colour: bool, height: int, width: int) -> bytes:
    """All that precedes the scan of a JPEG of this quality, colour resolution and size."""
    blank = np.zeros((8, 8, 3) if colour else (8, 8), np.uint8)
    headers = write_image(blank, "JPEG", quality=quality, subsampling=subsampling)
    headers = headers[: headers.index(_SCAN_START)]
    frame = headers.index(b"\xff\xc0") + 5  # past the marker, its length and the precision
    return headers[:frame] + struct.pack(">HH", height, width) + headers[frame + 4 :]
