"""Classes that a YAML names, ours and anybody's: systems, schedulers, estimators, formats, codecs, networks.

    # conf/system/mine.yaml, or system/mine.yaml in any --config-dir
    _target_: package.module.Class
    quality: 50

The class has a nested frozen dataclass `Options`, whose fields are the YAML's other keys, and is made as
`Class(…, options)`. What is wrong with a user's class is said with the user's file and line.
"""

from __future__ import annotations

import inspect
import sysconfig
import traceback
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, is_dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, get_type_hints

from sim.configuration import lookup
from sim.configuration.reading import hint_at, read_section
from traces.errors import InputError, place_of

TARGET, NAME = "_target_", "name"
DISPLAY = "display"  # how tables and pictures show it: label and colour


@dataclass(frozen=True, slots=True)
class Plugin:
    """A class that a YAML names, with its options read.

    Args:
        group: "system", "scheduler", …
        name: the YAML's file name.
        kind: the class.
        options: an instance of its `Options`.
    """

    group: str
    name: str
    kind: type
    options: Any

    def make(self, *arguments: Any) -> Any:
        """An instance: `kind(*arguments, options)`.

        Raises:
            InputError: the class takes other arguments, or refuses an option; names its file and line.
        """
        try:
            inspect.signature(self.kind).bind(*arguments, self.options)
        except TypeError as error:
            raise InputError(
                f"{place_of(self.kind)}: expected {self.kind.__name__} to be made from "
                f"{len(arguments) + 1} values, the last its options, found {error}"
            ) from None
        try:
            return self.kind(*arguments, self.options)
        except InputError:
            raise
        except ValueError as error:  # what it, or a library that it uses, thinks of an option
            place = f"{place_of(self.kind)}: " if self._is_own else ""
            raise InputError(f"{place}{self.group}={self.name}: {error}") from error

    @property
    def _is_own(self) -> bool:
        """Whether the class is the user's, not the project's."""
        return not (inspect.getsourcefile(self.kind) or "").startswith(_foreign_folders())


def find_plugin(
    group: str, name: str, folders: Iterable[str] = (), key: str | None = None, **values: Any
) -> Plugin:
    """The class that `<group>/<name>.yaml` names.

    Args:
        group, name, folders, key: as for :func:`sim.configuration.lookup.find`.
        values: replace options of that name, where the YAML has them; None replaces nothing.
    """
    path = lookup.find(group, name, folders, key)
    section = lookup.read(path)
    replaced = {option: value for option, value in values.items() if option in section and value is not None}
    return read_plugin(group, {**section, **replaced}, folders, key=key, name=name)


def read_plugin(
    group: str,
    section: Mapping[str, Any],
    folders: Iterable[str] = (),
    besides: Iterable[str] = (),
    key: str | None = None,
    name: str | None = None,
) -> Plugin:
    """The class that a section names, with the options that the section holds.

    Args:
        group: of the YAML that the section came from.
        section: the YAML's content as it was composed, or no more than `name` and the options that differ.
        folders: searched for the YAML before the user's and the package's.
        besides: keys that are not the class's.
        key: the section's path in the configuration, for messages; the group's where it is None.
        name: the YAML's, where it is known: `name` in the section is then an option like any other.

    Raises:
        InputError: no such YAML, module or class, a module that cannot be loaded, an unknown option or a
            value that does not fit.
    """
    key = key or group.replace("/", ".")
    content = dict(section)
    named = name is not None
    if not named:
        name = content.pop(NAME, None)
    path: Path | None = None
    if name is not None:
        if not isinstance(name, str):
            raise InputError(f"{key}.name: expected the name of a YAML, found {name!r}")
        if TARGET not in content:
            path = lookup.find(group, name, folders, key)
            content = {**lookup.read(path), **content}
        elif name in lookup.names(group, folders):
            path = lookup.find(group, name, folders)
    elif TARGET not in content:
        raise InputError(f"{key}.name: expected one of {', '.join(lookup.names(group, folders))}, found none")
    where = f"{path}:{lookup.line_of(path, TARGET)}" if path is not None else key
    if TARGET not in content:
        raise InputError(f"{where}: expected _target_: package.module.Class, found no such key")
    kind = load_class(content.pop(TARGET), where)
    content.pop(DISPLAY, None)
    besides = tuple(besides)
    for other in besides:
        content.pop(other, None)
    reserved = (DISPLAY, *besides) if named else (NAME, DISPLAY, *besides)
    options_kind = getattr(kind, "Options", None)
    if not (isinstance(options_kind, type) and is_dataclass(options_kind)):
        raise InputError(
            f"{place_of(kind)}: expected class {kind.__name__} to have a nested frozen dataclass Options, "
            f"found {options_kind!r}"
        )
    _check_fields(options_kind, reserved)
    try:
        options = read_section(options_kind, content, key, besides)
    except InputError:
        raise
    except ValueError as error:  # a check of a class that knows no configuration: "<field>: expected …"
        raise InputError(f"{key}.{error}") from None
    return Plugin(group, name or kind.__name__, kind, options)


