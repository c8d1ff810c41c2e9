"""What the CUDA operations refuse, and how they say so, with and without a GPU."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from kernels.ops import cuda
from kernels.ops.cpu.loader import BuildError
from kernels.ops.cuda import build, shim
from kernels.ops.maps import Halo, Window

needs_shim = pytest.mark.skipif(shim.unavailable("cpu") is not None, reason=str(shim.unavailable("cpu")))
ONE = torch.tensor([[0, 0]], dtype=torch.int32)
POINT = Window((1, 1))


def test_a_tensor_elsewhere_is_named() -> None:
    """Before any library is built, so on a machine without compiler or GPU, too."""
    here = torch.zeros(4, 4, 8)
    with pytest.raises(ValueError, match=r"out must be on cuda \(got cpu\)"):
        cuda.scatter(torch.zeros(1, 2, 2, 8), ONE, here)
    with pytest.raises(ValueError, match=r"frame must be on cuda \(got cpu\)"):
        cuda.search_motion(torch.zeros(16, 16, dtype=torch.uint8), torch.zeros(16, 16, dtype=torch.uint8))
    with pytest.raises(ValueError, match=r"out must be on cpu \(got meta\)"):
        shim.scatter(torch.zeros(1, 2, 2, 8, device="meta"), ONE.to("meta"), here.to("meta"))
    with pytest.raises(ValueError, match=r"source must be on cpu, as out \(got meta\)"):
        shim.pool("max", POINT, here.to("meta"), ONE, (1, 1), here)


def test_what_a_backend_cannot_do_it_says() -> None:
    assert cuda.unavailable("cpu") == "runs on cuda tensors only (got cpu)"
    assert shim.unavailable("cuda") == "runs on cpu tensors only (got cuda)"
    if not torch.cuda.is_available():
        assert cuda.unavailable("cuda") in (
            "torch sees no CUDA device",
            "this torch was built without CUDA",
        )
    assert "float32 and float16 only" in str(cuda.refuses("pool", dtype=torch.bfloat16))
    large = {"kernel": (9, 9), "dtype": torch.float32, "in_channels": 8, "out_channels": 8}
    assert cuda.refuses("convolve", groups=1, **large) == "convolutions of at most 64 taps (got 81)"
    assert cuda.refuses("convolve", groups=8, **large) is None


def test_without_a_compiler_the_message_says_where_it_looked(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("FLUXSHARD_CACHE", str(tmp_path))
    monkeypatch.setenv(build.VARIABLE, "no-such-nvcc")
    with pytest.raises(BuildError, match=r"no nvcc found \(tried FLUXSHARD_NVCC=no-such-nvcc\)"):
        build.cuda_library.__wrapped__("sm_90")
    monkeypatch.delenv(build.VARIABLE)
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(build.shutil, "which", lambda _: None)
    with pytest.raises(BuildError, match="install the CUDA toolkit or set FLUXSHARD_NVCC"):
        build.cuda_library.__wrapped__("sm_90")


def test_a_compiler_that_fails_is_quoted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    compiler = tmp_path / "nvcc"
    compiler.write_text("#!/bin/sh\necho 'unsupported architecture' >&2\nexit 3\n")
    compiler.chmod(0o755)
    monkeypatch.setenv(build.VARIABLE, str(compiler))
    monkeypatch.setenv("FLUXSHARD_CACHE", str(tmp_path / "cache"))
    with pytest.raises(BuildError, match=r"nvcc failed with exit code 3:\nunsupported architecture"):
        build.cuda_library.__wrapped__("sm_90")
    assert list((tmp_path / "cache").iterdir()) == []  # nothing left behind that looks whole


@needs_shim
def test_wrong_arguments_are_named() -> None:
    source, out = torch.zeros(4, 6, 8), torch.zeros(4, 6, 8)
    fresh = torch.zeros(4, 6, dtype=torch.uint8)
    move = torch.zeros(4, 6, 2, dtype=torch.int16)
    packed = shim.pack_convolution(torch.zeros(8, 8, 1, 1), None, POINT)
    with pytest.raises(TypeError, match="tiles must be int32"):
        shim.convolve(packed, source, ONE.long(), (1, 1), out)
    with pytest.raises(ValueError, match="source and out must have 8 and 8 channels"):
        shim.convolve(packed, source[..., :4], ONE, (1, 1), out)
    with pytest.raises(TypeError, match=r"source must be torch\.float32, as the weights"):
        shim.convolve(packed, source.half(), ONE, (1, 1), out.half())
    with pytest.raises(ValueError, match=r"residual must have shape \(4, 6, 8\)"):
        shim.convolve(packed, source, ONE, (1, 1), out, torch.zeros(4, 5, 8))
    with pytest.raises(ValueError, match="source must be channels last"):
        shim.convolve(packed, source.permute(1, 0, 2), ONE, (1, 1), out)
    halo = Halo(source.half(), fresh, move)
    with pytest.raises(TypeError, match=r"halo\.reference must be torch.float32, as out"):
        shim.convolve(packed, source, ONE, (1, 1), out, None, halo)
    halo = Halo(source, fresh[:3], move)
    with pytest.raises(ValueError, match=r"halo\.fresh must be contiguous uint8 of shape"):
        shim.convolve(packed, source, ONE, (1, 1), out, None, halo)
    halo = Halo(source, fresh, move.int())
    with pytest.raises(TypeError, match=r"halo\.displacement must be int16 or float32"):
        shim.gather(source, ONE, (1, 1), POINT, halo)
    with pytest.raises(ValueError, match="displacement must be contiguous with shape"):
        shim.remap(source, move[:, :5], out)
    with pytest.raises(ValueError, match="changed must be contiguous uint8"):
        shim.prune(source, ONE, (1, 1), out, 0.1, fresh.bool())
    with pytest.raises(ValueError, match="second must be None for 'copy'"):
        shim.pointwise("add", source, None, ONE, (1, 1), out)
    with pytest.raises(ValueError, match="out must be a whole multiple"):
        shim.upsample("nearest", source, ONE, (1, 1), torch.zeros(8, 13, 8))
    with pytest.raises(TypeError, match=r"values must be contiguous torch\.float32"):
        shim.scatter(torch.zeros(1, 1, 1, 8).half(), ONE, out)


@needs_shim
def test_wrong_images_are_named() -> None:
    image = torch.zeros(16, 32, dtype=torch.uint8)
    with pytest.raises(TypeError, match="frame must be uint8"):
        shim.search_motion(image.float(), image)
    with pytest.raises(ValueError, match=r"reference must have the frame's shape"):
        shim.search_motion(image, image[:8].contiguous())
    with pytest.raises(ValueError, match=r"at least 8 px \(got 6x32\)"):
        shim.prepare(image[:6])
    with pytest.raises(ValueError, match=r"at most 128 and the sides of 16x32 \(got 24\)"):
        shim.search_motion(image, image, block_px=24)
    with pytest.raises(ValueError, match="block_px must be a multiple of 8 px"):
        shim.search_motion(image, image, block_px=12)
    with pytest.raises(ValueError, match="radius_px must be >= 0"):
        shim.search_motion(image, image, radius_px=-1)
    with pytest.raises(TypeError, match="predicted must be int16"):
        shim.search_motion(image, image, predicted=torch.zeros(1, 2, 2))
