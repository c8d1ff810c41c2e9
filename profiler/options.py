"""Parsing of ``key=value`` arguments: errors name the nearest known key or the value expected."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from traces.errors import InputError

Parser = Callable[[str], Any]


def parse(arguments: Sequence[str], known: Mapping[str, Parser]) -> tuple[list[str], dict[str, Any]]:
    """Split arguments into plain words and parsed ``key=value`` pairs.

    Raises:
        InputError: an unknown or repeated key, or a value that its parser refuses.
    """
    words: list[str] = []
    values: dict[str, Any] = {}
    for argument in arguments:
        key, equals, text = argument.partition("=")
        if not equals or not re.fullmatch(r"[a-z_]+", key):
            words.append(argument)
            continue
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            hint = f"; did you mean {near[0]}=?" if near else ""
            raise InputError(f"{key}: expected one of {sorted(known)}, found {argument!r}{hint}")
        if key in values:
            raise InputError(f"{key}: expected once, found again in {argument!r}")
        try:
            values[key] = known[key](text)
        except ValueError as error:
            raise InputError(f"{key}: expected {error}, found {text!r}") from None
    return words, values


def whole(minimum: int) -> Parser:
    """A whole number of at least ``minimum``."""

    def read(text: str) -> int:
        if not re.fullmatch(r"-?\d+", text) or int(text) < minimum:
            raise ValueError(f"a whole number of at least {minimum}")
        return int(text)

    return read


def number(minimum: float, unit: str = "", *, above: bool = False) -> Parser:
    """A finite number of at least (or above) ``minimum``."""
    expected = f"a number {'above' if above else 'of at least'} {minimum:g}{f' ({unit})' if unit else ''}"

    def read(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            raise ValueError(expected) from None
        if not minimum <= value < float("inf") or (above and value == minimum):
            raise ValueError(expected)
        return value

    return read


def resolution(text: str) -> tuple[int, int]:
    """``640`` or ``256x192`` (height by width), multiples of 16 px."""
    found = re.fullmatch(r"(\d+)(?:x(\d+))?", text)
    sides = (int(found.group(1)), int(found.group(2) or found.group(1))) if found else (0, 0)
    if min(sides) < 16 or any(side % 16 for side in sides):
        raise ValueError("pixels as SIDE or HEIGHTxWIDTH, multiples of 16")
    return sides


def choice(*allowed: str) -> Parser:
    """One of a few words."""

    def read(text: str) -> str:
        if text not in allowed:
            raise ValueError(f"one of {list(allowed)}")
        return text

    return read


def flag(text: str) -> bool:
    """``true`` or ``false``."""
    if text not in ("true", "false"):
        raise ValueError("true or false")
    return text == "true"


def path_name(text: str) -> str:
    """A name that can be a folder or file."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", text):
        raise ValueError("a name of letters, digits, dots, dashes and underscores")
    return text


# What is measured and how: of the desk and of the kit, each with keys of its own beside.
MEASURING: dict[str, Parser] = {
    "model": path_name,
    "device": str,
    "resolution": resolution,
    "precision": choice("fp32", "tf32", "fp16"),
    "policy": choice("exact", "truncate", "fixed"),
    "backend": choice("reference", "cpu", "cuda", "triton"),
    "name": path_name,
    "weights": str,
    "repeats": whole(3),
    "budget_s": number(0.0, "seconds", above=True),
    "threads": whole(1),
    "clock": choice("wall", "thread"),
    "seed": whole(0),
    "fresh": flag,
    "out": str,
}
DEFAULT_RESOLUTION_PX = (640, 640)


def profile_name(model: str, resolution_px: tuple[int, int]) -> str:
    """The model, with its resolution where that is not the usual one."""
    height, width = resolution_px
    if resolution_px == DEFAULT_RESOLUTION_PX:
        return model
    return f"{model}-{height}" if height == width else f"{model}-{height}x{width}"
