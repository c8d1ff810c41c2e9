"""A folder of images as a video, with the ground truth that lies beside them.

Three layouts: `JPEGImages/` + `Annotations/` (DAVIS: masks 0 and 255, or ids with 255 as void), `images/` +
`labels/` (CamVid: class ids 0 to 10, 11 void; else 255), or the images themselves. Frames are in natural
order (frame9 before frame10). A mask has its image's stem. A folder does not know its frame rate: 30, and 24
for DAVIS.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from traces.errors import InputError
from traces.notices import warn_once
from traces.video.folder_layout import FolderLayout, read_layout
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

TURNED_FORMATS = ("JPEG", "WEBP", "TIFF")  # cameras' own; a PNG's tags would cost reading all of it
FLAT_MODES = ("1", "L", "LA", "P", "PA", "I", "F")
# "All captured at 24fps and Full HD", published at 480 lines, too (Perazzi et al., "A Benchmark Dataset and
# Evaluation Methodology for Video Object Segmentation", CVPR 2016, §3).
DAVIS_FPS, DAVIS_HEIGHTS_PX = 24.0, (480, 1080)
CAMVID_VOID, VOID = 11, 255
MOST_IDS = 64  # objects of a sequence; grey levels of a soft edge are more
QUARTER_TURNS = (5, 6, 7, 8)  # EXIF orientations that swap width and height


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
        fps: float | None = None,
        cache_bytes: int = CACHE_BYTES,
    ) -> None:
        self.path = Path(path)
        if fps is not None:
            check_fps(fps)
        if not self.path.is_dir():
            raise InputError(
                f"{path}: expected a folder of images, found {'a file' if self.path.exists() else 'nothing'}"
            )
        layout = read_layout(self.path)
        self.name = layout.name
        self._images, self._masks, self._classes = layout.images, layout.masks, layout.classes
        self.frame_count = len(self._images)
        height, width = _checked_size(self._images, self._masks or ())
        if fps is None:
            fps = DAVIS_FPS if layout.masks and _is_davis(layout, height) else FOLDER_FPS
        self.fps = float(fps)
        self._resizer = Resizer(resize_geometry(height, width, size_px, fit))
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
        """Ids of frame `index`, (H, W), read-only; padding is 0, or `void` where there is no background."""
        check_index(index, self.frame_count, self.name)
        if self._masks is None:
            return None
        masks, meaning = self._masks, self._meaning
        resizer = Resizer(self._resizer.placement, 0 if meaning.background else meaning.void)
        return self._mask_cache.get(index, lambda i: resizer.mask(_read_ids(masks[i]).ids(meaning.binary)))

    @property
    def void(self) -> int:
        """The id of no object and no class in the masks; 0 for none."""
        return self._meaning.void

    @property
    def has_background(self) -> bool:
        """Whether 0 in the masks is what belongs to no object; else it is a class like the others."""
        return self._meaning.background

    @cached_property
    def _meaning(self) -> _Meaning:
        return _read_meaning(self._masks or (), self._classes)

    def vectors(self, index: int, reference: int) -> None:
        """None: the motion is not known."""
        check_index(index, self.frame_count, self.name)
        check_index(reference, self.frame_count, self.name)


def _is_davis(layout: FolderLayout, height_px: int) -> bool:
    """Whether a sequence with masks of objects is laid out, numbered and sized as DAVIS has it.

    Others of this layout are numbered otherwise (YouTube-VOS: every fifth frame, Pascal VOC: by year).
    """
    numbered = [f"{number:05d}" for number in range(len(layout.images))]
    stems = [file.stem for file in layout.images]
    return not layout.classes and stems == numbered and height_px in DAVIS_HEIGHTS_PX


# -- images ----------------------------------------------------------------------------------------


def _checked_size(images: Sequence[Path], masks: Sequence[Path]) -> tuple[int, int]:
    """(height, width) that all files have, by their headers."""
    headers = [_header(file) for file in images]
    width, height, _ = headers[0]
    for file, found in zip((*images, *masks), (*headers, *map(_header, masks)), strict=True):
        if found[:2] != (width, height):
            raise InputError(
                f"{file}: expected {width}×{height} px as {images[0].name}, got {found[0]}×{found[1]} px"
            )
    flat = [file.name for file, header in zip(images, headers, strict=True) if header[2] in FLAT_MODES]
    if 0 < len(flat) < len(images):
        warn_once(
            f"{images[0].parent}: {len(flat)} of {len(images)} images are grey or have a palette, first "
            f"{flat[0]}: masks among the frames belong into Annotations/ beside JPEGImages/"
        )
    return height, width


def _header(file: Path) -> tuple[int, int, str]:
    """Width, height and Pillow's mode."""
    try:
        with Image.open(file) as image:
            width, height = image.size
            turned = image.format in TURNED_FORMATS and (
                image.getexif().get(ExifTags.Base.Orientation, 1) in QUARTER_TURNS
            )
            return (height, width, image.mode) if turned else (width, height, image.mode)
    except (OSError, UnidentifiedImageError) as error:
        raise InputError(f"{file}: expected an image, the file cannot be read as one: {error}") from error


