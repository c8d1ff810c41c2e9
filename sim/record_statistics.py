"""Measure a video's block statistics: `python -m sim.record_statistics --out FILE [video …]`.

Every frame is searched against references of every recorded age with the real motion search, its active
blocks and the frame itself are really encoded, and the quantiles of all of it are written for
`traces.video.block_statistics`. Without a video an embedded scene is measured.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sim.world.frame import Frame
from traces.errors import InputError
from traces.notices import print_in_one_line
from traces.video.block_statistics import AGES_FRAMES, BLOCK_CODECS, FRAME_CODECS, BlockStatistics
from traces.video.loading import load_video
from traces.video.sequence import VideoSequence

PAYLOAD_AGE = 5  # frames; the blocks whose bytes are measured are those active at this age
MIN_SAMPLES = 20  # an age with fewer is left out


@dataclass(slots=True)
class Samples:
    """Measurements of one video, (frames,) each; NaN where a frame has none."""

    active_fraction: dict[int, NDArray[np.float64]] = field(default_factory=dict)
    block_bytes: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    frame_bytes: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    changed_pixel_fraction: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    similarity: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    overhead_bytes: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    keyframe_bytes: float = 0.0


def measure(
    video: VideoSequence, frames: int, ages: Sequence[int], threshold: float, block_px: int
) -> Samples:
    """Measure the first `frames` frames of a video.

    Every reference has a chain of searches of its own, each centred on what the one before it found, as in a
    running system.
    """
    from kernels.codecs.block_codecs import block_codec
    from kernels.codecs.block_payload import encode_blocks, overhead_bytes
    from kernels.codecs.frame_codecs import make_frame_codec
    from kernels.codecs.pixel_delta import PixelDeltaSender
    from kernels.motion.classification import active_blocks
    from kernels.similarity import cosine_similarity, embed
    from sim.components.blocks.alignment import SearchAligner, Target, prepared

    samples = Samples()
    nothing = np.full(frames, np.nan)
    samples.active_fraction = {age: nothing.copy() for age in ages}
    samples.block_bytes = {codec: nothing.copy() for codec in BLOCK_CODECS}
    samples.frame_bytes = {codec: nothing.copy() for codec in FRAME_CODECS}
    samples.changed_pixel_fraction, samples.similarity = nothing.copy(), nothing.copy()
    samples.overhead_bytes = nothing.copy()
    blocks_total = video.height_px * video.width_px // block_px**2
    payload_age = max(age for age in ages if age <= PAYLOAD_AGE)

    aligner = SearchAligner(block_px=block_px)
    window: dict[int, Frame] = {}
    for reference in range(frames - 1):
        window.pop(reference - 1, None)
        last_vectors, last_index = None, -1
        for index in range(reference, min(frames, reference + max(ages) + 1)):
            if index not in window:
                window[index] = Frame(index, index / video.fps, video.image(index))
            age = index - reference
            if age == 0:
                continue
            levels = prepared(window[reference])
            target = Target(levels.pixels, levels, reference, last_vectors, last_index)
            found = aligner.align(window[index], target)
            last_vectors, last_index = found.vectors, index
            if age not in samples.active_fraction:
                continue
            active = active_blocks(found, threshold)
            samples.active_fraction[age][index] = active.size / blocks_total
            if age == payload_age and active.size:
                for codec in BLOCK_CODECS:
                    data = encode_blocks(
                        video.image(index), active, found.vectors, block_codec(codec), block_px
                    )
                    overhead = overhead_bytes(data)
                    samples.block_bytes[codec][index] = (len(data) - overhead) / active.size
                samples.overhead_bytes[index] = overhead
        _report(f"{video.name}: frame {reference + 2} of {frames}")

    codecs = {codec: make_frame_codec(codec) for codec in FRAME_CODECS}
    sender = PixelDeltaSender(block_px=block_px)
    before = None
    for index in range(frames):
        image = video.image(index)
        for codec, encoder in codecs.items():
            samples.frame_bytes[codec][index] = len(encoder.encode(image))
        changed, embedding = sender.encode(image).active_fraction, embed(image)
        if before is not None:
            samples.changed_pixel_fraction[index] = changed
            samples.similarity[index] = cosine_similarity(embedding, before)
        before = embedding
    samples.keyframe_bytes = samples.frame_bytes["h264"][0]
    samples.frame_bytes["h264"][0] = np.nan
    return samples


def _report(line: str) -> None:
    if sys.stderr.isatty():
        print(f"\r{line}", end="", file=sys.stderr, flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m sim.record_statistics", description=__doc__.splitlines()[0]
    )
    parser.add_argument("videos", nargs="*", type=Path, metavar="video", help="clips or folders; pooled")
    parser.add_argument("--scene", default="walk", help="embedded scene to measure where no video is given")
    parser.add_argument("--seeds", type=int, default=4, help="how many different scenes to pool")
    parser.add_argument("--out", type=Path, required=True, help="YAML file to write")
    parser.add_argument("--name", help="name of the statistics (default: the file's)")
    parser.add_argument("--source", default="", help="what the videos are and who made them")
    parser.add_argument("--licence", default="", help="under which licence the videos are")
    parser.add_argument("--frames", type=int, default=300, help="frames of each video, at most")
    parser.add_argument("--size-px", type=int, default=640)
    parser.add_argument("--fps", type=float, help="frames a second of folders")
    parser.add_argument("--threshold", type=float, default=0.025, help="τ on the mean difference, in [0, 1]")
    parser.add_argument("--block-px", type=int, default=16)
    options = parser.parse_args(arguments)
    print_in_one_line()
    try:
        statistics = record(options)
        statistics.save(options.out)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    _report("\r")
    middle = len(statistics.changed_pixel_fraction) // 2
    active = ", ".join(
        f"{age}: {row[middle]:.2f}"
        for age, row in zip(statistics.ages_frames, statistics.active_fraction, strict=True)
    )
    print(f"{options.out}: {statistics.frames} frames; median active share by age in frames: {active}")
    return 0


def record(options: argparse.Namespace) -> BlockStatistics:
    """The pooled statistics of the videos, or the scenes, that the command names."""
    videos: list[VideoSequence]
    if options.videos:
        videos = [load_video(path, options.size_px, fps=options.fps) for path in options.videos]
    else:
        from traces.video.scenes.scene import Scene

        videos = [
            Scene(options.scene, seed, options.frames, options.size_px, options.fps or 30.0)
            for seed in range(options.seeds)
        ]
    rates = sorted({video.fps for video in videos})
    if len(rates) > 1:
        raise InputError(
            f"videos: expected one frame rate to pool, got {', '.join(f'{r:g}' for r in rates)} fps"
        )
    lengths = [min(video.frame_count, options.frames) for video in videos]
    ages = [
        age
        for age in AGES_FRAMES
        if age < min(lengths) and sum(length - age for length in lengths) >= MIN_SAMPLES
    ]
    if not ages:
        raise InputError(f"videos: expected at least {MIN_SAMPLES + 1} frames together, got {sum(lengths)}")
    measured = [
        measure(video, length, ages, options.threshold, options.block_px)
        for video, length in zip(videos, lengths, strict=True)
    ]
    synthetic = videos[0].synthetic
    source = options.source or (
        f"embedded scene {options.scene}, seeds 0 to {len(videos) - 1}"
        if synthetic
        else ", ".join(video.name for video in videos)
    )
    settings = (
        f"{options.size_px} px, letterbox, blocks of {options.block_px} px, threshold {options.threshold:g}"
    )
    return BlockStatistics.from_samples(
        name=options.name or options.out.stem,
        source=f"{source}; {settings}",
        licence=options.licence or ("CC0 and public-domain photographs" if synthetic else "not stated"),
        synthetic=synthetic,
        fps=rates[0],
        blocks_total=videos[0].height_px * videos[0].width_px // options.block_px**2,
        active_fraction={age: np.concatenate([m.active_fraction[age] for m in measured]) for age in ages},
        changed_pixel_fraction=np.concatenate([m.changed_pixel_fraction for m in measured]),
        similarity=np.concatenate([m.similarity for m in measured]),
        overhead_bytes=np.concatenate([m.overhead_bytes for m in measured]),
        block_bytes={c: np.concatenate([m.block_bytes[c] for m in measured]) for c in BLOCK_CODECS},
        frame_bytes={c: np.concatenate([m.frame_bytes[c] for m in measured]) for c in FRAME_CODECS},
        keyframe_bytes=float(np.mean([m.keyframe_bytes for m in measured])),
        clips=np.repeat(np.arange(len(videos)), lengths),
    )


if __name__ == "__main__":
    sys.exit(main())
