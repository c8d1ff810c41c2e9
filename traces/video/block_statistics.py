"""Videos without pixels: how many blocks are active and how many bytes they take, drawn from a recording.

For sweeps that need block counts and sizes only. A recording keeps, for each age of the reference, the
quantiles of the active fraction of real frames, and the quantiles of sizes. A sampler gives each frame i two
levels, stationary AR(1) Gaussian series

    z_i = ρ z_{i−1} + √(1 − ρ²) ε_i,   ε_i ~ N(0, 1),

one of *activity* (active and changed fractions, similarity, bytes of a video codec), one of *texture* (bytes
of blocks and stills). A quantity's value in frame i is its quantile function at Φ(z_i), so its distribution
is the recorded one, and a busy frame is busy at every age. This keeps each distribution and a frame's
dependence on the one before; it loses longer dependence and that between activity and texture.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from traces.errors import InputError
from traces.video.sequence import check_fps

AGES_FRAMES = (1, 2, 3, 5, 8, 13, 21, 34)
QUANTILE_COUNT = 21  # 0, 5, …, 100 %
BLOCK_CODECS = ("raw", "png", "jpeg")
FRAME_CODECS = ("raw", "png", "jpeg", "h264")
ACTIVITY_CODECS = frozenset(
    {"h264"}
)  # the size of a predicted frame follows what changed, a still's does not
_CHUNK_FRAMES = 4096


@dataclass(frozen=True, slots=True)
class BlockStatistics:
    """A recording. Every tuple of quantiles has as many evenly spaced probabilities, from 0 to 1.

    source, licence: what was recorded, under which licence it may be used; synthetic: composed, not filmed.
    fps: frame rate of the recording; an age counts its frames.
    frames: how many frames were measured.
    blocks_total: blocks of a frame, letterbox included.
    ages_frames: recorded ages, ascending.
    active_fraction: for each age, quantiles of the active blocks' share of blocks_total; an older reference
        never has less. Between ages it is interpolated, beyond the last it is held, at age 0 it is 0.
    changed_pixel_fraction, similarity: quantiles against the previous frame.
    overhead_bytes: quantiles of a message's bytes that are not pixels: header, vectors, bitmap.
    block_bytes, frame_bytes: quantiles in bytes, by codec; a block's are the mean over a message's blocks.
    keyframe_bytes: mean bytes of the frame that opens an H.264 stream; frame_bytes has the others.
    activity_correlation, texture_correlation: ρ of the two levels, from one frame to the next; the former is
        the median over the ages' series, the latter that of JPEG frames.

    Raises:
        InputError: a value is out of its range or quantiles decrease; the message names the field.
    """

    name: str
    source: str
    licence: str
    synthetic: bool
    fps: float
    frames: int
    blocks_total: int
    ages_frames: tuple[int, ...]
    active_fraction: tuple[tuple[float, ...], ...]
    changed_pixel_fraction: tuple[float, ...]
    similarity: tuple[float, ...]
    overhead_bytes: tuple[float, ...]
    block_bytes: Mapping[str, tuple[float, ...]]
    frame_bytes: Mapping[str, tuple[float, ...]]
    keyframe_bytes: float
    activity_correlation: float
    texture_correlation: float

    def __post_init__(self) -> None:
        check_fps(self.fps)
        if self.blocks_total <= 0:
            raise InputError(f"blocks_total: expected a positive number of blocks, got {self.blocks_total}")
        ages = self.ages_frames
        if not ages or ages[0] < 1 or any(later <= age for age, later in pairwise(ages)):
            raise InputError(f"ages_frames: expected ascending ages in frames from 1, got {list(ages)}")
        if len(self.active_fraction) != len(ages):
            raise InputError(
                f"active_fraction: expected quantiles for {len(ages)} ages, got {len(self.active_fraction)}"
            )
        for key in ("activity_correlation", "texture_correlation"):
            if not 0 <= getattr(self, key) < 1:
                raise InputError(f"{key}: expected 0 <= ρ < 1, got {getattr(self, key)!r}")
        for age, row in zip(ages, self.active_fraction, strict=True):
            _check_quantiles(row, f"active_fraction at age {age}", upper=1.0)
        for (row, older), age in zip(pairwise(self.active_fraction), ages[1:], strict=True):
            if len(older) != len(row) or any(b < a for a, b in zip(row, older, strict=True)):
                raise InputError(f"active_fraction at age {age}: expected no less than at the age before")
        _check_quantiles(self.changed_pixel_fraction, "changed_pixel_fraction", upper=1.0)
        _check_quantiles(self.similarity, "similarity", lower=-1.0, upper=1.0)
        _check_quantiles(self.overhead_bytes, "overhead_bytes")
        if not (np.isfinite(self.keyframe_bytes) and self.keyframe_bytes > 0):
            raise InputError(
                f"keyframe_bytes: expected a positive number of bytes, got {self.keyframe_bytes!r}"
            )
        for key, codecs in (("block_bytes", BLOCK_CODECS), ("frame_bytes", FRAME_CODECS)):
            table = getattr(self, key)
            if set(table) != set(codecs):
                raise InputError(
                    f"{key}: expected the codecs {', '.join(codecs)}, got {', '.join(map(str, table))}"
                )
            for codec, row in table.items():
                _check_quantiles(row, f"{key} of {codec}")

    @classmethod
    def from_samples(
        cls,
        *,
        name: str,
        source: str,
        licence: str,
        synthetic: bool,
        fps: float,
        blocks_total: int,
        active_fraction: Mapping[int, NDArray[np.floating[Any]]],
        changed_pixel_fraction: NDArray[np.floating[Any]],
        similarity: NDArray[np.floating[Any]],
        overhead_bytes: NDArray[np.floating[Any]],
        block_bytes: Mapping[str, NDArray[np.floating[Any]]],
        frame_bytes: Mapping[str, NDArray[np.floating[Any]]],
        keyframe_bytes: float,
        clips: NDArray[np.integer[Any]] | None = None,
    ) -> BlockStatistics:
        """Statistics of measured frames.

        Args:
            active_fraction: by age in frames, (frames,) each; NaN where a frame has no reference so old.
            changed_pixel_fraction, similarity: (frames,), against the previous frame; NaN for the first.
            overhead_bytes: (frames,) bytes a message takes beside its blocks; NaN where nothing was sent.
            block_bytes, frame_bytes: by codec, (frames,) bytes; NaN where nothing was sent.
            clips: (frames,) number of the clip each frame comes from, where several are pooled; a frame's
                neighbour in another clip does not count towards the correlation.

        Raises:
            InputError: a quantity has no sample, or arrays differ in length.
        """
        ages = tuple(sorted(active_fraction))
        columns: dict[str, NDArray[np.floating[Any]]] = {
            **{f"active_fraction at age {age}": active_fraction[age] for age in ages},
            "changed_pixel_fraction": changed_pixel_fraction,
            "similarity": similarity,
            "overhead_bytes": overhead_bytes,
            **{f"block_bytes of {codec}": values for codec, values in block_bytes.items()},
            **{f"frame_bytes of {codec}": values for codec, values in frame_bytes.items()},
        }
        frames = len(changed_pixel_fraction)
        for key, values in columns.items():
            if len(values) != frames:
                raise InputError(
                    f"{key}: expected {frames} samples as changed_pixel_fraction, got {len(values)}"
                )
        clips = np.zeros(frames, dtype=np.int64) if clips is None else clips
        # Early frames lack old references, so the quantiles of two ages may cross: hold the larger.
        rows = np.maximum.accumulate(
            [_quantiles(active_fraction[a], f"active_fraction at age {a}") for a in ages]
        )
        # One level drives all ages, whose series differ in how fast they wander: take the middle one.
        activity = float(np.median([level_correlation(active_fraction[age], clips) for age in ages]))
        return cls(
            name=name,
            source=source,
            licence=licence,
            synthetic=synthetic,
            fps=float(fps),
            frames=frames,
            blocks_total=int(blocks_total),
            ages_frames=ages,
            active_fraction=tuple(tuple(float(v) for v in row) for row in rows),
            changed_pixel_fraction=_quantiles(changed_pixel_fraction, "changed_pixel_fraction"),
            similarity=_quantiles(similarity, "similarity"),
            overhead_bytes=_quantiles(overhead_bytes, "overhead_bytes"),
            block_bytes={c: _quantiles(v, f"block_bytes of {c}") for c, v in block_bytes.items()},
            frame_bytes={c: _quantiles(v, f"frame_bytes of {c}") for c, v in frame_bytes.items()},
            keyframe_bytes=float(keyframe_bytes),
            activity_correlation=activity,
            texture_correlation=level_correlation(frame_bytes["jpeg"], clips),
        )

    @classmethod
    def load(cls, path: str | Path) -> BlockStatistics:
        """Read what `save` wrote.

        Raises:
            InputError: the file is missing, no YAML, or a field is missing, unknown or out of range.
        """
        import yaml

        file = Path(path)
        try:
            content = yaml.safe_load(file.read_text(encoding="utf-8"))
        except OSError as error:
            raise InputError(f"{path}: expected a file of block statistics: {error.strerror}") from error
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            where = getattr(error, "problem_mark", None)
            line = f":{where.line + 1}" if where is not None else ""
            raise InputError(f"{path}{line}: expected YAML, the file cannot be read as such") from error
        if not isinstance(content, dict):
            raise InputError(f"{path}: expected a mapping of fields, got {type(content).__name__}")
        fields = set(cls.__dataclass_fields__)
        for problem, keys in (("missing", fields - set(content)), ("unknown", set(content) - fields)):
            if keys:
                listed = ", ".join(sorted(map(str, keys)))
                raise InputError(f"{path}: expected the fields of block statistics, {problem}: {listed}")
        try:
            return cls(
                **{key: content[key] for key in ("name", "source", "licence", "synthetic")},
                fps=float(content["fps"]),
                frames=int(content["frames"]),
                blocks_total=int(content["blocks_total"]),
                ages_frames=tuple(int(age) for age in content["ages_frames"]),
                active_fraction=tuple(_numbers(row) for row in content["active_fraction"]),
                changed_pixel_fraction=_numbers(content["changed_pixel_fraction"]),
                similarity=_numbers(content["similarity"]),
                overhead_bytes=_numbers(content["overhead_bytes"]),
                block_bytes={str(c): _numbers(row) for c, row in content["block_bytes"].items()},
                frame_bytes={str(c): _numbers(row) for c, row in content["frame_bytes"].items()},
                keyframe_bytes=float(content["keyframe_bytes"]),
                activity_correlation=float(content["activity_correlation"]),
                texture_correlation=float(content["texture_correlation"]),
            )
        except InputError as error:
            raise InputError(f"{path}: {error}") from error
        except (TypeError, ValueError, AttributeError) as error:
            raise InputError(
                f"{path}: expected numbers in the fields of block statistics: {error}"
            ) from error

    def save(self, path: str | Path) -> None:
        """Write YAML that `load` reads back."""
        import yaml

        content = asdict(self)
        content["ages_frames"] = list(self.ages_frames)
        content["active_fraction"] = [_rounded(row) for row in self.active_fraction]
        for key in ("changed_pixel_fraction", "similarity", "overhead_bytes"):
            content[key] = _rounded(content[key])
        for key in ("block_bytes", "frame_bytes"):
            content[key] = {codec: _rounded(row) for codec, row in content[key].items()}
        text = yaml.safe_dump(
            content, sort_keys=False, allow_unicode=True, width=110, default_flow_style=None
        )
        Path(path).write_text(text, encoding="utf-8")

    def sampler(self, seed: int, camera: int = 0, fps: float | None = None) -> BlockSampler:
        """The frames of one camera at `fps` frames a second; by default the recording's rate."""
        return BlockSampler(self, seed, camera, self.fps if fps is None else check_fps(fps))


