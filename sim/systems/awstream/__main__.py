"""Measure a profile of degradations: `python -m sim.systems.awstream --out FILE [video]`.

Every configuration of size, frame rate and quantiser is run over a clip: really encoded, decoded and
inferred. Without a video the clip is an embedded scene of a seed that no run with a small seed shows.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from sim.accuracy.choice import choose_network
from sim.accuracy.evaluator import agreement_of
from sim.configuration.model_card import read_card
from sim.configuration.sections import AccuracyConfig
from sim.systems.awstream.degradation import Conditions
from sim.systems.awstream.profiling import configurations, measure, profile_of
from sim.world.frame import FrameGeometry
from traces.errors import InputError
from traces.notices import print_in_one_line
from traces.video.loading import load_video
from traces.video.sequence import VideoSequence

TRAINING_SEED = 100


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; 0 on success, 2 on bad input, which is printed as one line."""
    assert __doc__ is not None
    parser = argparse.ArgumentParser(
        prog="python -m sim.systems.awstream", description=__doc__.split("\n")[0]
    )
    parser.add_argument("video", nargs="?", type=Path, help="clip or folder of images; none: a scene")
    parser.add_argument("--out", type=Path, required=True, help="CSV file to write")
    parser.add_argument("--scene", default="walk", help="embedded scene where no video is given")
    parser.add_argument("--seed", type=int, default=TRAINING_SEED, help="of the scene")
    parser.add_argument("--frames", type=int, default=60, help="of the clip, at most")
    parser.add_argument("--fps", type=float, help="frames a second")
    parser.add_argument("--model", default="default", help="card of the network that runs")
    parser.add_argument("--weights", type=Path, help="safetensors file, where the network brings none")
    options = parser.parse_args(arguments)
    print_in_one_line()
    try:
        _profile(options)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def _profile(options: argparse.Namespace) -> None:
    if options.frames < 1:
        raise InputError(f"--frames: expected at least 1 frame, found {options.frames}")
    if not options.out.parent.is_dir():
        raise InputError(f"--out: expected a file in a folder that there is, found {options.out}")
    section = {"name": options.model}
    if options.weights is not None:
        section["weights"] = str(options.weights)
    card = read_card(section)
    choice = choose_network(card)

    from sim.accuracy.inference import open_inference

    video = _clip(options, card.resolution_px)
    frames = min(options.frames, video.frame_count)
    geometry = FrameGeometry(video.height_px, video.width_px)
    network = open_inference(choice, AccuracyConfig(), geometry)
    clip = video.name if options.video is not None else f"{video.name} seed {options.seed}"
    made = Conditions(choice.name, video.height_px, video.width_px, video.fps, clip, frames)
    given, measured = configurations(), []
    images = [video.image(index) for index in range(frames)]
    for one in measure(
        images, made, lambda image: network.result(network.dense(image)[0]), agreement_of, given
    ):
        measured.append(one)
        if sys.stderr.isatty():
            print(f"\r{len(measured)} of {len(given)}", end="", file=sys.stderr, flush=True)
    profile = profile_of(made, measured)
    options.out.write_text(profile.text(), encoding="utf-8")
    print(f"{options.out}: {len(measured)} configurations of {clip}, {frames} frames; kept:")
    for one in profile.levels:
        scale, skipped, qp = one.degradation
        print(
            f"  {scale:.3f}  skip {skipped:2d}  qp {qp}  {one.rate_bps / 1e6:8.3f} Mbit/s  {one.accuracy:.3f}"
        )


def _clip(options: argparse.Namespace, size_px: tuple[int, int]) -> VideoSequence:
    if options.video is not None:
        return load_video(options.video, size_px, fps=options.fps)
    from traces.video.scenes.scene import Scene

    return Scene(options.scene, options.seed, options.frames, size_px, options.fps or 30.0)


if __name__ == "__main__":
    sys.exit(main())
