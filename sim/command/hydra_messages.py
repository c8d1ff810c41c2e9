"""What is wrong with a command line, in one line each and with the nearest names.

Hydra would say so, too, but over several lines and without the names.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, NoReturn

import yaml
from hydra.errors import HydraException, OverrideParseException
from hydra.types import RunMode
from omegaconf import DictConfig, open_dict

from conf.search_path import group_names
from sim.command.hydra_compose import compose_run, option_keys, run_content
from sim.configuration.plugins import load_class
from sim.configuration.sections import NAMED, OPEN_SECTIONS, key_paths
from traces.errors import InputError

GROUPS = (*NAMED, "trace", "video", "arrival", "accuracy", "experiment")
OPTION = re.compile(rf"(?P<key>(?P<group>{'|'.join(OPEN_SECTIONS)})\.(?P<option>\w+)[\w.]*)=")


def hint_at(name: str, known: Iterable[str], before: str = "") -> str:
    """The nearest of the known names, as the end of a message; empty where none is near."""
    near = difflib.get_close_matches(name, list(known), n=2)
    return f"; did you mean {' or '.join(before + one for one in near)}?" if near else ""


def check_choices(overrides: Sequence[str], folders: Sequence[Path]) -> None:
    """Check the names of choices among the overrides of a command line.

    Raises:
        InputError: an unknown choice of a group.
    """
    if any(part.startswith(("--config-path", "-cp", "hydra.searchpath")) for part in overrides):
        return  # choices may lie elsewhere
    for override in overrides:
        group, equals, value = override.partition("=")
        if not equals or group not in GROUPS or any(sign in value for sign in "()[]{}$*"):
            continue
        for name in (part.strip() for part in value.split(",")):
            inside = name.rpartition("/")[0]  # "paper/figure" lies in a folder of the group
            known = tuple(
                f"{inside}/{one}" if inside else one
                for one in group_names(f"{group}/{inside}" if inside else group, folders)
            ) or group_names(group, folders)
            if known and name not in (*known, "null"):
                raise InputError(
                    f"{group}: expected one of {', '.join(known)}, found {name!r}{hint_at(name, known)}"
                )


def composed_content(overrides: Sequence[str], folders: Sequence[Path]) -> dict[str, Any]:
    """The plain mappings that describe a run, from overrides as on the command line.

    Raises:
        InputError: an unknown choice or key, a value that is missing, or a sweep.
    """
    check_choices(overrides, folders)
    try:
        config = compose_run(overrides)
    except HydraException as error:
        refuse(error, overrides)
    except yaml.YAMLError as error:
        refuse_file(error)
    hydra = config.hydra
    if hydra.mode == RunMode.MULTIRUN:
        raise InputError("hydra.mode: expected one run, found a sweep: python -m sim makes those")
    with open_dict(config):
        del config["hydra"]
    return run_content(config, hydra.runtime.choices, folders)


def refuse_file(error: yaml.YAMLError) -> NoReturn:
    """Raise what is wrong with a YAML file as one line, with its name and the line in it.

    Raises:
        InputError: always.
    """
    mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None)
    where = f"{mark.name}:{mark.line + 1}: " if mark is not None else ""
    found = " ".join(str(problem or error).split()).removeprefix("found ")
    raise InputError(f"{where}expected YAML, found {found}") from None


def refuse(error: HydraException, overrides: Sequence[str]) -> NoReturn:
    """Raise Hydra's complaint about an override as one line, with the nearest key.

    Raises:
        InputError: always.
    """
    text = str(error)
    if swept := re.match(r"Ambiguous value for argument '([^=]+)=(.*)'", text):
        raise InputError(
            f"{swept.group(1)}: expected one value, found {swept.group(2)!r}; python -m sim -m sweeps over "
            "several, [a,b] is a list, and text with commas needs quotes: \"video.path='/a, b.mp4'\""
        ) from None
    unknown = re.search(r"Could not override '([^']+)'", text)
    if unknown is None:
        hint = ""
        if isinstance(error, OverrideParseException):
            hint = "; text with commas or other signs needs quotes: \"video.path='/a, b.mp4'\""
        raise InputError(" ".join(text.split()).split(" See https")[0] + hint) from None
    key = unknown.group(1)
    if option := OPTION.match(f"{key}="):
        full = re.search(r"full_key: (\S+)", text)
        _refuse_option(full.group(1) if full else key, option["group"], option["option"], overrides)
    raise InputError(
        f"{key}: expected a key of the configuration (--cfg job lists them), found {key!r}"
        f"{hint_at(key, key_paths())}"
    ) from None


def left_out(config: DictConfig, group: str) -> list[str]:
    """The options of what was chosen that its YAML does not hold, as far as its class can be loaded."""
    section = config[group]
    try:
        kind: Any = load_class(section.get("_target_"), group)
        declared = [entry.name for entry in fields(kind.Options)]
    except (InputError, AttributeError, TypeError):
        return []
    return [name for name in declared if name not in section]


def _refuse_option(key: str, group: str, option: str, overrides: Sequence[str]) -> None:
    """Raise what is wrong with an option that the choice of its group does not have."""
    try:
        config = compose_run([part for part in overrides if not OPTION.match(part)])
    except HydraException:
        return  # another override is wrong, too
    known = option_keys(config, group)
    chosen = config.hydra.runtime.choices.get(group)
    if option in left_out(config, group):
        raise InputError(
            f"{key}: expected one of the keys {', '.join(known) or '(none)'} of {group}={chosen}: "
            f"its YAML leaves {option!r} at the default, +{key}=... sets it"
        ) from None
    if option in known:  # but not what is within it
        raise InputError(
            f"{key}: expected a key that the YAML of {group}={chosen} has, found none; +{key}=... adds one"
        ) from None
    raise InputError(
        f"{key}: expected one of the keys {', '.join(known) or '(none)'} of {group}={chosen}, "
        f"found {option!r}{hint_at(option, known, f'{group}.')}"
    ) from None