class BlockSampler:
    """The frames of one camera: every value is a pure function of (seed, camera, frame).

    Levels are drawn from the first frame on and kept, 16 bytes a frame. At another frame rate than the
    recording's an age stands for the same time, and levels stay correlated over the same time.
    """

    def __init__(self, statistics: BlockStatistics, seed: int, camera: int, fps: float) -> None:
        self.statistics = statistics
        pace = statistics.fps / fps  # recorded frames in one frame of ours
        self._last_age = int(np.ceil(statistics.ages_frames[-1] / pace))
        recorded = np.concatenate([[0.0], np.asarray(statistics.ages_frames, dtype=np.float64)])
        rows = np.concatenate([np.zeros((1, len(statistics.active_fraction[0]))), statistics.active_fraction])
        ages = np.arange(self._last_age + 1) * pace
        self._active: list[list[float]] = np.stack(
            [np.interp(ages, recorded, rows[:, q]) for q in range(rows.shape[1])], axis=1
        ).tolist()
        self._steps = len(rows[0]) - 1
        self._correlations = (statistics.activity_correlation**pace, statistics.texture_correlation**pace)
        self._seed = (seed, camera)
        self._levels = (0.0, 0.0)
        self._activity: list[float] = []  # Φ(z) in steps of the quantile table
        self._texture: list[float] = []

    def active_fraction(self, frame_index: int, age_frames: int) -> float:
        """Share of blocks that are active against a reference `age_frames` ago; 0 at age 0."""
        if frame_index >= len(self._activity):
            self._draw_up_to(frame_index)
        position = self._activity[frame_index]
        row = self._active[age_frames if age_frames < self._last_age else self._last_age]
        step = int(position)
        low, high = row[step], row[step + 1]
        return low + (position - step) * (high - low)

    def block_bytes(self, frame_index: int, codec: str) -> float:
        """Mean bytes of an encoded block."""
        return self._value(self.statistics.block_bytes[codec], self._position(frame_index, activity=False))

    def frame_bytes(self, frame_index: int, codec: str) -> float:
        """Bytes of the whole frame."""
        position = self._position(frame_index, activity=codec in ACTIVITY_CODECS)
        return self._value(self.statistics.frame_bytes[codec], position)

    def changed_pixel_fraction(self, frame_index: int) -> float:
        """Share of pixels that differ from the previous frame's."""
        return self._value(self.statistics.changed_pixel_fraction, self._position(frame_index, activity=True))

    def similarity(self, frame_index: int) -> float:
        """Similarity with the previous frame; least where the frame is busiest."""
        position = self._steps - self._position(frame_index, activity=True)
        return self._value(self.statistics.similarity, position)

    def overhead_bytes(self, frame_index: int) -> float:
        """Bytes of a message beside its blocks: header, vectors, bitmap."""
        return self._value(self.statistics.overhead_bytes, self._position(frame_index, activity=True))

    def _position(self, frame_index: int, activity: bool) -> float:
        if frame_index >= len(self._activity):
            self._draw_up_to(frame_index)
        return (self._activity if activity else self._texture)[frame_index]

    @staticmethod
    def _value(row: Sequence[float], position: float) -> float:
        step = min(int(position), len(row) - 2)
        return row[step] + (position - step) * (row[step + 1] - row[step])

    def _draw_up_to(self, frame_index: int) -> None:
        """Draw whole chunks; each has a generator of its own, so that only the order of chunks matters."""
        from scipy.special import ndtr

        while frame_index >= len(self._activity):
            chunk = len(self._activity) // _CHUNK_FRAMES
            rng = np.random.default_rng([*self._seed, chunk])
            kept = (self._activity, self._texture)
            last = []
            for rho, previous, positions in zip(self._correlations, self._levels, kept, strict=True):
                shocks = rng.standard_normal(_CHUNK_FRAMES)
                shocks[chunk == 0 :] *= np.sqrt(1.0 - rho**2)  # the very first level is stationary as it is
                level, levels = previous, []
                for shock in shocks.tolist():
                    level = rho * level + shock
                    levels.append(level)
                # Φ rounds to 1 beyond 8 standard deviations; the last step of the table must still exist.
                place = np.minimum(ndtr(levels) * self._steps, self._steps * (1 - 1e-12))
                positions.extend(place.tolist())
                last.append(levels[-1])
            self._levels = (last[0], last[1])


