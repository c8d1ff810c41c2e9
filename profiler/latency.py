"""A device's latency model: how long a model takes to process k of a frame's blocks, and its YAML profile.

    T(k) = a·k² + b·k + c        (FluxShard, §4.2, "Latency Modeling")

A profile is one file, ``<folder>/<device>/<model>.yaml``. Published and measured profiles have the same
keys; what a source does not say is null, never zero. This module needs numpy, torch and a device no more
than the simulator does: it only reads, writes and evaluates profiles.

Residuals are kept as ratios: at grid point ``k[i]``, row i of ``residual_quantiles.ratio`` holds the
quantiles (at ``levels``) of measured time over T(k[i]). A ratio keeps sampled times positive, changes
slowly between grid points, and also carries what the quadratic misses at k[i], so sampled latencies
follow the measured distribution where the curve itself does not.
"""

from __future__ import annotations

import difflib
import math
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import yaml

from profiler.files import whole_file
from profiler.keys import Keys
from profiler.split_table import Cut, SplitTable, load_split_table
from traces.errors import InputError

__all__ = [
    "PROFILE_FOLDER",
    "Cut",
    "Encoding",
    "Layer",
    "PiecewiseLinear",
    "Power",
    "Profile",
    "Quadratic",
    "Residuals",
    "SplitTable",
    "available_profiles",
    "load_profile",
    "load_split_table",
    "read_profile",
    "save_profile",
]

PROFILE_FOLDER = Path(__file__).resolve().parent.parent / "conf" / "profile"
KINDS = ("published", "measured", "derived")


@dataclass(frozen=True, slots=True)
class Quadratic:
    """T(k) = a·k² + b·k + c in seconds, coefficients ≥ 0, with their standard errors where known."""

    a_s: float
    b_s: float
    c_s: float
    a_stderr_s: float | None = None
    b_stderr_s: float | None = None
    c_stderr_s: float | None = None

    def seconds(self, k: float) -> float:
        """Time to process k blocks."""
        return (self.a_s * k + self.b_s) * k + self.c_s

    def crossing(self, seconds: float) -> float | None:
        """The k ≥ 0 at which T(k) = ``seconds``; None if the curve never gets there or starts above."""
        gap_s = seconds - self.c_s
        if gap_s < 0 or self.a_s == self.b_s == 0:
            return None
        return 2 * gap_s / (self.b_s + math.sqrt(self.b_s**2 + 4 * self.a_s * gap_s)) if gap_s else 0.0


@dataclass(frozen=True, slots=True)
class PiecewiseLinear:
    """A monotone curve through (k, seconds) knots, extended along its first and last segment."""

    k: tuple[float, ...]
    knot_s: tuple[float, ...]
    heldout_error: float | None = None

    def seconds(self, k: float) -> float:
        """Time to process k blocks."""
        if len(self.k) == 1:
            return self.knot_s[0]
        i = min(max(bisect_right(self.k, k) - 1, 0), len(self.k) - 2)
        share = (k - self.k[i]) / (self.k[i + 1] - self.k[i])
        return max(self.knot_s[i] + share * (self.knot_s[i + 1] - self.knot_s[i]), 0.0)


@dataclass(frozen=True, slots=True)
class Residuals:
    """Quantiles of measured over modelled time: how a device scatters around its latency model.

    ``ratio`` has one row for each grid point of ``k`` and one column for each of ``levels``; ``dense`` and
    ``extract`` are rows for dense inference and motion extraction, over their median.
    """

    levels: tuple[float, ...]
    k: tuple[float, ...]
    ratio: tuple[tuple[float, ...], ...]
    dense: tuple[float, ...] | None = None
    extract: tuple[float, ...] | None = None

    def at(self, k: float, uniform: float) -> float:
        """The ratio at quantile ``uniform``, linear in both arguments; the outermost values hold outside."""
        i = bisect_right(self.k, k)
        if i == 0:
            return self.row(self.ratio[0], uniform)
        if i == len(self.k):
            return self.row(self.ratio[-1], uniform)
        share = (k - self.k[i - 1]) / (self.k[i] - self.k[i - 1])
        return (1 - share) * self.row(self.ratio[i - 1], uniform) + share * self.row(self.ratio[i], uniform)

    def row(self, quantiles: Sequence[float], uniform: float) -> float:
        """One row's ratio at quantile ``uniform``."""
        j = bisect_right(self.levels, uniform)
        if j == 0:
            return quantiles[0]
        if j == len(self.levels):
            return quantiles[-1]
        share = (uniform - self.levels[j - 1]) / (self.levels[j] - self.levels[j - 1])
        return quantiles[j - 1] + share * (quantiles[j] - quantiles[j - 1])


