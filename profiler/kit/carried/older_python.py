"""What Python 3.8 and old numpy lack of what the kit's modules use; `profiler.kit.lowering` puts it in."""

from __future__ import annotations

import functools
import itertools
import math
from typing import Any, Callable, Dict, FrozenSet, Iterator, List, Set, Tuple, Type, Union  # noqa: UP035

try:
    import numpy.typing

    NDArray: Any = numpy.typing.NDArray
except (ImportError, AttributeError):  # numpy before 1.21, or none at all: the kit's help needs none

    class _Array:
        """Stands in an annotation or an alias; nothing is made of it."""

        def __class_getitem__(cls, item: Any) -> Any:
            return cls

    NDArray = _Array

__all__ = [
    "Dict",
    "FrozenSet",
    "List",
    "NDArray",
    "Set",
    "Tuple",
    "Type",
    "Union",
    "cache",
    "gcd",
    "lcm",
    "pairwise",
    "removeprefix",
    "removesuffix",
    "strict_zip",
]

cache: Callable[..., Any] = functools.lru_cache(maxsize=None)
_ABSENT = object()


def strict_zip(*sequences: Any) -> Iterator[Tuple[Any, ...]]:  # noqa: UP006
    """``zip(..., strict=True)``: raises ValueError where one is longer than another."""
    for row in itertools.zip_longest(*sequences, fillvalue=_ABSENT):
        if any(one is _ABSENT for one in row):
            raise ValueError("zip() arguments have different lengths")
        yield row


def pairwise(values: Any) -> Iterator[Tuple[Any, Any]]:  # noqa: UP006
    """Each value with the next one."""
    first, second = itertools.tee(values)
    next(second, None)
    return zip(first, second)  # noqa: B905 - the second is shorter by one


def removeprefix(text: str, prefix: str) -> str:
    """`text` without `prefix` at its start, if it is there."""
    return text[len(prefix) :] if prefix and text.startswith(prefix) else text


def removesuffix(text: str, suffix: str) -> str:
    """`text` without `suffix` at its end, if it is there."""
    return text[: -len(suffix)] if suffix and text.endswith(suffix) else text


def gcd(*numbers: int) -> int:
    """The greatest common divisor of any count of whole numbers."""
    return functools.reduce(math.gcd, numbers, 0)


def lcm(*numbers: int) -> int:
    """The least common multiple of any count of whole numbers."""
    found = 1
    for number in numbers:
        if number == 0:
            return 0
        found = abs(found * number) // math.gcd(found, number)
    return found
