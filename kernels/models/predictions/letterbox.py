"""Letterboxing: an image scaled to fit a network's input, centred, with grey bars; and the way back."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

GREY = 114 / 255  # the value of the bars that YOLO networks were trained with


@dataclass(frozen=True, slots=True)
class Letterbox:
    """How an image of height_px × width_px lies in an input of input_height_px × input_width_px."""

    height_px: int
    width_px: int
    input_height_px: int = 640
    input_width_px: int = 640

    def __post_init__(self) -> None:
        for name in ("height_px", "width_px", "input_height_px", "input_width_px"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be > 0 px (got {getattr(self, name)})")

    @property
    def scale(self) -> float:
        """Input pixels per image pixel, the same on both axes."""
        return min(self.input_height_px / self.height_px, self.input_width_px / self.width_px)

    @property
    def inner_height_px(self) -> int:
        return max(1, round(self.height_px * self.scale))

    @property
    def inner_width_px(self) -> int:
        return max(1, round(self.width_px * self.scale))

    @property
    def top_px(self) -> int:
        return (self.input_height_px - self.inner_height_px) // 2

    @property
    def left_px(self) -> int:
        return (self.input_width_px - self.inner_width_px) // 2

    def apply(self, image: np.ndarray) -> Tensor:
        """The network's input: (1, 3, input height, input width), float32, RGB in [0, 1].

        Args:
            image: (height, width, 3) uint8, RGB.

        Raises:
            ValueError: if the image has another shape or type.
        """
        if image.shape != (self.height_px, self.width_px, 3) or image.dtype != np.uint8:
            raise ValueError(
                f"image must be ({self.height_px}, {self.width_px}, 3) uint8 "
                f"(got {image.shape} {image.dtype})"
            )
        pixels = torch.tensor(image).permute(2, 0, 1)[None].float() / 255
        inner_size = (self.inner_height_px, self.inner_width_px)
        if inner_size != (self.height_px, self.width_px):
            pixels = functional.interpolate(pixels, inner_size, mode="bilinear", align_corners=False)
        boxed = torch.full((1, 3, self.input_height_px, self.input_width_px), GREY)
        rows, columns = self._inner()
        boxed[:, :, rows, columns] = pixels
        return boxed

    def boxes_to_image(self, boxes: Tensor) -> Tensor:
        """Boxes (n, 4) x1 y1 x2 y2 from input pixels to image pixels, clipped to the image."""
        offset = torch.tensor([self.left_px, self.top_px] * 2, dtype=boxes.dtype, device=boxes.device)
        ratio = torch.tensor(
            [self.width_px / self.inner_width_px, self.height_px / self.inner_height_px] * 2,
            dtype=boxes.dtype,
        )
        limit = torch.tensor([self.width_px, self.height_px] * 2, dtype=boxes.dtype, device=boxes.device)
        return torch.minimum(((boxes - offset) * ratio).clamp(min=0), limit)

    def masks_to_image(self, masks: Tensor) -> Tensor:
        """Masks (n, input height, input width) bool without the bars, at the image's size (n, h, w) bool."""
        rows, columns = self._inner()
        inner = masks[:, rows, columns]
        size = (self.height_px, self.width_px)
        if inner.shape[1:] == size or len(inner) == 0:
            return inner if inner.shape[1:] == size else inner.new_zeros((0, *size))
        scaled = functional.interpolate(inner[None].float(), size, mode="bilinear", align_corners=False)[0]
        return scaled > 0.5

    def _inner(self) -> tuple[slice, slice]:
        return (
            slice(self.top_px, self.top_px + self.inner_height_px),
            slice(self.left_px, self.left_px + self.inner_width_px),
        )
