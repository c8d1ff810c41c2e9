"""A folder of images as a video, with the ground truth that lies beside them.

Three layouts: `JPEGImages/` + `Annotations/` (DAVIS: one folder a sequence, masks 0 and 255 or palette ids),
`images/` + `labels/` (CamVid: class ids 0 to 10, 11 void), or the images themselves. Frames are in natural
order (frame9 before frame10). A mask has its image's stem.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from traces.errors import InputError
from traces.video.sequence import (
    CACHE_BYTES,
    FOLDER_FPS,
    FrameCache,
    Resizer,
    SizePx,
    check_fps,
    check_index,
    resize_geometry,
)

LAYOUTS = (("JPEGImages", "Annotations", 0), ("images", "labels", 11))  # the last is the id of no class
IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".ppm"})
MASK_SUFFIXES = frozenset({".png", ".bmp", ".tif", ".tiff"})
TURNED_FORMATS = ("JPEG", "WEBP", "TIFF")  # cameras' own; a PNG's tags would cost reading all of it
QUARTER_TURNS = (5, 6, 7, 8)  # EXIF orientations that swap width and height


def natural_key(name: str) -> tuple[tuple[int, int, str], ...]:
    """Sorts digits by their value: frame9 before frame10."""
    parts = re.findall(r"\d+|\D+", name)
    return tuple((0, int(part), "") if part.isdigit() else (1, 0, part.lower()) for part in parts)


class ImageFolder:
    """A folder of images, all of one size, with a mask for every image or for none.

    Raises:
        InputError: no image; images without a mask beside others that have one; sizes that differ, which is
            read from every header when the folder is opened; an image that cannot be decoded, when it is.
    """

    synthetic = False

    def __init__(
        self,
        path: str | Path,
        size_px: SizePx = 640,
        fit: str = "letterbox",
        fps: float = FOLDER_FPS,
        cache_bytes: int = CACHE_BYTES,
    ) -> None:
        self.path = Path(path)
        self.name = self.path.resolve().name
        self.fps = check_fps(fps)
        if not self.path.is_dir():
            raise InputError(
                f"{path}: expected a folder of images, found {'a file' if self.path.exists() else 'nothing'}"
            )
        images, masks, void = _layout(self.path)
        self._images = _listed(images, IMAGE_SUFFIXES)
        if not self._images:
            raise InputError(f"{images}: expected images ({', '.join(sorted(IMAGE_SUFFIXES))}), found none")
        self.frame_count = len(self._images)
        self._masks = _matched(self._images, masks) if masks is not None else None
        self.void = void if self._masks is not None else 0
        width, height = _size(self._images[0])
        for file in (*self._images, *(self._masks or ())):
            found = _size(file)
            if found != (width, height):
                raise InputError(
                    f"{file}: expected {width}×{height} px as {self._images[0].name}, "
                    f"got {found[0]}×{found[1]} px"
                )
        self._resizer = Resizer(resize_geometry(height, width, size_px, fit), self.void)
        self.height_px = self._resizer.placement.height_px
        self.width_px = self._resizer.placement.width_px
        self._image_cache = FrameCache(cache_bytes)
        self._mask_cache = FrameCache(cache_bytes // 3)

    def __repr__(self) -> str:
        return f"ImageFolder({str(self.path)!r}, {self.frame_count} frames, {self.fps:g} fps)"

    def image(self, index: int) -> NDArray[np.uint8]:
        """Frame `index`, (H, W, 3) RGB, read-only."""
        check_index(index, self.frame_count, self.name)
        return self._image_cache.get(index, lambda i: self._resizer.image(_pixels(self._images[i], "RGB")))

    def mask(self, index: int) -> NDArray[np.uint8] | None:
        """Ids of frame `index`, (H, W), read-only; padding is `void`, 0 unless the labels have that class."""
        check_index(index, self.frame_count, self.name)
        if self._masks is None:
            return None
        masks = self._masks
        return self._mask_cache.get(index, lambda i: self._resizer.mask(_ids(masks[i])))

    def vectors(self, index: int, reference: int) -> None:
        """None: the motion is not known."""
        check_index(index, self.frame_count, self.name)
        check_index(reference, self.frame_count, self.name)


def _layout(folder: Path) -> tuple[Path, Path | None, int]:
    for images, masks, void in LAYOUTS:
        if (folder / images).is_dir():
            return folder / images, folder / masks if (folder / masks).is_dir() else None, void
    return folder, None, 0


def _listed(folder: Path, suffixes: frozenset[str]) -> list[Path]:
    found = [
        file for file in folder.iterdir() if file.suffix.lower() in suffixes and not file.name.startswith(".")
    ]
    return sorted(found, key=lambda file: natural_key(file.name))


def _matched(images: list[Path], folder: Path) -> list[Path]:
    masks = {file.stem: file for file in _listed(folder, MASK_SUFFIXES)}
    missing = [image for image in images if image.stem not in masks]
    if missing:
        raise InputError(
            f"{folder / (missing[0].stem + '.png')}: expected a mask for every image, found none for "
            f"{len(missing)} of {len(images)}, first {missing[0].name}"
        )
    return [masks[image.stem] for image in images]


def _size(file: Path) -> tuple[int, int]:
    try:
        with Image.open(file) as image:
            width, height = image.size
            turned = image.format in TURNED_FORMATS and (
                image.getexif().get(ExifTags.Base.Orientation, 1) in QUARTER_TURNS
            )
            return (height, width) if turned else (width, height)
    except (OSError, UnidentifiedImageError) as error:
        raise InputError(f"{file}: expected an image, the file cannot be read as one: {error}") from error


def _pixels(file: Path, mode: str | None) -> NDArray[np.uint8]:
    try:
        with Image.open(file) as opened:
            turns = opened.format in TURNED_FORMATS
            image = ImageOps.exif_transpose(opened) if turns else opened  # as it was meant to be seen
            if mode is None:
                return np.array(image)
            if image.mode in ("I", "F"):
                raise InputError(f"{file}: expected 8 or 16 bits a channel, got 32")
            if image.mode.startswith("I;16"):  # Pillow would clip at 255, not scale
                grey = np.round(np.array(image) / 257).astype(np.uint8)
                return np.array(Image.fromarray(grey).convert(mode))
            return np.array(image.convert(mode))
    except InputError:
        raise
    except (OSError, SyntaxError, ValueError) as error:  # Pillow raises SyntaxError for a broken PNG
        raise InputError(f"{file}: expected a whole image, the file is damaged: {error}") from error


def _ids(file: Path) -> NDArray[np.uint8]:
    """Ids of a mask file: palette indices or grey values; 255 in a mask of 0 and 255 becomes 1."""
    pixels = _pixels(file, None)
    if pixels.ndim == 3:
        # Binary masks are sometimes saved as colour images of three equal channels.
        if pixels.shape[2] >= 3 and not (pixels[..., :3] == pixels[..., :1]).all():
            raise InputError(f"{file}: expected ids in one channel or a palette, got a colour image")
        pixels = pixels[..., 0]
    if pixels.dtype != np.uint8:
        if pixels.dtype != np.bool_ and (pixels.min() < 0 or pixels.max() > 255):
            raise InputError(f"{file}: expected ids from 0 to 255, got {pixels.min()} to {pixels.max()}")
        pixels = pixels.astype(np.uint8)
    if pixels.size and set(np.unique(pixels).tolist()) <= {0, 255}:
        return np.asarray(pixels > 0, dtype=np.uint8)
    return np.asarray(pixels, dtype=np.uint8)
