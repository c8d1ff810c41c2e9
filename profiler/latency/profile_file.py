"""Profiles as YAML files, ``<folder>/<device>/<model>.yaml``: found, read with every check, written.

What codecs take is the device's, not the model's: ``<folder>/<device>/codecs.yaml``. A profile that has a
section ``codecs`` of its own goes by that.

``alternative`` holds a second latency curve: ``k``, ``seconds`` and the ``heldout_error`` of a
piecewise-linear one or, with ``curve: tabulated``, the times of an executor that is built for the listed k
only.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import yaml

from conf.search_path import group_folders, package_folder
from profiler.latency.codec_times import CodecTable, codecs_content, read_codecs
from profiler.latency.curves import PiecewiseLinear, Quadratic, Tabulated
from profiler.latency.files import whole_file
from profiler.latency.profile import Encoding, Layer, Power, Profile, Residuals
from profiler.latency.yaml_section import YamlSection
from traces.errors import InputError

PROFILE_FOLDER = package_folder() / "profile"  # those that come with the package

CODECS_FILE = "codecs.yaml"  # in a device's folder, beside its models'

KINDS = ("published", "measured", "derived")


def available_profiles(directories: Iterable[Path | str] | None = None) -> dict[str, tuple[str, ...]]:
    """The models that have a profile, by device, both sorted; None: along the search path."""
    found: dict[str, set[str]] = {}
    for folder in group_folders("profile") if directories is None else directories:
        for path in Path(folder).glob("*/*.yaml"):
            if path.name != CODECS_FILE:
                found.setdefault(path.parent.name, set()).add(path.stem)
    return {device: tuple(sorted(found[device])) for device in sorted(found)}


def load_profile(
    device: str, model: str, directories: Iterable[Path | str] | None = None, key: str = "device"
) -> Profile:
    """Read the profile of a model on a device from the first of ``directories`` that has one.

    What its codecs take comes from its own section, its own folder, or the first of ``directories`` that
    knows the device's.

    ``directories`` None: along the search path, the user's profiles before the package's. ``key`` is what
    messages call the device.

    Raises:
        InputError: no such device or model (the choices are named), or the file is not a sound profile.
    """
    folders = tuple(map(Path, group_folders("profile") if directories is None else directories))
    for folder in folders:
        path = folder / device / f"{model}.yaml"
        if path.is_file():
            profile = read_profile(path, [one / device for one in folders])
            for key, found, expected in (("device", profile.device, device), ("model", profile.model, model)):
                if found != expected:
                    raise InputError(f"{path}: {key}: expected {expected!r} (from the path), found {found!r}")
            return profile
    choices = available_profiles(folders)
    if device not in choices:
        raise InputError(_unknown(key, device, tuple(choices), f"in {', '.join(map(str, folders))}"))
    having = [other for other, models in choices.items() if model in models]
    others = f" ({', '.join(having)} has one)" if having else ""
    where = f"for device {device!r}{others}; model.profile=NAME takes the times of another model"
    raise InputError(_unknown("model", model, choices[device], where))


def _unknown(what: str, name: str, choices: Sequence[str], where: str) -> str:
    near = difflib.get_close_matches(name, choices, n=2, cutoff=0.5)
    hint = f"; did you mean {' or '.join(map(repr, near))}?" if near else ""
    return f"{what}: no profile of {name!r} {where}: expected one of {list(choices)}{hint}"


def read_profile(path: Path | str, codec_folders: Iterable[Path] = ()) -> Profile:
    """Read one profile file, wherever it lies, with what the device's codecs take.

    Args:
        path: of the profile; without a section `codecs` the file beside it counts.
        codec_folders: of the device, looked into for one after that.

    Raises:
        InputError: the file is missing, is not YAML, or a key is missing, unknown or holds a wrong value.
    """
    path = Path(path)
    keys = _read_yaml(path, "a profile")
    keys.only(_keys_of(Profile))
    k_min, k_max = keys.optional_whole("k_min"), keys.optional_whole("k_max", minimum=1)
    if k_min is not None and k_max is not None and k_min > k_max:
        raise keys.error("k_min", f"at most k_max = {k_max} blocks", k_min)
    provenance = keys.section("provenance")
    if provenance.text("kind") not in KINDS:
        raise provenance.error("kind", f"one of {list(KINDS)}", provenance.text("kind"))
    provenance.text("source")
    return Profile(
        device=keys.text("device"),
        model=keys.text("model"),
        resolution_px=keys.resolution("resolution_px"),
        block_px=keys.whole("block_px", minimum=1),
        dense_s=keys.number("dense_s", positive=True),
        quadratic=_read_quadratic(keys.section("quadratic")),
        provenance=provenance.content,
        precision=keys.text("precision") if keys.has("precision") else None,
        extract_s=keys.optional_number("extract_s"),
        encode_s=_read_encoding(keys.section("encode_s")) if keys.has("encode_s") else None,
        codecs=(
            read_codecs(keys.section("codecs"))
            if keys.has("codecs")
            else read_codecs_file(path.parent, *codec_folders)
        ),
        r2=keys.optional_number("r2", minimum=-math.inf, maximum=1.0),
        heldout_error=keys.optional_number("heldout_error"),
        k_min=k_min,
        k_max=k_max,
        breakeven_k=keys.optional_number("breakeven_k"),
        residual_quantiles=(
            _read_residuals(keys.section("residual_quantiles")) if keys.has("residual_quantiles") else None
        ),
        alternative=_read_alternative(keys.section("alternative")) if keys.has("alternative") else None,
        power_w=_read_power(keys.section("power_w")) if keys.has("power_w") else None,
        layers=tuple(map(_read_layer, keys.sections("layers"))) if keys.has("layers") else None,
    )


def read_codecs_file(*folders: Path) -> CodecTable | None:
    """What a device's codecs take, from the first of its folders that says so; None: none does.

    Raises:
        InputError: a file is not YAML, or a key is missing, unknown or holds a wrong value.
    """
    for folder in folders:
        path = folder / CODECS_FILE
        if path.is_file():
            return read_codecs(_read_yaml(path, "codec times"))
    return None


def save_codecs_file(table: CodecTable, folder: Path) -> Path:
    """Write what a device's codecs take into its folder; returns the file.

    Raises:
        InputError: the place cannot be written to.
    """
    path = folder / CODECS_FILE
    _write_yaml(codecs_content(table), path)
    return path


def _read_yaml(path: Path, what: str) -> YamlSection:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: expected {what} in YAML, found {error}") from error
    except yaml.YAMLError as error:
        raise InputError(f"{path}: expected {what} in YAML, found {' '.join(str(error).split())}") from error
    return YamlSection(f"{path}", "", content)


def _write_yaml(content: Mapping[str, Any], path: Path | str) -> None:
    # Innermost lists and mappings on one line each: a row of quantiles reads as a row.
    style: dict[str, Any] = {"sort_keys": False, "width": 110, "default_flow_style": None}
    with whole_file(path) as part:
        part.write_text(yaml.safe_dump(content, allow_unicode=True, **style), "utf-8")


def save_profile(profile: Profile, path: Path | str) -> None:
    """Write a profile so that :func:`read_profile` gives it back equal; the folder is made if needed.

    Codec times that the file beside it has are not written a second time.

    Raises:
        InputError: the place cannot be written to.
    """
    content = _content(profile)
    if profile.codecs is None or profile.codecs == read_codecs_file(Path(path).parent):
        del content["codecs"]
    _write_yaml(content, path)


def _content(profile: Profile) -> dict[str, Any]:
    order = (
        "device model resolution_px block_px precision provenance dense_s extract_s encode_s codecs quadratic"
        " r2 heldout_error k_min k_max breakeven_k residual_quantiles alternative power_w layers"
    )
    content: dict[str, Any] = {key: _plain(getattr(profile, key)) for key in order.split()}
    if profile.codecs is not None:
        content["codecs"] = codecs_content(profile.codecs)
    other = profile.alternative
    if isinstance(other, PiecewiseLinear):
        content["alternative"]["seconds"] = content["alternative"].pop("knot_s")
    elif other is not None:
        content["alternative"] = {"curve": other.name, "k": list(other.k), "seconds": list(other.entry_s)}
    return content


def _keys_of(kind: type) -> tuple[str, ...]:
    """A dataclass's keys in a file: the fields that it is made from."""
    return tuple(one.name for one in fields(kind) if one.init)


