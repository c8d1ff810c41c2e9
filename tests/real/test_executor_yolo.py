"""The executor on YOLO11n-seg with its weights and two frames of a DAVIS sequence."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from kernels import SparseExecutor, search_motion
from kernels.models import build_model, load_weights

pytestmark = pytest.mark.data
SIZE = 320


@pytest.fixture(scope="module")
def model(data_dir: Path) -> torch.nn.Module:
    path = data_dir / "weights" / "yolo11n-seg_fused_fp16.safetensors"
    if not path.exists():
        pytest.skip(f"weights not found at {path}")
    return load_weights(build_model("yolo11n-seg"), path)


@pytest.fixture(scope="module")
def frames(data_dir: Path) -> list[np.ndarray]:
    files = sorted((data_dir / "videos" / "davis" / "blackswan" / "JPEGImages").glob("*.jpg"))[:2]
    if len(files) < 2:
        pytest.skip("DAVIS sequence blackswan not found")
    return [np.asarray(Image.open(file).convert("RGB").resize((SIZE, SIZE))) for file in files]


def tensor(image: np.ndarray) -> torch.Tensor:
    return torch.tensor(image).permute(2, 0, 1)[None].float() / 255


def worst(made: object, wanted: object) -> float:
    """Largest difference as a share of the range, over all outputs."""
    pairs = zip(torch.utils._pytree.tree_leaves(made), torch.utils._pytree.tree_leaves(wanted), strict=True)
    return max(float((one - two).abs().max() / (two.max() - two.min())) for one, two in pairs)


def test_dense_is_the_module(model: torch.nn.Module, frames: list[np.ndarray]) -> None:
    outputs, _ = SparseExecutor(model).dense(tensor(frames[0]))
    with torch.no_grad():
        assert worst(outputs, model(tensor(frames[0]))) < 1e-4


def test_exact_is_the_module_whatever_moved(model: torch.nn.Module, frames: list[np.ndarray]) -> None:
    """A real frame, and one that pans by the period with an object passing: the second is reused in part."""
    field = search_motion(frames[1], frames[0])
    active = torch.from_numpy(field.difference >= 0.025)
    executor = SparseExecutor(model, "exact")
    _, cache = executor.dense(tensor(frames[0]))
    outputs, _, _ = executor.sparse(
        tensor(frames[1]), active, torch.from_numpy(field.vectors.astype(int)), cache
    )
    with torch.no_grad():
        assert worst(outputs, model(tensor(frames[1]))) < 1e-4

    panned = np.roll(frames[0], -32, axis=1)
    panned[64:96, 64:96] = 255
    vectors = torch.zeros(20, 20, 2, dtype=torch.int32)
    vectors[..., 0] = 32
    nothing = torch.zeros(20, 20, dtype=torch.bool)
    outputs, _, report = executor.sparse(tensor(panned), nothing, vectors, cache)
    with torch.no_grad():
        assert worst(outputs, model(tensor(panned))) < 1e-4
    assert report.reused["model.0.conv"] > 0.7
    assert 0.0 < report.reused["model.4.cv2.conv"] < report.reused["model.0.conv"]
    assert bool(report.certified("model.0.conv").any())


def test_fixed_comes_closer_than_the_old_result(model: torch.nn.Module, frames: list[np.ndarray]) -> None:
    """Sparse inference must be nearer to the truth than handing out the previous frame's outputs."""
    field = search_motion(frames[1], frames[0])
    active = torch.from_numpy(field.difference >= 0.025)
    vectors = torch.from_numpy(field.vectors.astype(int))
    with torch.no_grad():
        truth = torch.utils._pytree.tree_leaves(model(tensor(frames[1])))
    errors = {}
    for sampling in ("nearest", "bilinear"):
        executor = SparseExecutor(model, "fixed", sampling=sampling)
        before, cache = executor.dense(tensor(frames[0]))
        outputs, _, report = executor.sparse(tensor(frames[1]), active, vectors, cache)
        assert 0.2 < float(np.mean(list(report.reused.values()))) < 1.0
        for name, made in ((sampling, outputs), ("old", before)):
            leaves = torch.utils._pytree.tree_leaves(made)
            errors[name] = sum(float((a - b).abs().mean()) for a, b in zip(leaves, truth, strict=True))
    assert errors["nearest"] < errors["old"]
    assert errors["bilinear"] < errors["old"]
