"""Where the images and the masks of a sequence lie, and the order of its frames.

A data set holds `JPEGImages/` beside `Annotations/`, or `images/` beside `labels/`; below them lie the frames
of one sequence or, at the same path on either side, folders of sequences (DAVIS: `480p/dog`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from traces.errors import InputError
from traces.notices import warn_once

LAYOUTS = (("JPEGImages", "Annotations", False), ("images", "labels", True))  # the last: of classes
IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".ppm"})
MASK_SUFFIXES = frozenset({".png", ".bmp", ".tif", ".tiff"})
DECIMAL = re.compile(r"(?<![\d.])\d+\.(\d+)(?![\d.])")
DIGITS = re.compile(r"\d+")
NAMED = 5  # folders that a message lists


@dataclass(frozen=True, slots=True)
class FolderLayout:
    """A sequence's images in order, and the mask of each where there are masks.

    classes: masks hold a class for every pixel, not objects before a background.
    """

    name: str
    images: tuple[Path, ...]
    masks: tuple[Path, ...] | None
    classes: bool


def read_layout(folder: Path) -> FolderLayout:
    """Find the images and masks of a sequence.

    Args:
        folder: holds the images, or a data set of one sequence, or is a sequence's folder of images in one.

    Warns:
        InputWarning: a data set has masks for some of the images only, which are then left aside; or names
            are sorted by a decimal number within them.

    Raises:
        InputError: no image, several sequences, masks in the place of images, two files of the same stem, or
            masks in the folder itself that are missing for some images.
    """
    images, masks, classes, inner = _found(folder)
    listed = _listed(images, IMAGE_SUFFIXES, "image")
    if not listed:
        raise InputError(f"{images}: expected images ({', '.join(sorted(IMAGE_SUFFIXES))}), found none")
    matched = None
    if masks is not None and masks.is_dir():
        matched = _matched(listed, masks, strict=masks.parent == folder)
    name = (images if inner.parts else folder).resolve().name
    return FolderLayout(name, tuple(listed), matched, classes and matched is not None)


def _found(folder: Path) -> tuple[Path, Path | None, bool, Path]:
    """Images, masks, whether those are classes, and how far down the images lay."""
    for images_name, masks_name, classes in LAYOUTS:
        if (folder / images_name).is_dir():
            images, inner = _sequence(folder / images_name)
            return images, folder / masks_name / inner, classes, inner
        meant = _opposite(folder, masks_name, images_name)
        if meant is not None:
            raise InputError(f"{folder}: expected images, found the masks of {meant}; name that folder")
    images, inner = _sequence(folder)
    for images_name, masks_name, classes in LAYOUTS:
        masks = _opposite(images, images_name, masks_name)
        if masks is not None:
            return images, masks, classes, inner
    return images, None, False, inner


def _opposite(folder: Path, name: str, other: str) -> Path | None:
    """The folder at the same place below `other` as `folder` is below `name`, if there is one."""
    parts = list(folder.absolute().parts)
    for place in reversed(range(len(parts))):
        if parts[place] == name:
            found = Path(*parts[:place], other, *parts[place + 1 :])
            return found if found.is_dir() else None
    return None


def _sequence(folder: Path) -> tuple[Path, Path]:
    """The folder of images in or below `folder`, as far down as there is one way, and its path from there."""
    inner = Path()
    while not _files(folder / inner, IMAGE_SUFFIXES):
        below = sorted(
            entry.name
            for entry in (folder / inner).iterdir()
            if entry.is_dir() and not entry.name.startswith(".")
        )
        if not below:
            break
        if len(below) > 1:
            more = ", …" if len(below) > NAMED else ""
            raise InputError(
                f"{folder / inner}: expected the images of one sequence, found {len(below)} folders; name "
                f"one of them: {', '.join(below[:NAMED])}{more}"
            )
        inner /= below[0]
    return folder / inner, inner


def _files(folder: Path, suffixes: frozenset[str]) -> list[Path]:
    return [
        file for file in folder.iterdir() if file.suffix.lower() in suffixes and not file.name.startswith(".")
    ]


def _listed(folder: Path, suffixes: frozenset[str], kind: str) -> list[Path]:
    """The files of a folder in order, each stem once."""
    found: dict[str, Path] = {}
    for file in sorted(_files(folder, suffixes)):
        other = found.setdefault(file.stem, file)
        if other is not file:
            elsewhere = "; masks belong into Annotations/ beside JPEGImages/" if kind == "image" else ""
            raise InputError(
                f"{folder}: expected one {kind} of each name, found {other.name} and {file.name}{elsewhere}"
            )
    return [found[stem] for stem in in_order(found, str(folder))]


def _matched(images: list[Path], folder: Path, strict: bool) -> tuple[Path, ...] | None:
    masks = {file.stem: file for file in _listed(folder, MASK_SUFFIXES, "mask")}
    missing = [image for image in images if image.stem not in masks]
    if missing and not strict:
        warn_once(
            f"{folder}: has no mask for {len(missing)} of {len(images)} images, first {missing[0].name}: the "
            "sequence is read without masks"
        )
        return None
    if missing:
        raise InputError(
            f"{folder / (missing[0].stem + '.png')}: expected a mask for every image, found none for "
            f"{len(missing)} of {len(images)}, first {missing[0].name}"
        )
    return tuple(masks[image.stem] for image in images)


# -- order -----------------------------------------------------------------------------------------


def in_order(stems: Iterable[str], where: str) -> list[str]:
    """Names in the order of the numbers in them: frame9 before frame10, and 100.25 before 100.5.

    Whether 1.25 is one number or two is told by the zeros: decimal numbers do not end in them, but whoever
    counts 1.8, 1.9 gets to 1.10. With as many digits everywhere, both are the same.
    """
    names = list(stems)
    ends = [match[1] for name in names for match in DECIMAL.finditer(name)]
    decimals = len({len(end) for end in ends}) > 1 and not any(
        len(end) > 1 and end[-1] == "0" for end in ends
    )
    if decimals and not all(re.fullmatch(r"\d+(\.\d+)?", name) for name in names):
        first = next(name for name in names if DECIMAL.search(name))
        warn_once(f"{where}: numbers in names such as {first!r} are sorted as decimals, 1.25 before 1.5")
    return sorted(names, key=lambda name: natural_key(name, decimals))


def natural_key(name: str, decimals: bool = False) -> tuple[tuple[int, Decimal, str], ...]:
    """Sorts digits by their value: frame9 before frame10.

    Args:
        decimals: 1.25 is one number, less than 1.5; else it is two, and 1.5 comes before 1.25.
    """
    parts: list[tuple[int, Decimal, str]] = []
    end = 0
    for number in (DECIMAL if decimals else DIGITS).finditer(name):
        parts += natural_key(name[end : number.start()]) if decimals else _text(name[end : number.start()])
        parts.append((0, Decimal(number[0]), ""))
        end = number.end()
    parts += natural_key(name[end:]) if decimals else _text(name[end:])
    return tuple(parts)


def _text(part: str) -> list[tuple[int, Decimal, str]]:
    return [(1, Decimal(0), part.lower())] if part else []