def _check_fields(options_kind: type, reserved: Iterable[str]) -> None:
    """Refuse options that no YAML can set, and types that cannot be looked up."""
    taken = [entry.name for entry in fields(options_kind) if entry.name in reserved]
    if taken:
        raise InputError(
            f"{place_of(options_kind)}: expected another name for the option {taken[0]!r}: "
            "that key of the YAML is not the class's"
        )
    try:
        get_type_hints(options_kind)
    except (NameError, AttributeError, TypeError) as error:
        raise InputError(
            f"{place_of(options_kind)}: expected types of Options that the module knows, found {error}"
        ) from None


def load_class(target: Any, where: str) -> type:
    """The class at a dotted path.

    Args:
        target: "package.module.Class".
        where: file and line, or the key, that say so.

    Raises:
        InputError: no such module or class, or the module fails to load: names its file and line.
    """
    module_name, _, class_name = str(target).rpartition(".")
    if not isinstance(target, str) or not module_name:
        raise InputError(f"{where}: _target_: expected package.module.Class, found {target!r}")
    try:
        module = import_module(module_name)
    except Exception as error:
        raise InputError(f"{where}: _target_: {_import_problem(error, module_name)}") from error
    kind = getattr(module, class_name, None)
    if not isinstance(kind, type):
        own = [name for name, value in vars(module).items() if isinstance(value, type)]
        file = getattr(module, "__file__", None) or module_name
        found = "no such name" if kind is None else f"{kind!r}"
        raise InputError(
            f"{where}: _target_: expected a class {class_name!r} in {file}, found {found}"
            f"{hint_at(class_name, own)}"
        )
    return kind


def _import_problem(error: Exception, module_name: str) -> str:
    """What went wrong while a module was loaded, and the last line of the user's code that it came from."""
    if isinstance(error, ModuleNotFoundError) and error.name is not None:
        missing = error.name
        if module_name == missing or module_name.startswith(f"{missing}."):
            return f"expected a module {module_name!r} on Python's path or in a --config-dir, found none"
    if isinstance(error, SyntaxError):
        return f"{error.filename}:{error.lineno}: {error.msg}"
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if "importlib" not in frame.filename and frame.filename != __file__
    ]
    own = [frame for frame in frames if not frame.filename.startswith(_foreign_folders())]
    frames = own or frames
    place = f"{frames[-1].filename}:{frames[-1].lineno}: " if frames else ""
    return f"{place}{type(error).__name__}: {error}"


def _foreign_folders() -> tuple[str, ...]:
    """Where code lies that is not the user's: Python's library, installed packages, this project."""
    installed = (sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib"))
    return (*installed, str(Path(__file__).resolve().parents[2]))
