"""One H.264 stream whose size and quantiser may change from frame to frame.

A frame of another size begins a new stream with a keyframe: no predicted frame reaches across sizes. The
quantiser may change within a stream, and so may the number of frames left out between two.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sim.systems.awstream.degradation import Degradation
from sim.world.frame import Frame

if TYPE_CHECKING:
    from kernels.codecs.h264_quantised import QuantisedH264


@dataclass(slots=True, eq=False)
class ScaledPacket:
    """A frame at some size, on its way; decoded and brought back to its own size once, whoever asks.

    Args:
        codec: the stream that it is part of.
        data: its bytes.
        keyframe: whether it builds on none.
        size_px: height and width of the frame as it was captured.
        coded_pixels: of the frame as it was coded.
    """

    codec: QuantisedH264
    data: bytes
    keyframe: bool
    size_px: tuple[int, int]
    coded_pixels: int
    _decoded: NDArray[np.uint8] | None = None

    @property
    def size_bytes(self) -> int:
        return len(self.data)

    def decoded(self) -> NDArray[np.uint8]:
        if self._decoded is None:
            from kernels.codecs.scaling import scaled

            self._decoded = scaled(self.codec.decode(self.data), *self.size_px)
        return self._decoded


@dataclass(slots=True, eq=False)
class DegradedStream:
    """Both ends of it.

    Args:
        keyframe_interval: frames that are sent from one keyframe to the next at the latest.
        degradation: of the next frame; its `skipped` is the sender's business.
    """

    keyframe_interval: int
    degradation: Degradation
    builds_on_last: bool = True
    _codec: QuantisedH264 | None = None
    _coded_px: tuple[int, int] = field(default=(0, 0))

    def encode(self, frame: Frame) -> ScaledPacket:
        """The next packet."""
        return self.encode_image(frame.pixels)

    def encode_image(self, image: NDArray[np.uint8]) -> ScaledPacket:
        """The next packet, of an (H, W, 3) image."""
        from kernels.codecs.h264_quantised import QuantisedH264
        from kernels.codecs.scaling import scaled

        height, width = image.shape[:2]
        size_px = self.degradation.size_px(height, width)
        if self._codec is None or size_px != self._coded_px:
            self._codec, self._coded_px = QuantisedH264(keyframe_interval=self.keyframe_interval), size_px
        data = self._codec.encode_at(scaled(image, *size_px), self.degradation.qp)
        return ScaledPacket(self._codec, data, self._codec.keyframe, (height, width), size_px[0] * size_px[1])

    def restart(self) -> None:
        """The next frame is a keyframe."""
        if self._codec is not None:
            self._codec.force_keyframe()
