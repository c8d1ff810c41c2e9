"""Motion search on the device: `kernels.motion.search.search_motion` for tensors, with the same vectors.

Coarse and fine levels, candidates and ties are those of kernels/motion/search.py; search.cuh says why the
order in which a device looks at candidates does not matter.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from kernels.ops.cuda.operations import CudaOperations

_COARSE = 4


@dataclass(frozen=True, slots=True, eq=False)
class DeviceSearchImage:
    """An image on the device with the pyramid levels that a search needs, computed once for all searches.

    Attributes:
        pixels: uint8 (H, W) or (H, W, 3), shared with the caller.
        grey: uint8 (H, W).
        quarter: uint8 (⌊H/4⌋, ⌊W/4⌋), means of 4×4 pixels.
    """

    pixels: torch.Tensor
    grey: torch.Tensor
    quarter: torch.Tensor


class MotionSearcher:
    """Motion search through one library of kernels."""

    def __init__(self, operations: CudaOperations) -> None:
        self._operations = operations

    def prepare(self, image: torch.Tensor, name: str = "image") -> DeviceSearchImage:
        """Compute the grey and quarter-resolution levels of an image, on the current stream.

        Args:
            image: contiguous uint8 (H, W) or (H, W, 3), H and W at least 8.
            name: what error messages call it.

        Raises:
            TypeError, ValueError: an image that is none of the above.
        """
        self._operations.check_device(name, image)
        if image.dtype != torch.uint8:
            raise TypeError(f"{name} must be uint8 (got {image.dtype})")
        if image.dim() not in (2, 3) or (image.dim() == 3 and image.shape[2] != 3):
            raise ValueError(f"{name} must have shape (H, W) or (H, W, 3) (got {tuple(image.shape)})")
        height, width = image.shape[:2]
        if min(height, width) < 8:
            raise ValueError(f"{name} must have a height and a width of at least 8 px (got {height}x{width})")
        if not image.is_contiguous() or image.data_ptr() % 4:
            raise ValueError(f"{name} must be contiguous and start at a multiple of 4 bytes")
        grey = image if image.dim() == 2 else image.new_empty(height, width)
        quarter = image.new_empty(height // _COARSE, width // _COARSE)
        self._operations.call(
            "prepare",
            image.device,
            image.data_ptr(),
            height,
            width,
            1 if image.dim() == 2 else 3,
            grey.data_ptr(),
            quarter.data_ptr(),
        )
        return DeviceSearchImage(image, grey, quarter)

    def search_motion(
        self,
        frame: torch.Tensor | DeviceSearchImage,
        reference: torch.Tensor | DeviceSearchImage,
        block_px: int = 16,
        radius_px: int = 16,
        predicted: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Find each block of `frame` in `reference`.

        Args:
            frame, reference: images, or `prepare`d ones, of one shape and device.
            block_px: side of a block, a multiple of 8, at most H, W and 128.
            radius_px: half the side of the search window, 0 or more.
            predicted: (⌈H/b⌉, ⌈W/b⌉, 2) int16 vectors that centre each block's window; None: zero.

        Returns:
            vectors: (⌈H/b⌉, ⌈W/b⌉, 2) int16, (dx, dy) in pixels: place in the reference minus in the frame.
            difference: (⌈H/b⌉, ⌈W/b⌉) float32, mean absolute difference, intensities in [0, 1].

        Raises:
            TypeError, ValueError: an argument that is none of the above, by name.
        """
        frame = frame if isinstance(frame, DeviceSearchImage) else self.prepare(frame, "frame")
        reference = (
            reference if isinstance(reference, DeviceSearchImage) else self.prepare(reference, "reference")
        )
        pixels = frame.pixels
        if reference.pixels.shape != pixels.shape or reference.pixels.device != pixels.device:
            raise ValueError(
                f"reference must have the frame's shape {tuple(pixels.shape)} and device {pixels.device} "
                f"(got {tuple(reference.pixels.shape)}, {reference.pixels.device})"
            )
        height, width = pixels.shape[:2]
        if block_px not in range(8, 129, 8) or min(height, width) < block_px:
            raise ValueError(
                f"block_px must be a multiple of 8 px, at most 128 and the sides of {height}x{width} "
                f"(got {block_px})"
            )
        if radius_px < 0:
            raise ValueError(f"radius_px must be >= 0 px (got {radius_px})")
        rows, columns = -(-height // block_px), -(-width // block_px)
        if predicted is not None:
            if predicted.dtype != torch.int16 or predicted.device != pixels.device:
                raise TypeError(
                    f"predicted must be int16 on {pixels.device} (got {predicted.dtype}, {predicted.device})"
                )
            if tuple(predicted.shape) != (rows, columns, 2) or not predicted.is_contiguous():
                raise ValueError(
                    f"predicted must be contiguous with shape {(rows, columns, 2)} "
                    f"(got {tuple(predicted.shape)})"
                )
        vectors = torch.empty(rows, columns, 2, dtype=torch.int16, device=pixels.device)
        difference = torch.empty(rows, columns, device=pixels.device)
        found = torch.empty(rows, columns, 3, dtype=torch.int32, device=pixels.device)
        progress = torch.zeros(2 * (1 + rows), dtype=torch.int32, device=pixels.device)
        self._operations.call(
            "search",
            pixels.device,
            *(level.data_ptr() for level in (frame.pixels, frame.grey, frame.quarter)),
            *(level.data_ptr() for level in (reference.pixels, reference.grey, reference.quarter)),
            height,
            width,
            1 if pixels.dim() == 2 else 3,
            block_px,
            radius_px,
            predicted.data_ptr() if predicted is not None else None,
            found.data_ptr(),
            progress.data_ptr(),
            vectors.data_ptr(),
            difference.data_ptr(),
        )
        return vectors, difference
