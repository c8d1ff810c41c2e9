"""What `extract` times: image levels, motion search against one reference, miss classification."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from profiler.measure.masks import FramePairs


class Extraction(Protocol):
    """Extraction from frames of a video; `how` is what samples say of it."""

    how: str

    def extract(self, step: int) -> None:
        """Search frame ``step`` against its reference, and classify its blocks."""
        ...


class FrameSearch:
    """On the processor. References are prepared beforehand: each was once a frame."""

    how = "processor"

    def __init__(self, pairs: FramePairs, block_px: int, device: str) -> None:
        from kernels.motion.image_pyramid import build_pyramid

        self._pairs, self._block_px = pairs, block_px
        self._references = [build_pyramid(image) for image in pairs.references]

    def extract(self, step: int) -> None:
        from kernels.motion.classification import active_blocks
        from kernels.motion.image_pyramid import build_pyramid
        from kernels.motion.search import search_motion

        frame = build_pyramid(self._pairs.frames[step])
        active_blocks(search_motion(frame, self._references[step], block_px=self._block_px))


class DeviceFrameSearch:
    """On a GPU that holds its frames: from a frame in its memory to the list of active blocks on the host."""

    how = "device"

    def __init__(self, pairs: FramePairs, block_px: int, device: str) -> None:
        import torch

        from kernels.ops import cuda

        self._cuda: Any = cuda
        self._block_px = block_px
        self._frames = [torch.from_numpy(np.ascontiguousarray(one)).to(device) for one in pairs.frames]
        self._references = [
            cuda.prepare(torch.from_numpy(np.ascontiguousarray(one)).to(device)) for one in pairs.references
        ]

    def extract(self, step: int) -> None:
        from kernels.motion.classification import active_blocks
        from kernels.motion.field import MotionField

        vectors, difference = self._cuda.search_motion(
            self._cuda.prepare(self._frames[step]), self._references[step], block_px=self._block_px
        )
        active_blocks(MotionField(vectors.cpu().numpy(), difference.cpu().numpy()))
