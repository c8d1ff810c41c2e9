"""Motion search gives the same field whatever runs it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from kernels import search_motion
from kernels.motion.backends import search_through
from kernels.ops import registry


def images(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A frame and its reference: moved content, noise, and a part that is new."""
    rng = np.random.default_rng(seed)
    reference = rng.integers(0, 256, (96, 128, 3), dtype=np.uint8)
    frame = np.roll(reference, (3, -5), axis=(0, 1))
    frame[40:60, 50:90] = rng.integers(0, 256, (20, 40, 3), dtype=np.uint8)
    return frame, reference


def test_the_processor_by_name_is_the_default() -> None:
    frame, reference = images(0)
    named, default = search_motion(frame, reference, backend="cpu"), search_motion(frame, reference)
    assert np.array_equal(named.vectors, default.vectors)
    assert np.array_equal(named.difference, default.difference)


@pytest.mark.parametrize("predicted", [None, np.full((6, 8, 2), 4, np.int16)])
def test_device_code_finds_what_the_processor_finds(predicted: np.ndarray | None) -> None:
    """The CUDA sources, compiled for this processor."""
    shim = pytest.importorskip("kernels.ops.cuda.shim")
    if (reason := shim.unavailable("cpu")) is not None:
        pytest.skip(reason)
    frame, reference = images(1)
    there = search_through(shim, torch.device("cpu"), frame, reference, 16, 16, predicted)
    here = search_motion(frame, reference, predicted=predicted)
    assert np.array_equal(there.vectors, here.vectors)
    assert np.array_equal(there.difference, here.difference)


@pytest.mark.parametrize("asked", ["reference", "cpu"])
def test_the_environment_goes_before_the_argument(monkeypatch: pytest.MonkeyPatch, asked: str) -> None:
    """And a backend without a search of its own leaves it to the processor."""
    frame, reference = images(3)
    default = search_motion(frame, reference)
    monkeypatch.setenv(registry.VARIABLE, asked)
    found = search_motion(frame, reference, backend="cuda")
    assert np.array_equal(found.vectors, default.vectors)
    assert np.array_equal(found.difference, default.difference)


@pytest.mark.parametrize("origin", ["backend", registry.VARIABLE])
def test_unknown_and_absent_backends_say_so(monkeypatch: pytest.MonkeyPatch, origin: str) -> None:
    frame, reference = images(2)

    def search(name: str) -> None:
        if origin == "backend":
            search_motion(frame, reference, backend=name)
        else:
            monkeypatch.setenv(registry.VARIABLE, name)
            search_motion(frame, reference)

    with pytest.raises(ValueError, match=f"{origin}='abacus' cannot search here: unknown backend: expected"):
        search("abacus")
    if not torch.cuda.is_available():
        with pytest.raises(ValueError, match=f"{origin}='cuda' cannot search here: .*CUDA"):
            search("cuda")
