"""Clips of the kind that people have: turned, of uneven rate, in transport streams, behind a thumbnail."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.strategies.video import texture

Pixels = NDArray[np.uint8]
X264 = {"g": "8", "bf": "2", "crf": "18"}


def moving(frames: int = 30, height: int = 64, width: int = 96) -> list[Pixels]:
    """Pictures of a texture that moves to the left, a pixel a frame: no two are alike."""
    base = texture(1, height, width + frames)
    return [np.ascontiguousarray(base[:, i : i + width]) for i in range(frames)]


def quarters(height: int = 64, width: int = 96) -> Pixels:
    """Red, green, blue and white, a quarter of the picture each: told apart however they lie."""
    picture = np.empty((height, width, 3), np.uint8)
    half = (height // 2, width // 2)
    picture[: half[0], : half[1]] = (220, 30, 30)
    picture[: half[0], half[1] :] = (30, 200, 30)
    picture[half[0] :, : half[1]] = (30, 30, 220)
    picture[half[0] :, half[1] :] = (240, 240, 240)
    return picture


def write_frames(
    path: Path,
    frames: Sequence[Pixels],
    codec: str = "libx264",
    options: dict[str, str] | None = None,
    pix_fmt: str = "yuv420p",
    rate: int = 20,
    ticks: Sequence[int] | None = None,
    tick_s: Fraction = Fraction(1, 60),
    matrix: Sequence[float] | None = None,
    pixel_aspect: Fraction | None = None,
    before: Sequence[Sequence[Pixels]] = (),
    muxer: dict[str, str] | None = None,
) -> Path:
    """Write a clip.

    Args:
        ticks: of `tick_s`, when each frame is shown; evenly at `rate` by default.
        matrix: nine numbers, as a container holds them.
        pixel_aspect: width of a pixel over its height.
        before: other videos of the same file, in streams that come first.
        muxer: options of the container.
    """
    import av

    with av.open(str(path), "w", options=muxer or {}) as container:
        streams: list[tuple[Any, Sequence[Pixels]]] = []
        for pictures in (*before, frames):
            stream: Any = container.add_stream(codec, rate=rate)
            stream.height, stream.width = pictures[0].shape[:2]
            stream.pix_fmt = pix_fmt
            stream.options = dict(X264 if options is None and codec == "libx264" else options or {})
            streams.append((stream, pictures))
        stream = streams[-1][0]
        if pixel_aspect is not None:
            stream.codec_context.sample_aspect_ratio = pixel_aspect
        if matrix is not None:
            stream.set_display_matrix(list(matrix))
        if ticks is not None:
            stream.time_base = stream.codec_context.time_base = tick_s
        for stream, pictures in streams:
            for number, pixels in enumerate(pictures):
                frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
                if ticks is not None:
                    frame.pts, frame.time_base = ticks[number], tick_s
                for packet in stream.encode(frame):
                    container.mux(packet)
            for packet in stream.encode(None):
                container.mux(packet)
    return path


def decoded(path: Path, stream: int = 0) -> list[Pixels]:
    """Every frame of a clip as PyAV decodes them from the first, untouched."""
    import av

    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=stream)]