def _plain(value: Any) -> Any:
    """Dataclasses as mappings and tuples as lists, all the way down."""
    if is_dataclass(value) and not isinstance(value, type):
        return {name: _plain(getattr(value, name)) for name in _keys_of(type(value))}
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value


def _read_quadratic(keys: YamlSection) -> Quadratic:
    keys.only(_keys_of(Quadratic))
    errors = [keys.optional_number(name) for name in ("a_stderr_s", "b_stderr_s", "c_stderr_s")]
    return Quadratic(keys.number("a_s"), keys.number("b_s"), keys.number("c_s"), *errors)


def _read_encoding(keys: YamlSection) -> Encoding:
    keys.only(_keys_of(Encoding))
    return Encoding(keys.number("base_s"), keys.number("per_block_s"))


def _read_power(keys: YamlSection) -> Power:
    keys.only(_keys_of(Power))
    return Power(keys.optional_number("idle_w"), keys.optional_number("busy_w"))


def _read_layer(keys: YamlSection) -> Layer:
    keys.only(_keys_of(Layer))
    return Layer(
        keys.text("name"),
        keys.number("seconds"),
        keys.whole("output_bytes"),
        keys.optional_whole("live_bytes"),
    )


def _read_alternative(keys: YamlSection) -> PiecewiseLinear | Tabulated:
    curve = keys.text("curve") if keys.has("curve") else PiecewiseLinear.name
    if curve not in (PiecewiseLinear.name, Tabulated.name):
        raise keys.error("curve", f"{PiecewiseLinear.name} or {Tabulated.name}", curve)
    piecewise = curve == PiecewiseLinear.name
    keys.only(("curve", "k", "seconds", *(("heldout_error",) if piecewise else ())))
    k, seconds = keys.increasing("k"), keys.numbers("seconds")
    if len(k) != len(seconds):
        raise keys.error("seconds", f"{len(k)} values, one for each k", len(seconds))
    if any(later < earlier for earlier, later in pairwise(seconds)):
        raise keys.error("seconds", "values that never fall", list(seconds))
    if piecewise:
        return PiecewiseLinear(k, seconds, keys.optional_number("heldout_error"))
    whole = tuple(keys.whole(f"k[{i}]", one) for i, one in enumerate(keys.content["k"]))
    return Tabulated(whole, seconds)


def _read_residuals(keys: YamlSection) -> Residuals:
    keys.only(_keys_of(Residuals))
    levels, k = keys.increasing("levels", maximum=1.0), keys.increasing("k")

    def row(name: str, value: Any) -> tuple[float, ...]:
        quantiles = keys.numbers(name, value)
        if len(quantiles) != len(levels):
            raise keys.error(name, f"{len(levels)} ratios, one for each level", len(quantiles))
        if quantiles[0] <= 0 or any(b < a for a, b in pairwise(quantiles)):
            raise keys.error(name, "ratios above 0 that never fall", list(quantiles))
        return quantiles

    rows = keys.content.get("ratio")
    if not isinstance(rows, list) or len(rows) != len(k):
        raise keys.error("ratio", f"a list of {len(k)} rows, one for each k", rows)
    return Residuals(
        levels=levels,
        k=k,
        ratio=tuple(row(f"ratio[{i}]", value) for i, value in enumerate(rows)),
        dense=row("dense", keys.content["dense"]) if keys.has("dense") else None,
        extract=row("extract", keys.content["extract"]) if keys.has("extract") else None,
    )
