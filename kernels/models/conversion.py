"""Original checkpoints into fused safetensors: state dict out, names matched, batch norm folded.

Folding a batch norm of scale γ, shift β, mean μ and variance σ² into the convolution before it:
w′ = w·γ/√(σ² + ε), b′ = β − μ·γ/√(σ² + ε) (Ioffe & Szegedy 2015, section 3.1, with the statistics fixed).

Only state dicts are read, never a pickled class: loading one would run code from the file and need the
library that wrote it.
"""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from kernels.models.networks.layers import BATCH_NORM_EPS
from kernels.models.registry import YOLO11_NAMES, build_model
from kernels.models.weight_files import load_state, read_state, save_weights

_CLASS_HEAD = "model.23.cv3.0.2.weight"
_WRAPPERS = ("ema", "state_dict", "model", "model_state_dict")
_PREFIXES = ("", "module.", "model.", "model.model.", "module.model.")
HOW_TO_EXPORT = (
    "where it was made, export a plain one: "
    "torch.save({k: v for k, v in model.state_dict().items()}, 'plain.pt')"
)


@dataclass(frozen=True, slots=True)
class Conversion:
    """What was converted: the model recognised, its classes, tensors written, batch norms folded."""

    model: str
    classes: int
    tensors: int
    folded: int


def convert(source: str | Path, target: str | Path, *, half: bool = True) -> Conversion:
    """Convert a YOLO11 checkpoint to fused safetensors that ``load_weights`` reads.

    Args:
        source: a ``.safetensors`` file, or a ``.pt``/``.pth`` file that holds a state dict (or a dict with
            one under ``ema``, ``state_dict`` or ``model``), fused or not.
        target: the safetensors file to write.
        half: write fp16 instead of fp32.

    Raises:
        FileNotFoundError: if ``source`` does not exist.
        ValueError: if it pickles classes, holds no state dict, or fits none of the ten YOLO11 models.
    """
    state = strip_prefix(read_checkpoint(source), str(source))
    name, classes = identify(state, str(source))
    fused_state, folded = fold_batch_norms(state)
    model = build_model(name, classes=classes)
    load_state(model, fused_state, str(source))
    save_weights(model, target, half=half)
    return Conversion(name, classes, len(fused_state), folded)


def read_checkpoint(source: str | Path) -> dict[str, Tensor]:
    """The tensors of a checkpoint by name, in fp32, without running any code of the file.

    Raises:
        FileNotFoundError, ValueError: as :func:`convert`.
    """
    path = Path(source)
    if path.suffix == ".safetensors":
        return {name: tensor.float() for name, tensor in read_state(path).items()}
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; expected a checkpoint (.pt, .pth, .safetensors)")
    with path.open("rb") as stream:
        if not stream.read(4).startswith((b"PK\x03\x04", b"\x80")):  # a zip archive or a bare pickle
            raise ValueError(f"{path}: expected a PyTorch checkpoint, found a file of another format")
    try:
        content: Any = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ValueError(
            f"{path}: expected a plain state dict, found pickled classes, which are not loaded; "
            f"{HOW_TO_EXPORT}"
        ) from error
    except (RuntimeError, EOFError, KeyError, IndexError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(f"{path}: expected a PyTorch checkpoint, found something else ({reason})") from error
    for wrapper in _WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(wrapper), Mapping):
            content = content[wrapper]
            break
    if not isinstance(content, Mapping) or not all(isinstance(v, Tensor) for v in content.values()):
        raise ValueError(
            f"{path}: expected a dict of tensors, found {type(content).__name__}; {HOW_TO_EXPORT}"
        )
    return {str(name): tensor.float() for name, tensor in content.items()}


def strip_prefix(state: dict[str, Tensor], source: str) -> dict[str, Tensor]:
    """Names without a wrapper's prefix, such that the first layer is ``model.0``.

    Raises:
        ValueError: if no prefix gives that.
    """
    for prefix in _PREFIXES:
        if f"{prefix}model.0.conv.weight" in state:
            return {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
    if "0.conv.weight" in state:
        return {f"model.{k}": v for k, v in state.items()}
    first = ", ".join(sorted(state)[:3]) or "nothing"
    raise ValueError(f"{source}: expected tensors named model.0.conv.weight …, found {first}")


def identify(state: Mapping[str, Tensor], source: str) -> tuple[str, int]:
    """Which YOLO11 the tensors belong to, by names and shapes, and its number of classes.

    Raises:
        ValueError: if none fits.
    """
    classes = state[_CLASS_HEAD].shape[0] if _CLASS_HEAD in state else 80
    given = {k: v.shape for k, v in state.items() if not k.endswith("num_batches_tracked")}
    fused = not any(".bn." in name for name in given)
    for name in YOLO11_NAMES:
        with torch.device("meta"):
            own = build_model(name, fused=fused, classes=classes).state_dict()
        if {k: v.shape for k, v in own.items() if not k.endswith("num_batches_tracked")} == given:
            return name, classes
    raise ValueError(f"{source}: the {len(given)} tensors fit none of {', '.join(YOLO11_NAMES)}")


def fold_batch_norms(
    state: Mapping[str, Tensor], eps: float = BATCH_NORM_EPS
) -> tuple[dict[str, Tensor], int]:
    """Fold every ``X.bn`` into ``X.conv``; the tensors without batch norm stay as they are.

    Returns:
        The fused tensors by name and how many batch norms were folded. Arithmetic in fp64, result in fp32.
    """
    fused: dict[str, Tensor] = {}
    folded = 0
    for name, tensor in state.items():
        stem = name.removesuffix(".conv.weight")
        if ".bn." in name:
            continue
        if name.endswith(".conv.weight") and f"{stem}.bn.weight" in state:
            gain, shift, mean, variance = (
                state[f"{stem}.bn.{part}"].double()
                for part in ("weight", "bias", "running_mean", "running_var")
            )
            ratio = gain / torch.sqrt(variance + eps)
            fused[name] = (tensor.double() * ratio[:, None, None, None]).float()
            fused[f"{stem}.conv.bias"] = (shift - mean * ratio).float()
            folded += 1
        else:
            fused[name] = tensor
    return fused, folded


def fold(model: nn.Module, fused_model: nn.Module) -> nn.Module:
    """Copy an unfused model's weights into its fused twin, which is returned."""
    load_state(fused_model, fold_batch_norms(model.state_dict())[0], "the unfused model")
    return fused_model.eval()
