"""From plain mappings to checked values: a frozen dataclass a section, every complaint with its key."""

from __future__ import annotations

import difflib
import math
import types
import typing
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from traces.errors import InputError

T = TypeVar("T")


def choose(key: str, value: T, choices: Sequence[T]) -> T:
    """`value` if it is one of `choices`.

    Raises:
        InputError: it is not; names the choices and the nearest one.
    """
    if value in choices:
        return value
    listed = ", ".join(map(str, choices))
    raise InputError(f"{key}: expected one of {listed}, found {value!r}{hint_at(value, choices)}")


def hint_at(value: object, choices: Iterable[object]) -> str:
    """The nearest of `choices`, as the end of a message; nothing where none is near."""
    near = difflib.get_close_matches(str(value), list(map(str, choices)), n=1)
    return f"; did you mean {near[0]!r}?" if near else ""


def read_section(kind: type[T], content: Any, key: str, besides: Iterable[str] = ()) -> T:
    """Read one section into its dataclass.

    Args:
        kind: the dataclass.
        content: the section's keys and values.
        key: the section's path in the configuration, for messages.
        besides: keys of the section that somebody else reads, for messages.

    Raises:
        InputError: an unknown key, with the nearest one, or a value of the wrong type.
    """
    if not isinstance(content, Mapping):
        raise InputError(f"{key or 'configuration'}: expected a section of keys, found {content!r}")
    hints = get_type_hints(kind)
    names = [entry.name for entry in fields(kind) if entry.init]  # type: ignore[arg-type]
    values: dict[str, Any] = {}
    for name, value in content.items():
        path = f"{key}.{name}" if key else str(name)
        if name not in names:
            known = sorted([*names, *besides])
            listed = ", ".join(known) if known else "none"
            raise InputError(f"{path}: expected one of the keys {listed}{hint_at(name, known)}")
        values[name] = _read_value(hints[name], value, path)
    for entry in fields(kind):  # type: ignore[arg-type]
        required = entry.default is MISSING and entry.default_factory is MISSING
        if entry.init and required and entry.name not in values:
            raise InputError(f"{key}.{entry.name}: expected a value, found none")
    return kind(**values)


def _read_value(hint: Any, value: Any, path: str) -> Any:
    origin = get_origin(hint)
    if origin in (Union, types.UnionType):
        options = get_args(hint)
        if value is None and type(None) in options:
            return None
        problems = []
        for option in options:
            if option is not type(None):
                try:
                    return _read_value(option, value, path)
                except InputError as error:
                    problems.append(error)
        if len(problems) == 1:
            raise problems[0]
        raise InputError(f"{path}: expected a value of type {hint}, found {value!r}")
    if is_dataclass(hint):
        return read_section(typing.cast("type[Any]", hint), value, path)
    if origin is tuple:
        if not isinstance(value, Sequence) or isinstance(value, str):
            raise InputError(f"{path}: expected a list, found {value!r}")
        args = get_args(hint)
        if args[-1] is Ellipsis:
            return tuple(_read_value(args[0], item, f"{path}[{i}]") for i, item in enumerate(value))
        if len(value) != len(args):
            raise InputError(f"{path}: expected {len(args)} numbers, found {list(value)}")
        return tuple(
            _read_value(arg, item, f"{path}[{i}]")
            for i, (arg, item) in enumerate(zip(args, value, strict=True))
        )
    if origin is list:
        if not isinstance(value, Sequence) or isinstance(value, str):
            raise InputError(f"{path}: expected a list, found {value!r}")
        return [_read_value(get_args(hint)[0], item, f"{path}[{i}]") for i, item in enumerate(value)]
    if isinstance(origin, type) and issubclass(origin, Mapping):
        if not isinstance(value, Mapping):
            raise InputError(f"{path}: expected a section of keys, found {value!r}")
        return {key: _read_value(get_args(hint)[1], item, f"{path}.{key}") for key, item in value.items()}
    if origin is typing.Literal:
        return choose(path, value, get_args(hint))
    if hint is float:
        if isinstance(value, bool) or not isinstance(value, (int, float)) or math.isnan(value):
            raise InputError(f"{path}: expected a number, found {value!r}")
        return float(value)
    if hint is int:
        if isinstance(value, bool) or not isinstance(value, int):
            raise InputError(f"{path}: expected a whole number, found {value!r}")
        return value
    if hint is bool:
        if not isinstance(value, bool):
            raise InputError(f"{path}: expected true or false, found {value!r}")
        return value
    if hint is str:
        if isinstance(value, int) and not isinstance(value, bool):
            return str(value)  # a layer called "3" is written as 3
        if not isinstance(value, str):
            raise InputError(f"{path}: expected a text, found {value!r}")
        return value
    return value  # its owner reads it
