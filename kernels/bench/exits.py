"""``python -m kernels.bench.exits``: what the default network's exits and cuts are worth, as tables.

Writes the three tables that :mod:`kernels.models.exit_tables` describes, in two minutes of one core. The
network and its exits are those that come along; frames are of the embedded scenes, 640×640.
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch

from kernels.codecs.feature_codec import FeatureCodec, named
from kernels.models.composed_scenes import HELD_OUT_SEEDS, MEASURED_FRAMES, PRESET_NAMES, composed_frames
from kernels.models.evaluation.evaluate import mask_iou
from kernels.models.exit_tables import FRAMES, HELD_OUT, PRECISION
from kernels.models.networks.exit_heads import confidence
from kernels.models.networks.staged import INPUT, OUTPUT, StagedNetwork, load_staged, shares
from kernels.models.predictions.results import Segmentation, interpret
from kernels.models.predictions.tasks import agreement

PROFILED_SEEDS = (100, 101, 102, 103)  # neither trained on, nor held out, nor a run's unless it asks
SIDE_PX = 640
BITS = range(2, 9)
Row: TypeAlias = list[object]
CUT_FRAMES = (0, 150)  # of the profiled scenes, for the precision of cuts: fifty inferences a frame


def frames_of(
    presets: Sequence[str], seeds: Sequence[int], indices: Sequence[int]
) -> Iterator[tuple[str, int, int, torch.Tensor]]:
    """(preset, seed, index, (1, 3, H, W) tensor in [0, 1]) of composed scenes."""
    for preset in presets:
        for seed in seeds:
            images, _ = composed_frames(preset, seed, indices, SIDE_PX)
            for index, image in zip(indices, images, strict=True):
                yield preset, seed, index, torch.tensor(image).permute(2, 0, 1)[None].float() / 255


def answers(
    staged: StagedNetwork, frame: torch.Tensor
) -> tuple[dict[str, tuple[float, Segmentation]], Segmentation]:
    """Each exit's confidence and result on a frame, and the final result."""
    size = frame.shape[2], frame.shape[3]
    found = {}
    maps, at = {INPUT: frame}, INPUT
    for name in staged.exits:
        maps, at = staged.run(maps, at, name), name
        logits, _ = staged.exit(maps, name)
        found[name] = confidence(logits), _classes(logits, size)
    return found, _classes(staged.run(maps, at, OUTPUT)[OUTPUT], size)


def held_out_rows(staged: StagedNetwork, seeds: Sequence[int], indices: Sequence[int]) -> list[Row]:
    """One row a preset and exit: shares of arithmetic, agreement with the final output, foreground IoU."""
    trunk, heads = shares(staged)
    rows: list[Row] = []
    for preset in PRESET_NAMES:
        values: dict[str, list[tuple[float, float, float]]] = {name: [] for name in staged.exits}
        for *_, frame in frames_of((preset,), seeds, indices):
            found, final = answers(staged, frame)
            for name, (sure, result) in found.items():
                iou = mask_iou(result.foreground, final.foreground)
                values[name].append((agreement(result, final), iou, sure))
        for name in staged.exits:
            means = [f"{mean:.4f}" for mean in np.mean(values[name], axis=0)]
            cost = [f"{trunk[name]:.4f}", f"{heads[name]:.4f}"]
            rows.append([preset, SIDE_PX, "+".join(map(str, seeds)), len(values[name]), name, *cost, *means])
    return rows


def frame_rows(staged: StagedNetwork, seeds: Sequence[int], indices: Sequence[int]) -> list[Row]:
    """One row a frame: every exit's confidence, and agreement with the final output."""
    rows: list[Row] = []
    for preset, seed, index, frame in frames_of(PRESET_NAMES, seeds, indices):
        found, final = answers(staged, frame)
        sure = [f"{found[name][0]:.6f}" for name in staged.exits]
        agreed = [f"{agreement(found[name][1], final):.4f}" for name in staged.exits]
        rows.append([preset, seed, index, *sure, *agreed])
    return rows


def precision_rows(staged: StagedNetwork, seeds: Sequence[int], indices: Sequence[int]) -> list[Row]:
    """One row a cut and number of bits: bytes a value, and agreement of what quantised features lead to."""
    cuts = staged.stages[1:-1]
    values: dict[tuple[str, int], list[tuple[float, float]]] = {}
    for *_, frame in frames_of(PRESET_NAMES, seeds, indices):
        size = frame.shape[2], frame.shape[3]
        final = _classes(staged.run({INPUT: frame}, INPUT, OUTPUT)[OUTPUT], size)
        maps, at = {INPUT: frame}, INPUT
        for cut in cuts:
            maps, at = staged.run(maps, at, cut), cut
            names, features = named({name: tensor[0].numpy() for name, tensor in maps.items()})
            count = sum(each.size for each in features)
            for bits in BITS:
                codec = FeatureCodec(bits)
                data = codec.encode(features)
                arrived = {
                    name: torch.from_numpy(each)[None]
                    for name, each in zip(names, codec.decode(data), strict=True)
                }
                result = _classes(staged.run(arrived, cut, OUTPUT)[OUTPUT], size)
                values.setdefault((cut, bits), []).append((len(data) / count, agreement(result, final)))
    rows: list[Row] = []
    for (cut, bits), found in sorted(values.items(), key=lambda item: (cuts.index(item[0][0]), item[0][1])):
        size_bytes, agreed = np.mean(found, axis=0)
        rows.append([cut, bits, len(found), f"{size_bytes:.5f}", f"{agreed:.5f}"])
    return rows


def _classes(logits: torch.Tensor, size: tuple[int, int]) -> Segmentation:
    found = interpret(logits, *size)
    assert isinstance(found, Segmentation)
    return found


def _write(path: Path, head: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(head)
        writer.writerows(rows)


def main(say: Callable[[str], None] = print) -> int:
    """Measure and write."""
    torch.set_num_threads(1)
    staged = load_staged()
    rows = held_out_rows(staged, HELD_OUT_SEEDS, MEASURED_FRAMES)
    for row in rows:
        say("  ".join(map(str, row)))
    head = ["preset", "size_px", "seeds", "frames", "exit", "arithmetic_share", "head_share"]
    _write(HELD_OUT, [*head, "agreement", "foreground_iou", "confidence"], rows)
    columns = [f"{what}_{name}" for what in ("confidence", "agreement") for name in staged.exits]
    _write(FRAMES, ["preset", "seed", "frame", *columns], frame_rows(staged, PROFILED_SEEDS, MEASURED_FRAMES))
    head = ["after", "bits", "frames", "bytes_per_value", "agreement"]
    _write(PRECISION, head, precision_rows(staged, PROFILED_SEEDS, CUT_FRAMES))
    return 0


if __name__ == "__main__":
    sys.exit(main())