def level_correlation(samples: NDArray[np.floating[Any]], clips: NDArray[np.integer[Any]]) -> float:
    """ρ of the Gaussian level behind a series: the lag-1 correlation of its normal scores, in [0, 0.999].

    The score of a sample is Φ⁻¹((rank − ½)/n); ties share their mean rank. NaN are left out.
    """
    from scipy.special import ndtri
    from scipy.stats import rankdata

    known = np.isfinite(samples)
    count = int(known.sum())
    if count < 3:
        return 0.0
    scores = np.full(len(samples), np.nan)
    scores[known] = ndtri((rankdata(samples[known]) - 0.5) / count)
    pairs = known[1:] & known[:-1] & (clips[1:] == clips[:-1])
    spread = float(np.var(scores[known]))
    if spread == 0.0 or not pairs.any():
        return 0.0
    rho = float(np.mean(scores[1:][pairs] * scores[:-1][pairs])) / spread
    return min(max(rho, 0.0), 0.999)


def _quantiles(samples: NDArray[np.floating[Any]], key: str) -> tuple[float, ...]:
    known = np.asarray(samples, dtype=np.float64)
    known = known[np.isfinite(known)]
    if not known.size:
        raise InputError(f"{key}: expected at least one sample, found none")
    return tuple(float(v) for v in np.quantile(known, np.linspace(0.0, 1.0, QUANTILE_COUNT)))


def _check_quantiles(
    row: tuple[float, ...], key: str, lower: float = 0.0, upper: float = float("inf")
) -> None:
    values = np.asarray(row, dtype=np.float64)
    if values.size < 2:
        raise InputError(f"{key}: expected at least 2 quantiles, got {values.size}")
    if not np.all(np.isfinite(values)) or values.min() < lower or values.max() > upper:
        raise InputError(
            f"{key}: expected finite quantiles from {lower:g} to {upper:g}, "
            f"got {values.min():g} to {values.max():g}"
        )
    if np.any(np.diff(values) < 0):
        raise InputError(f"{key}: expected quantiles that do not decrease")


def _numbers(row: Sequence[Any]) -> tuple[float, ...]:
    return tuple(float(value) for value in row)


def _rounded(row: Sequence[float]) -> list[float]:
    return [float(f"{value:.6g}") for value in row]
