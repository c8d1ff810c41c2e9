"""H.264 whose quantiser is set anew for every frame: what a rate control needs that follows a link.

libx264's own rate control adapts over seconds, and its wrapper lets a running encoder change little. So the
encoder runs at a constant quantiser (a constant rate factor with qcomp and ipratio 1, without macroblock
trees), and each frame carries one region of interest, all of it, whose offset moves the quantiser to where
the frame is to have it. It is exact: a decoder reads the same quantiser from every macroblock that is coded
(`tests/reference/pixels/test_frame_codec.py`). libx264 ignores regions where its adaptive quantisation is
off, so that is on at a strength that does nothing.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from kernels.codecs.frame_codecs import H264Codec

MIN_QP, MAX_QP = 1, 51  # 0 would be lossless, which is another profile of the standard
_BASE_QP = 26  # in the middle: an offset reaches either end


class QuantisedH264(H264Codec):
    """An H.264 stream as :class:`~kernels.codecs.frame_codecs.H264Codec` is one, with a quantiser a frame.

    Args:
        preset, keyframe_interval, fps: as there.
    """

    def __init__(self, preset: str = "veryfast", keyframe_interval: int = 250, fps: int = 30) -> None:
        super().__init__(_BASE_QP, preset, keyframe_interval, fps)
        self.options |= {
            "aq-mode": "1",
            "aq-strength": "0.01",
            "x264-params": "qcomp=1.0:ipratio=1.0:mbtree=0",
        }
        self._qp = _BASE_QP

    def __repr__(self) -> str:
        return (
            f"<QuantisedH264 qp {self._qp}, {self.options['preset']}, {self.frames_encoded} frames encoded>"
        )

    def encode_at(self, image: NDArray[np.uint8], qp: int) -> bytes:
        """The next frame of the stream as one packet, at a quantiser of MIN_QP (best) to MAX_QP.

        Raises:
            ValueError: another quantiser, or what `encode` refuses.
        """
        if isinstance(qp, bool) or not isinstance(qp, (int, np.integer)) or not MIN_QP <= qp <= MAX_QP:
            raise ValueError(f"qp must be a whole number in {MIN_QP} to {MAX_QP} (got {qp!r})")
        self._qp = int(qp)
        return self.encode(image)

    def _picture(self, frame: Any) -> Any:
        import av

        planar = frame.reformat(format="yuv420p")
        size = f"{planar.width}x{planar.height}"
        graph = av.filter.Graph()
        source = graph.add(
            "buffer", f"video_size={size}:pix_fmt=yuv420p:time_base=1/{self.fps}:pixel_aspect=1/1"
        )
        offset = f"qoffset={self._qp - _BASE_QP}/51"
        whole = graph.add("addroi", f"x=0:y=0:w={planar.width}:h={planar.height}:{offset}")
        sink = graph.add("buffersink")
        source.link_to(whole)
        whole.link_to(sink)
        graph.configure()
        graph.push(planar)
        return graph.pull()