def _pixels(file: Path, mode: str) -> NDArray[np.uint8]:
    return _opened(file, mode)[0]


def _opened(file: Path, mode: str | None) -> tuple[NDArray[np.uint8], str]:
    """The pixels, converted to a mode if there is one, and the mode that the file has."""
    try:
        with Image.open(file) as opened:
            turns = opened.format in TURNED_FORMATS
            image = ImageOps.exif_transpose(opened) if turns else opened  # as it was meant to be seen
            if mode is None:
                return np.array(image), image.mode
            if image.mode in ("I", "F"):
                raise InputError(f"{file}: expected 8 or 16 bits a channel, got 32")
            if image.mode.startswith("I;16"):  # Pillow would clip at 255, not scale
                grey = np.round(np.array(image) / 257).astype(np.uint8)
                return np.array(Image.fromarray(grey).convert(mode)), image.mode
            return np.array(image.convert(mode)), image.mode
    except InputError:
        raise
    except (OSError, SyntaxError, ValueError) as error:  # Pillow raises SyntaxError for a broken PNG
        raise InputError(f"{file}: expected a whole image, the file is damaged: {error}") from error


# -- masks -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Meaning:
    """What the values of a sequence's masks stand for.

    binary: a mask is 0 or 255, which is object 1.
    void: the id of no object and no class; 0 for none.
    background: 0 is no object.
    """

    binary: bool
    void: int
    background: bool


@dataclass(frozen=True, slots=True)
class _Mask:
    values: NDArray[np.uint8]
    one_bit: bool
    palette: bool

    def ids(self, binary: bool) -> NDArray[np.uint8]:
        return np.asarray(self.values > 0, dtype=np.uint8) if binary or self.one_bit else self.values


def _read_meaning(masks: Sequence[Path], classes: bool) -> _Meaning:
    """What the masks' values stand for, which all of them tell together.

    255 is an object where it is the only value beside 0, and void beside others, though a frame may show no
    other.

    Raises:
        InputError: a mask that cannot be read, or grey levels up to 255, which are no ids.
    """
    seen = np.zeros(256, np.bool_)
    palette = True
    for file in masks:
        mask = _read_ids(file)
        if not mask.one_bit:
            seen |= np.bincount(mask.values.ravel(), minlength=256) > 0
            palette &= mask.palette
    ids = np.flatnonzero(seen[1:255]) + 1
    if not ids.size:
        return _Meaning(True, CAMVID_VOID if classes else 0, not classes)
    if classes:
        of_camvid = not seen[255] and ids.max() <= CAMVID_VOID
        return _Meaning(False, CAMVID_VOID if of_camvid else VOID, False)
    if seen[255] and not palette and ids.size > MOST_IDS:
        raise InputError(
            f"{masks[0].parent}: expected masks of 0 and 255, or of ids, found {ids.size} grey levels "
            "between 0 and 255: soft edges; make every pixel 0 or 255 first"
        )
    return _Meaning(False, VOID if seen[255] else 0, True)


def _read_ids(file: Path) -> _Mask:
    """The values of a mask file: palette indices or grey values."""
    pixels, mode = _opened(file, None)
    if pixels.ndim == 3:
        # Masks are sometimes saved as colour images of three equal channels.
        if pixels.shape[2] >= 3 and not (pixels[..., :3] == pixels[..., :1]).all():
            raise InputError(f"{file}: expected ids in one channel or a palette, got a colour image")
        pixels = pixels[..., 0]
    if pixels.dtype not in (np.uint8, np.bool_) and (pixels.min() < 0 or pixels.max() > 255):
        raise InputError(f"{file}: expected ids from 0 to 255, got {pixels.min()} to {pixels.max()}")
    return _Mask(np.ascontiguousarray(pixels, dtype=np.uint8), pixels.dtype == np.bool_, mode == "P")
