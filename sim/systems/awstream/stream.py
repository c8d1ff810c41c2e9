"""One H.264 stream whose size and quantiser may change from frame to frame.

A frame of another size begins a new stream with a keyframe: no predicted frame reaches across sizes. The
quantiser may change within a stream, and so may the number of frames left out between two.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sim.components.frame_encoders import Packet
from sim.systems.awstream.degradation import Degradation
from sim.world.frame import Frame

if TYPE_CHECKING:
    from kernels.codecs.h264_quantised import QuantisedH264


@dataclass(frozen=True, slots=True, eq=False)
class Upscaler:
    """The far side of the stream: decodes a frame, and brings it back to the size as it was captured.

    Args:
        codec: the stream that the frame is part of.
        size_px: height and width as it was captured.
    """

    codec: QuantisedH264
    size_px: tuple[int, int]

    def decode(self, data: bytes) -> NDArray[np.uint8]:
        """(H, W, 3) of that size; a stream's frames must come in order."""
        from kernels.codecs.scaling import scaled

        return scaled(self.codec.decode(data), *self.size_px)


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

    def encode(self, frame: Frame) -> Packet:
        """The next packet."""
        return self.encode_image(frame.pixels)

    def encode_image(self, image: NDArray[np.uint8]) -> Packet:
        """The next packet, of an (H, W, 3) image."""
        from kernels.codecs.h264_quantised import QuantisedH264
        from kernels.codecs.scaling import scaled

        height, width = image.shape[:2]
        size_px = self.degradation.size_px(height, width)
        if self._codec is None or size_px != self._coded_px:
            self._codec, self._coded_px = QuantisedH264(keyframe_interval=self.keyframe_interval), size_px
        data = self._codec.encode_at(scaled(image, *size_px), self.degradation.qp)
        far_side = Upscaler(self._codec, (height, width))
        return Packet(far_side, data, self._codec.keyframe, coded_pixels=size_px[0] * size_px[1])

    def restart(self) -> None:
        """The next frame is a keyframe."""
        if self._codec is not None:
            self._codec.force_keyframe()
