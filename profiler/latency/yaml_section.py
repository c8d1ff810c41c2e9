"""Checked access to the keys of a YAML file: an error says where, what was expected and what was found."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable
from itertools import pairwise
from typing import Any

from traces.errors import InputError


class YamlSection:
    """A mapping in a YAML file; ``prefix`` is the dotted path to it, so that errors name the whole key.

    Every method raises InputError if the key is missing or holds something else.
    """

    def __init__(self, path: str, prefix: str, content: Any) -> None:
        self.path, self.prefix = path, prefix
        if not isinstance(content, dict):
            where = f"{path}: {prefix.rstrip('.')}" if prefix else path
            raise InputError(f"{where}: expected keys, found {content!r}")
        self.content: dict[str, Any] = content

    def error(self, key: str, expected: str, found: object) -> InputError:
        shown = found if isinstance(found, str) and " " in found else repr(found)
        return InputError(f"{self.path}: {self.prefix}{key}: expected {expected}, found {shown}")

    def only(self, known: Iterable[str]) -> None:
        for key in self.content:
            if key not in known:
                near = difflib.get_close_matches(str(key), list(known), n=1)
                hint = f"; did you mean {near[0]!r}?" if near else ""
                raise InputError(f"{self.path}: {self.prefix}{key}: expected one of {list(known)}{hint}")

    def has(self, key: str) -> bool:
        return self.content.get(key) is not None

    def required(self, key: str, expected: str) -> Any:
        if key not in self.content:
            raise InputError(f"{self.path}: {self.prefix}{key}: expected {expected}, found no such key")
        return self.content[key]

    def section(self, key: str) -> YamlSection:
        return YamlSection(self.path, f"{self.prefix}{key}.", self.required(key, "keys"))

    def sections(self, key: str) -> list[YamlSection]:
        items = self.required(key, "a list")
        if not isinstance(items, list) or not items:
            raise self.error(key, "a list with at least one entry", items)
        return [YamlSection(self.path, f"{self.prefix}{key}[{i}].", item) for i, item in enumerate(items)]

    def text(self, key: str) -> str:
        value = self.required(key, "text")
        if not isinstance(value, str) or not value:
            raise self.error(key, "text", value)
        return value

    def number(
        self,
        key: str,
        value: Any = None,
        *,
        minimum: float = 0.0,
        maximum: float = math.inf,
        positive: bool = False,
    ) -> float:
        expected = f"a finite number{' above 0' if positive else f' of at least {minimum:g}'}"
        if maximum < math.inf:
            expected += f" and at most {maximum:g}"
        if key.endswith("_s") or key == "seconds":
            expected += " (seconds)"
        value = self.required(key, expected) if value is None else value
        if isinstance(value, str):
            raise self.error(key, f"{expected} (YAML reads 1.0e-9 as a number but 1e-9 as text)", value)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
            raise self.error(key, expected, value)
        if value < minimum or value > maximum or (positive and value == 0):
            raise self.error(key, expected, value)
        return float(value)

    def optional_number(self, key: str, minimum: float = 0.0, maximum: float = math.inf) -> float | None:
        return self.number(key, minimum=minimum, maximum=maximum) if self.has(key) else None

    def whole(self, key: str, value: Any = None, *, minimum: int = 0) -> int:
        expected = f"a whole number of at least {minimum}"
        value = self.required(key, expected) if value is None else value
        if isinstance(value, bool) or not isinstance(value, int) or value < minimum:
            raise self.error(key, expected, value)
        return value

    def optional_whole(self, key: str, minimum: int = 0) -> int | None:
        return self.whole(key, minimum=minimum) if self.has(key) else None

    def numbers(self, key: str, value: Any = None) -> tuple[float, ...]:
        value = self.required(key, "a list of numbers") if value is None else value
        if not isinstance(value, list) or not value:
            raise self.error(key, "a list of numbers", value)
        return tuple(self.number(f"{key}[{i}]", item) for i, item in enumerate(value))

    def increasing(self, key: str, maximum: float = math.inf) -> tuple[float, ...]:
        values = self.numbers(key)
        if values[-1] > maximum or any(b <= a for a, b in pairwise(values)):
            bound = f" up to {maximum:g}" if maximum < math.inf else ""
            raise self.error(key, f"strictly increasing numbers{bound}", list(values))
        return values

    def resolution(self, key: str) -> tuple[int, int]:
        value = self.required(key, "pixels, as one number or [height, width]")
        sides = value if isinstance(value, list) else [value, value]
        if len(sides) != 2:
            raise self.error(key, "pixels, as one number or [height, width]", value)
        return self.whole(key, sides[0], minimum=1), self.whole(key, sides[1], minimum=1)
