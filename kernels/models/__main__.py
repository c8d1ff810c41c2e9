"""``python -m kernels.models``: list the models, evaluate one on masks, convert a checkpoint."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path


def main(arguments: list[str] | None = None) -> int:
    """Run one command; 0 on success, 2 on bad input, which is printed as one line."""
    parser = argparse.ArgumentParser(prog="python -m kernels.models", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="models and their parameter counts, fused")
    evaluate = commands.add_parser("evaluate", help="mask IoU on DAVIS sequences, one row a sequence")
    evaluate.add_argument("sequences", type=Path, help="folder with the DAVIS sequences")
    evaluate.add_argument("weights", type=Path, help="fused safetensors of the model")
    evaluate.add_argument("--model", default="yolo11n-seg")
    evaluate.add_argument("--input-px", type=int, default=640, help="side of the network input")
    evaluate.add_argument("--step", type=int, default=1, help="evaluate every step-th frame")
    evaluate.add_argument("--output", type=Path, help="table to write: .csv or .md")
    evaluate.add_argument("--overlay", type=Path, help="folder for one picture a sequence")
    sparse = commands.add_parser("evaluate-sparse", help="sparse against dense inference on sequences")
    sparse.add_argument("sequences", type=Path, help="folder with sequences (folders of images), or one")
    sparse.add_argument("weights", type=Path, help="fused safetensors of the model")
    sparse.add_argument("--model", default="yolo11n-seg")
    sparse.add_argument("--policies", default="adaptive", help="of adaptive, fixed, truncate, exact")
    sparse.add_argument("--input-px", type=int, default=640, help="side of the network input")
    sparse.add_argument(
        "--threshold", type=float, help="τ of the miss classifier; with --salience, away from what was found"
    )
    sparse.add_argument("--near", type=float, help="τ near what the last result found; default 0.01")
    sparse.add_argument(
        "--margin-px", type=int, help="computed beyond the active blocks by adaptive and fixed"
    )
    sparse.add_argument(
        "--salience",
        action=argparse.BooleanOptionalAction,
        help="a lower τ near what the last result found; on for adaptive",
    )
    sparse.add_argument("--truncation", type=Path, help="ε profile of the policy truncate")
    sparse.add_argument("--frames", type=int, help="frames of each sequence, at most")
    sparse.add_argument("--output", type=Path, help="table to write: .csv or .md")
    convert = commands.add_parser("convert", help="a checkpoint's state dict into fused safetensors")
    convert.add_argument("source", type=Path)
    convert.add_argument("target", type=Path)
    convert.add_argument("--fp32", action="store_true", help="keep single precision")
    chosen = parser.parse_args(arguments)
    try:
        run = {
            "list": _list,
            "evaluate": _evaluate,
            "evaluate-sparse": _evaluate_sparse,
            "convert": _convert,
        }
        run[chosen.command](chosen)
    except (ValueError, FileNotFoundError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def _list(_: argparse.Namespace) -> None:
    import torch

    from kernels.models.registry import MODEL_NAMES, build_model
    from kernels.models.weight_files import parameter_count

    for name in MODEL_NAMES:
        with torch.device("meta"):
            print(f"{name:16s} {parameter_count(build_model(name)):>11,d}")


def _evaluate(chosen: argparse.Namespace) -> None:
    import torch

    from kernels.models import build_model, load_weights
    from kernels.models.evaluation.evaluate import (
        DAVIS_OBJECTS,
        davis_frames,
        detect,
        draw_overlay,
        score_sequence,
        write_table,
    )

    if chosen.input_px <= 0 or chosen.input_px % 32:
        raise ValueError(f"--input-px must be a positive multiple of 32 px (got {chosen.input_px})")
    if chosen.step < 1:
        raise ValueError(f"--step must be ≥ 1 frame (got {chosen.step})")
    if not chosen.model.endswith("-seg"):
        raise ValueError(f"--model must be one with masks, such as yolo11n-seg (got {chosen.model!r})")
    torch.set_num_threads(1)
    model = load_weights(build_model(chosen.model), chosen.weights)
    scores = []
    for name, objects in DAVIS_OBJECTS.items():
        folder = chosen.sequences / name
        scores.append(score_sequence(model, folder, objects, step=chosen.step, input_px=chosen.input_px))
        row = scores[-1]
        print(
            f"{row.sequence:12s} {row.frames:3d} frames  {row.objects:16s} found {row.found:.2f}  "
            f"IoU matched {row.iou_matched:.3f}  any class {row.iou_any_class:.3f}  all {row.iou_all:.3f}"
        )
        if chosen.overlay:
            frames = list(davis_frames(folder))
            image = frames[len(frames) // 2][0]
            draw_overlay(image, *detect(model, image, chosen.input_px), chosen.overlay / f"{name}.png")
    if chosen.output:
        write_table(scores, chosen.output)


def _evaluate_sparse(chosen: argparse.Namespace) -> None:
    import torch

    from kernels.executor.calibration.truncation_profile import TruncationProfile
    from kernels.executor.executor import POLICIES, WITH_MARGIN
    from kernels.models import build_model, load_weights
    from kernels.models.evaluation.evaluate import write_table
    from kernels.models.evaluation.evaluate_sparse import evaluate_sparse, find_sequences

    names = chosen.policies.split(",")
    for name in names:
        if name not in POLICIES:
            raise ValueError(f"--policies must be of {', '.join(POLICIES)} (got {name!r})")
    if chosen.frames is not None and chosen.frames < 2:
        raise ValueError(f"--frames must be ≥ 2 (got {chosen.frames})")
    if chosen.input_px <= 0 or chosen.input_px % 32:
        raise ValueError(f"--input-px must be a positive multiple of 32 px (got {chosen.input_px})")
    if chosen.margin_px is not None and chosen.margin_px < 0:
        raise ValueError(f"--margin-px must be ≥ 0 (got {chosen.margin_px})")
    if chosen.near is not None and not 0.0 <= chosen.near <= 1.0:
        raise ValueError(f"--near must be in [0, 1] (got {chosen.near})")
    if not chosen.model.endswith("-seg"):
        raise ValueError(f"--model must be one with masks, such as yolo11n-seg (got {chosen.model!r})")
    sequences = find_sequences(chosen.sequences)
    torch.set_num_threads(1)
    model = load_weights(build_model(chosen.model), chosen.weights).eval()
    profile = TruncationProfile.load(chosen.truncation) if chosen.truncation else None
    scores = []
    for policy in names:
        for folder in sequences:
            row = evaluate_sparse(
                model,
                folder,
                policy,
                input_px=chosen.input_px,
                threshold=chosen.threshold,
                near=chosen.near,
                salience=chosen.salience,
                frames=chosen.frames,
                truncation=profile,
                **({"margin_px": chosen.margin_px} if policy in WITH_MARGIN else {}),
            )
            scores.append(row)
            print(
                f"{row.policy:9s} {row.sequence:12s} {row.frames:3d} frames  active {row.active:.3f}  "
                f"reused {row.reused:.3f}  agree {row.agreement:.3f}  foreground {row.iou_foreground:.3f}  "
                f"dense {row.dense_ms:.1f} ms  sparse {row.sparse_ms:.1f} ms  ratio {row.ratio:.2f}  "
                f"over fixed {row.ratio_to_fixed:.2f}",
                flush=True,
            )
    if chosen.output:
        write_table(scores, chosen.output)
        print(f"written to {chosen.output}")


def _convert(chosen: argparse.Namespace) -> None:
    from kernels.models.conversion import convert

    done = convert(chosen.source, chosen.target, half=not chosen.fp32)
    print(
        f"{chosen.target}: {done.model}, {done.classes} classes, {done.tensors} tensors, "
        f"{done.folded} batch norms folded"
    )


if __name__ == "__main__":
    sys.exit(main())
