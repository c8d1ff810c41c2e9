"""Whole frames as bytes: what a full offload sends, and what really arrives.

Every codec is an object with `encode(image) -> bytes` and `decode(bytes) -> image`; `make_frame_codec`
builds one by name. Intra codecs have no state and may be shared. `H264Codec` is one end of one stream: an
edge encodes with its own, the server decodes with its own, every packet in order. A frame that is dropped
must be dropped before it is encoded, or the stream must go on from a keyframe.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from kernels.codecs import image_files


class FrameCodec(Protocol):
    """(H, W, 3) uint8 images to bytes and back."""

    builds_on_last: ClassVar[bool]  # a frame decodes only after the one before it: one is under way at a time

    def encode(self, image: NDArray[np.uint8]) -> bytes: ...

    def decode(self, data: bytes) -> NDArray[np.uint8]: ...


def make_frame_codec(name: str, **options: Any) -> FrameCodec:
    """By name: `raw`, `png`, `jpeg` (quality, full_colour), `h264` (crf, preset, …), `quantised` (bits).

    Raises:
        ValueError: another name, or an option out of its range.
        TypeError: an option that the codec does not have.
    """
    if name not in _CODECS:
        raise ValueError(f"frame codec must be one of {', '.join(_CODECS)} (got {name!r})")
    codec: FrameCodec = _CODECS[name](**options)
    return codec


@dataclass(frozen=True, slots=True)
class RawCodec:
    """Pixels as they are. Wire: u16 height, u16 width (little-endian), pixels."""

    builds_on_last: ClassVar[bool] = False

    def encode(self, image: NDArray[np.uint8]) -> bytes:
        _check_image(image)
        return _SIZE.pack(*image.shape[:2]) + image.tobytes()

    def decode(self, data: bytes) -> NDArray[np.uint8]:
        height, width, pixels = _split_size(data, "raw")
        if len(pixels) != height * width * 3:
            raise ValueError(f"raw frame must have {height * width * 3} bytes of pixels (got {len(pixels)})")
        return np.frombuffer(pixels, np.uint8).reshape(height, width, 3).copy()


@dataclass(frozen=True, slots=True)
class PngCodec:
    """A PNG file. `level` trades time for size: 1 is fastest, 9 smallest."""

    builds_on_last: ClassVar[bool] = False

    level: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.level <= 9:
            raise ValueError(f"level must be in 0 to 9 (got {self.level!r})")

    def encode(self, image: NDArray[np.uint8]) -> bytes:
        return _write_image(image, "PNG", compress_level=self.level)

    def decode(self, data: bytes) -> NDArray[np.uint8]:
        return _read_image(data, "PNG")


@dataclass(frozen=True, slots=True)
class JpegCodec:
    """A JPEG file; colours at full resolution (4:4:4), or at half (4:2:0) where not `full_colour`."""

    builds_on_last: ClassVar[bool] = False

    quality: int = 85
    full_colour: bool = True

    def __post_init__(self) -> None:
        if not 1 <= self.quality <= 95:
            raise ValueError(f"quality must be in 1 to 95 (got {self.quality!r})")

    def encode(self, image: NDArray[np.uint8]) -> bytes:
        return _write_image(image, "JPEG", quality=self.quality, subsampling=0 if self.full_colour else 2)

    def decode(self, data: bytes) -> NDArray[np.uint8]:
        return _read_image(data, "JPEG")


@dataclass(frozen=True, slots=True)
class QuantisedCodec:
    """Uniform quantisation to `bits` a value, then deflate.

    q = round(x · (2^bits − 1) / 255), decoded as round(q · 255 / (2^bits − 1)): no pixel is off by more than
    half a step, 255 / (2 · (2^bits − 1)), and half a grey level of rounding. Wire: u16 height, u16 width,
    u8 bits (little-endian), then the deflated values, all of one colour after the other; one a byte, since
    deflate squeezes out the empty bits and finds repeats that packing them would hide.
    """

    builds_on_last: ClassVar[bool] = False

    bits: int = 4
    level: int = 3  # 6 saves up to a quarter of the bytes and takes three times as long

    def __post_init__(self) -> None:
        if not 1 <= self.bits <= 8:
            raise ValueError(f"bits must be in 1 to 8 (got {self.bits!r})")
        if not 0 <= self.level <= 9:
            raise ValueError(f"level must be in 0 to 9 (got {self.level!r})")

    def encode(self, image: NDArray[np.uint8]) -> bytes:
        _check_image(image)
        steps = 2**self.bits - 1
        table = ((np.arange(256) * steps + 127) // 255).astype(np.uint8)
        planes = np.ascontiguousarray(np.moveaxis(table[image], -1, 0))
        return _SIZE.pack(*image.shape[:2]) + bytes([self.bits]) + zlib.compress(planes.tobytes(), self.level)

    def decode(self, data: bytes) -> NDArray[np.uint8]:
        height, width, rest = _split_size(data, "quantised")
        if not rest or not 1 <= rest[0] <= 8:
            raise ValueError(f"quantised frame must name 1 to 8 bits (got {bytes(rest[:1])!r})")
        try:
            values = zlib.decompressobj().decompress(rest[1:], height * width * 3 + 1)
        except zlib.error as error:
            raise ValueError(f"quantised frame does not inflate: {error}") from None
        if len(values) != height * width * 3:
            raise ValueError(f"quantised frame must have {height * width * 3} values (got {len(values)})")
        steps = 2 ** rest[0] - 1
        table = ((np.arange(256) * 255 + steps // 2) // steps).astype(np.uint8)
        planes = table[np.frombuffer(values, np.uint8)].reshape(3, height, width)
        return np.ascontiguousarray(np.moveaxis(planes, 0, -1))


class H264Codec:
    """An H.264 stream without delay: one frame in, one packet out (libx264, zerolatency, Annex B).

    Encoding and decoding keep separate states, so one object may serve as either end, or as both.

    Args:
        crf: constant rate factor, 0 (lossless) to 51.
        preset: libx264's speed, `ultrafast` to `veryslow`.
        keyframe_interval: frames from one keyframe to the next at the latest.
        fps: what the rate control assumes.
    """

    builds_on_last: ClassVar[bool] = True

    def __init__(
        self, crf: float = 23, preset: str = "veryfast", keyframe_interval: int = 250, fps: int = 30
    ) -> None:
        if not 0 <= crf <= 51:
            raise ValueError(f"crf must be in 0 to 51 (got {crf!r})")
        if preset not in _PRESETS:
            raise ValueError(f"preset must be one of {', '.join(_PRESETS)} (got {preset!r})")
        if keyframe_interval < 1:
            raise ValueError(f"keyframe_interval must be >= 1 frame (got {keyframe_interval!r})")
        if fps < 1:
            raise ValueError(f"fps must be >= 1 (got {fps!r})")
        self.options = {
            "preset": preset,
            "tune": "zerolatency",
            "crf": str(crf),
            "g": str(keyframe_interval),
            "refs": "1",
            "threads": "1",
        }
        self.fps = fps
        self.frames_encoded = 0
        self.keyframe = False  # whether the last encoded frame builds on none
        self._encoder: Any = None
        self._decoder: Any = None
        self._keyframe_next = False

    def __repr__(self) -> str:
        crf, preset = self.options["crf"], self.options["preset"]
        return f"<H264Codec crf {crf}, {preset}, {self.frames_encoded} frames encoded>"

    def force_keyframe(self) -> None:
        """Encode the next frame without reference to earlier ones."""
        self._keyframe_next = True

    def encode(self, image: NDArray[np.uint8]) -> bytes:
        """The next frame of the stream as one packet. Height and width must be even and stay the same."""
        import av

        _check_image(image)
        height, width = image.shape[:2]
        if height % 2 or width % 2:
            raise ValueError(f"image must have an even height and width for h264 (got {height}x{width})")
        if self._encoder is None:
            encoder: Any = av.CodecContext.create("libx264", "w")
            encoder.width, encoder.height, encoder.pix_fmt = width, height, "yuv420p"
            encoder.time_base, encoder.framerate = Fraction(1, self.fps), Fraction(self.fps, 1)
            encoder.options = self.options
            encoder.max_b_frames = 0
            self._encoder = encoder
        elif (self._encoder.height, self._encoder.width) != (height, width):
            expected = f"{self._encoder.height}x{self._encoder.width}"
            raise ValueError(f"image must keep the stream's size {expected} (got {height}x{width})")
        frame = self._picture(av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24"))
        frame.pts = self.frames_encoded
        if self._keyframe_next:
            frame.pict_type = av.video.frame.PictureType.I
        packets = self._encoder.encode(frame)
        if len(packets) != 1:
            raise RuntimeError(f"libx264 must return one packet a frame (got {len(packets)})")
        self._keyframe_next = False
        self.keyframe = bool(packets[0].is_keyframe)
        self.frames_encoded += 1
        return bytes(packets[0])

    def _picture(self, frame: Any) -> Any:
        """What the encoder is given for a frame of `av`."""
        return frame

    def decode(self, data: bytes) -> NDArray[np.uint8]:
        """The image of the next packet.

        Raises:
            ValueError: a damaged packet, or a first one that is no keyframe. A packet missing in between is
                not noticed: as in any H.264 stream, the images drift until the next keyframe.
        """
        import av

        if self._decoder is None:
            decoder: Any = av.CodecContext.create("h264", "r")
            decoder.options = {"flags": "+low_delay", "threads": "1", "err_detect": "explode"}
            self._decoder = decoder
        try:
            frames = self._decoder.decode(av.Packet(data))
        except av.FFmpegError as error:
            raise ValueError(f"h264 packet does not decode: {error}") from None
        if len(frames) != 1:
            raise ValueError(f"h264 packet must hold one whole frame (got {len(frames)})")
        image: NDArray[np.uint8] = frames[0].to_ndarray(format="rgb24")
        return image


_SIZE = struct.Struct("<HH")
_PRESETS = (
    "ultrafast",
    "superfast",
    "veryfast",
    "faster",
    "fast",
    "medium",
    "slow",
    "slower",
    "veryslow",
)
_CODECS: dict[str, Any] = {
    "raw": RawCodec,
    "png": PngCodec,
    "jpeg": JpegCodec,
    "h264": H264Codec,
    "quantised": QuantisedCodec,
}


def _check_image(image: NDArray[np.uint8]) -> None:
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8:
        kind = getattr(image, "dtype", type(image).__name__)
        raise TypeError(f"image must be a numpy array of uint8 (got {kind})")
    if image.ndim != 3 or image.shape[2] != 3 or not 0 < min(image.shape[:2]) <= max(image.shape[:2]) < 65536:
        raise ValueError(f"image must have the shape (H, W, 3), 1 to 65535 px a side (got {image.shape})")


def _split_size(data: bytes, name: str) -> tuple[int, int, memoryview]:
    if len(data) < _SIZE.size:
        raise ValueError(f"{name} frame must begin with its size, {_SIZE.size} bytes (got {len(data)})")
    height, width = _SIZE.unpack_from(data)
    return height, width, memoryview(data)[_SIZE.size :]


def _write_image(image: NDArray[np.uint8], form: str, **options: Any) -> bytes:
    _check_image(image)
    return image_files.write_image(image, form, **options)


def _read_image(data: bytes, form: str) -> NDArray[np.uint8]:
    try:
        image = image_files.read_image(data, form)
    except ValueError as error:
        raise ValueError(f"{form.lower()} frame does not decode: {error}") from None
    return image if image.ndim == 3 else np.repeat(image[..., None], 3, axis=2)