@dataclass(frozen=True, slots=True)
class Encoding:
    """Time to encode a payload of k blocks: ``base_s + per_block_s · k``."""

    base_s: float
    per_block_s: float


@dataclass(frozen=True, slots=True)
class Power:
    """What the device draws; either figure may be unknown."""

    idle_w: float | None = None
    busy_w: float | None = None


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer's dense time, its output, and what crosses the link when the network is cut after it."""

    name: str
    seconds: float
    output_bytes: int
    live_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Profile:
    """One model on one device. Fields are those of the YAML file; None where the source does not say."""

    device: str
    model: str
    resolution_px: tuple[int, int]  # height, width
    block_px: int
    dense_s: float
    quadratic: Quadratic
    provenance: Mapping[str, Any] = field(hash=False)
    precision: str | None = None
    extract_s: float | None = None
    encode_s: Encoding | None = None
    r2: float | None = None
    heldout_error: float | None = None  # median relative error on points kept out of the fit
    k_min: int | None = None
    k_max: int | None = None
    breakeven_k: float | None = None
    residual_quantiles: Residuals | None = None
    alternative: PiecewiseLinear | None = None
    power_w: Power | None = None
    layers: tuple[Layer, ...] | None = None

    @property
    def block_count(self) -> int:
        """Blocks of a whole frame at the profile's resolution."""
        height, width = self.resolution_px
        return -(-height // self.block_px) * -(-width // self.block_px)

    def sparse_s(self, k: float) -> float:
        """T(k), the expected time of sparse inference over k blocks.

        T(0) is c: with nothing to recompute the cached outputs still have to be moved along the vectors
        and decoded into a result, and that is what the constant stands for. A caller who skips the
        executor altogether must not ask.
        """
        return self.quadratic.seconds(k)

    def is_extrapolated(self, k: float) -> bool:
        """Whether k lies outside the profiled range.

        Where the range is unknown (the papers give none) only a k beyond the whole frame is known to be
        outside. k = 0 never is: T(0) = c is a rule, not a fitted point.
        """
        if k == 0:
            return False
        upper = self.block_count if self.k_max is None else self.k_max
        return k > upper or (self.k_min is not None and k < self.k_min)

    def sample_s(self, k: float, uniform: float) -> float:
        """T(k) with the scatter of the device at quantile ``uniform`` in [0, 1); T(k) if it is unknown."""
        seconds = self.quadratic.seconds(k)
        residuals = self.residual_quantiles
        return seconds if residuals is None else seconds * residuals.at(k, uniform)

    def dense_sample_s(self, uniform: float) -> float:
        """Dense inference with its scatter at quantile ``uniform``; ``dense_s`` if it is unknown."""
        residuals = self.residual_quantiles
        if residuals is None or residuals.dense is None:
            return self.dense_s
        return self.dense_s * residuals.row(residuals.dense, uniform)

    def extract_sample_s(self, uniform: float) -> float:
        """Motion extraction with its scatter at quantile ``uniform``; 0 where the profile has no time."""
        residuals = self.residual_quantiles
        extract_s = self.extract_s or 0.0
        if residuals is None or residuals.extract is None:
            return extract_s
        return extract_s * residuals.row(residuals.extract, uniform)

    def encoding_s(self, k: float) -> float:
        """Time to encode k blocks; 0 where the profile has none, as in the papers' latency model."""
        return 0.0 if self.encode_s is None else self.encode_s.base_s + self.encode_s.per_block_s * k


def available_profiles(directories: Iterable[Path | str] = (PROFILE_FOLDER,)) -> dict[str, tuple[str, ...]]:
    """The models that have a profile, by device, both sorted."""
    found: dict[str, set[str]] = {}
    for folder in directories:
        for path in Path(folder).glob("*/*.yaml"):
            found.setdefault(path.parent.name, set()).add(path.stem)
    return {device: tuple(sorted(found[device])) for device in sorted(found)}


def load_profile(
    device: str, model: str, directories: Iterable[Path | str] = (PROFILE_FOLDER,), key: str = "device"
) -> Profile:
    """Read the profile of a model on a device from the first of ``directories`` that has one.

    ``key`` is what messages call the device.

    Raises:
        InputError: no such device or model (the choices are named), or the file is not a sound profile.
    """
    folders = tuple(Path(folder) for folder in directories)
    for folder in folders:
        path = folder / device / f"{model}.yaml"
        if path.is_file():
            profile = read_profile(path)
            for key, found, expected in (("device", profile.device, device), ("model", profile.model, model)):
                if found != expected:
                    raise InputError(f"{path}: {key}: expected {expected!r} (from the path), found {found!r}")
            return profile
    choices = available_profiles(folders)
    if device not in choices:
        raise InputError(_unknown(key, device, tuple(choices), f"in {', '.join(map(str, folders))}"))
    raise InputError(_unknown("model", model, choices[device], f"for device {device!r}"))


def _unknown(what: str, name: str, choices: Sequence[str], where: str) -> str:
    near = difflib.get_close_matches(name, choices, n=2, cutoff=0.5)
    hint = f"; did you mean {' or '.join(map(repr, near))}?" if near else ""
    return f"{what}: no profile of {name!r} {where}: expected one of {list(choices)}{hint}"


def read_profile(path: Path | str) -> Profile:
    """Read one profile file, wherever it lies.

    Raises:
        InputError: the file is missing, is not YAML, or a key is missing, unknown or holds a wrong value.
    """
    path = Path(path)
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: expected a profile in YAML, found {error}") from error
    except yaml.YAMLError as error:
        raise InputError(
            f"{path}: expected a profile in YAML, found {' '.join(str(error).split())}"
        ) from error
    keys = Keys(f"{path}", "", content)
    keys.only(Profile.__dataclass_fields__)
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


def save_profile(profile: Profile, path: Path | str) -> None:
    """Write a profile so that :func:`read_profile` gives it back equal; the folder is made if needed.

    Raises:
        InputError: the place cannot be written to.
    """
    # Innermost lists and mappings on one line each: a row of quantiles reads as a row.
    style: dict[str, Any] = {"sort_keys": False, "width": 110, "default_flow_style": None}
    with whole_file(path) as part:
        part.write_text(yaml.safe_dump(_content(profile), allow_unicode=True, **style), "utf-8")


def _content(profile: Profile) -> dict[str, Any]:
    order = (
        "device model resolution_px block_px precision provenance dense_s extract_s encode_s quadratic r2"
        " heldout_error k_min k_max breakeven_k residual_quantiles alternative power_w layers"
    )
    content: dict[str, Any] = {key: _plain(getattr(profile, key)) for key in order.split()}
    if profile.alternative is not None:
        content["alternative"]["seconds"] = content["alternative"].pop("knot_s")
    return content


def _plain(value: Any) -> Any:
    """Dataclasses as mappings and tuples as lists, all the way down."""
    if hasattr(value, "__dataclass_fields__"):
        return {name: _plain(getattr(value, name)) for name in value.__dataclass_fields__}
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value


def _read_quadratic(keys: Keys) -> Quadratic:
    keys.only(Quadratic.__dataclass_fields__)
    errors = [keys.optional_number(name) for name in ("a_stderr_s", "b_stderr_s", "c_stderr_s")]
    return Quadratic(keys.number("a_s"), keys.number("b_s"), keys.number("c_s"), *errors)


def _read_encoding(keys: Keys) -> Encoding:
    keys.only(Encoding.__dataclass_fields__)
    return Encoding(keys.number("base_s"), keys.number("per_block_s"))


def _read_power(keys: Keys) -> Power:
    keys.only(Power.__dataclass_fields__)
    return Power(keys.optional_number("idle_w"), keys.optional_number("busy_w"))


def _read_layer(keys: Keys) -> Layer:
    keys.only(Layer.__dataclass_fields__)
    return Layer(
        keys.text("name"),
        keys.number("seconds"),
        keys.whole("output_bytes"),
        keys.optional_whole("live_bytes"),
    )


def _read_alternative(keys: Keys) -> PiecewiseLinear:
    keys.only(("k", "seconds", "heldout_error"))
    k, knot_s = keys.increasing("k"), keys.numbers("seconds")
    if len(k) != len(knot_s):
        raise keys.error("seconds", f"{len(k)} values, one for each k", len(knot_s))
    if any(later < earlier for earlier, later in pairwise(knot_s)):
        raise keys.error("seconds", "values that never fall", list(knot_s))
    return PiecewiseLinear(k, knot_s, keys.optional_number("heldout_error"))


def _read_residuals(keys: Keys) -> Residuals:
    keys.only(Residuals.__dataclass_fields__)
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
