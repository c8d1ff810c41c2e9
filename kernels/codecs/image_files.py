"""JPEG and PNG images in memory: by Pillow, or by OpenCV on a board that has no Pillow.

OpenCV before 4.5.5 cannot say at what resolution JPEG codes colours: it then writes 4:2:0 alone.
"""

from __future__ import annotations

import io
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

_SAMPLINGS = {0: "IMWRITE_JPEG_SAMPLING_FACTOR_444", 2: "IMWRITE_JPEG_SAMPLING_FACTOR_420"}


@cache
def library() -> str | None:
    """What codes images here: ``pillow``, ``opencv``, or None where neither can be imported."""
    return next((name for name, why in _tried() if why is None), None)


def unavailable() -> str | None:
    """Why nothing codes images here, in a line; None where something does."""
    if library() is not None:
        return None
    reasons = [f"{name} cannot be imported ({why})" for name, why in _tried()]
    return "; ".join(reasons) or "neither Pillow nor OpenCV is installed"


@cache
def _tried() -> tuple[tuple[str, str | None], ...]:
    """Each library that is installed, and why it cannot be imported, up to the first that can."""
    found: list[tuple[str, str | None]] = []
    for name, module in (("pillow", "PIL.Image"), ("opencv", "cv2")):
        if find_spec(module.partition(".")[0]) is None:
            continue
        try:
            import_module(module)
        except Exception as error:  # one built for another numpy or without its libraries raises anything
            found.append((name, " ".join(f"{type(error).__name__}: {error}".split())[:160]))
        else:
            return (*found, (name, None))
    return tuple(found)


def write_image(
    image: NDArray[np.uint8],
    form: str,
    *,
    quality: int = 85,
    subsampling: int = 0,
    compress_level: int = 1,
) -> bytes:
    """The bytes of an image file.

    Args:
        image: (H, W) or (H, W, 3) uint8, RGB.
        form: ``JPEG`` or ``PNG``.
        quality: of JPEG, 1 to 95.
        subsampling: of JPEG's colours, in Pillow's words: 0 is 4:4:4, 2 is 4:2:0.
        compress_level: of PNG, 0 to 9.

    Raises:
        ValueError: OpenCV is too old for 4:4:4.
        ModuleNotFoundError: there is no library for images.
    """
    if library() != "opencv":
        from PIL import Image

        buffer = io.BytesIO()
        options = {"JPEG": {"quality": quality, "subsampling": subsampling}}
        Image.fromarray(image).save(buffer, form, **options.get(form, {"compress_level": compress_level}))
        return buffer.getvalue()
    cv2: Any = import_module("cv2")
    if form == "PNG":
        settings = [cv2.IMWRITE_PNG_COMPRESSION, compress_level]
    else:
        settings = [cv2.IMWRITE_JPEG_QUALITY, quality]
        if hasattr(cv2, "IMWRITE_JPEG_SAMPLING_FACTOR"):
            settings += [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, getattr(cv2, _SAMPLINGS[subsampling])]
        elif subsampling != 2 and image.ndim == 3:
            raise ValueError(f"JPEG in 4:4:4 needs Pillow, or OpenCV 4.5.5 or later (got {cv2.__version__})")
    done, data = cv2.imencode(f".{form.lower()}", image[..., ::-1] if image.ndim == 3 else image, settings)
    if not done:
        raise ValueError(f"OpenCV {cv2.__version__} wrote no {form}")
    return bytes(data)


def read_image(data: bytes, form: str) -> NDArray[np.uint8]:
    """(H, W) or (H, W, 3) RGB of a file of `write_image`.

    Raises:
        ValueError: no such file, or a damaged one; the message says why.
        ModuleNotFoundError: there is no library for images.
    """
    if library() != "opencv":
        from PIL import Image

        try:
            return np.array(Image.open(io.BytesIO(data), formats=[form]))
        except (OSError, SyntaxError) as error:
            raise ValueError(str(error)) from None
    cv2: Any = import_module("cv2")
    made = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if made is None:
        raise ValueError(f"OpenCV {cv2.__version__} cannot read it")
    return np.ascontiguousarray(made[..., ::-1]) if made.ndim == 3 else made
