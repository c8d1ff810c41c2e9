"""What is measured: the operations of one model on one device."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from profiler.measure.extraction import DeviceFrameSearch, Extraction, FrameSearch
from profiler.measure.masks import FramePairs
from traces.errors import InputError

if TYPE_CHECKING:
    import torch

    from profiler.measure.layers import LayerSize

PRECISIONS = ("fp32", "tf32", "fp16")


def build_network(name: str, weights: str | None, seed: int) -> torch.nn.Module:
    """The network that is measured.

    Args:
        name: of a model that :mod:`kernels.models` knows.
        weights: a safetensors file; random ones, which take the same time, when None.
        seed: of random weights.

    Raises:
        InputError: no such model, weights that are not its own, or a network larger than the memory.
    """
    import torch

    from kernels.models import build_model, load_weights

    torch.manual_seed(seed)
    try:
        model = build_model(name)
    except (ValueError, OSError) as error:
        raise InputError(f"model: {error}") from error
    except MemoryError as error:
        raise InputError(f"model: expected one that fits in memory, found {name!r}") from error
    try:
        return load_weights(model, weights) if weights else model
    except (ValueError, OSError) as error:
        raise InputError(f"weights: {error}") from error


class ProfiledModel(Protocol):
    """The operations of a profile. Each runs to its end, or has queued all its work, when it returns."""

    @property
    def blocks_total(self) -> int:
        """Blocks of a whole frame."""
        ...

    def dense(self) -> None:
        """Inference on a whole frame."""
        ...

    def sparse(self, active: NDArray[np.bool_], step: int, margin_px: int = 0) -> None:
        """Inference on the active blocks, (rows, columns), with the vectors of frame ``step``."""
        ...

    def settle(self) -> None:
        """Finish what the last sparse call has deferred to idle time, after its result."""
        ...

    def extract(self, step: int) -> None:
        """Motion search of one frame against one reference, and miss classification."""
        ...

    def encode(self, active: NDArray[np.bool_], step: int) -> None:
        """Encode the active blocks and all vectors into a message."""
        ...

    def layers(self, seconds: Callable[[Callable[[], object]], float]) -> list[tuple[str, float]]:
        """Name and time of each layer in one dense inference, timed by ``seconds``."""
        ...


class SparseExecutorModel:
    """A model in the sparse executor, with frames of a video as input.

    Each sparse call continues from the cache that the one before left, as in a running system. What the
    executor defers to idle time (moving reused results into the new cache) is ``settle``.

    Args:
        model: network with a (1, 3, H, W) input.
        pairs: frames at the resolution to measure.
        device: ``cpu`` or ``cuda:<index>``.
        precision: ``fp32``; on CUDA also ``tf32``, and ``fp16`` where the executor takes it.
        policy: how the executor propagates active sets; ``fixed`` is the papers'.
        backend: of the executor's operations; the best available when None.
        extraction: makes what `extract` times; by the device's own search where it has one when None.

    Raises:
        InputError: the precision does not exist on the device, or the executor refuses the model.
    """

    def __init__(
        self,
        model: torch.nn.Module,
        pairs: FramePairs,
        *,
        device: str = "cpu",
        precision: str = "fp32",
        policy: str = "fixed",
        backend: str | None = None,
        block_px: int = 16,
        extraction: Callable[[FramePairs, int, str], Extraction] | None = None,
    ) -> None:
        import torch

        from kernels import SparseExecutor
        from kernels.ops import registry
        from profiler.measure.layers import LayerTable

        if precision not in PRECISIONS:
            raise InputError(f"precision: expected one of {list(PRECISIONS)}, found {precision!r}")
        if precision != "fp32" and device == "cpu":
            raise InputError(f"precision: expected fp32 on cpu, found {precision!r}")
        # cuDNN rounds fp32 convolutions to TF32 unless told otherwise: a profile says which it was.
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
        self._torch = torch
        self._pairs, self._block_px = pairs, block_px
        self._model = model.eval().to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._frames = [
            torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))[None].to(device).float() / 255
            for image in pairs.frames
        ]
        self._vectors = [torch.from_numpy(field.astype(np.int64)).to(device) for field in pairs.vectors]
        self._device = device
        kind = "cpu" if device == "cpu" else "cuda"
        searcher = FrameSearch if kind == "cpu" or registry.unavailable("cuda", "cuda") else DeviceFrameSearch
        self.extraction = (extraction or searcher)(pairs, block_px, device)
        try:
            names = registry.preferences(kind, backend)
        except ValueError as error:
            raise InputError(f"backend: {error}") from error
        self.backend = next(name for name in names if registry.unavailable(name, kind) is None)
        self._layer_frame = self._frames[0].half() if precision == "fp16" else self._frames[0]
        self._layers = LayerTable.of(
            copy.deepcopy(self._model).half() if precision == "fp16" else self._model
        )
        try:
            inside = torch.float16 if precision == "fp16" else torch.float32
            self._executor: Any = SparseExecutor(
                self._model, policy=policy, backend=backend, block_px=block_px, dtype=inside
            )
            self._executor.break_even = math.inf  # to find it out is what the profile is for
            _, self._cache = self._executor.dense(self._frames[0])
        except (TypeError, ValueError, NotImplementedError) as error:
            raise InputError(f"model: the sparse executor cannot run it: {error}") from error

    @property
    def blocks_total(self) -> int:
        rows, columns = self._pairs.difference.shape[1:]
        return int(rows * columns)

    def dense(self) -> None:
        _, self._cache = self._executor.dense(self._frames[0])

    def sparse(self, active: NDArray[np.bool_], step: int, margin_px: int = 0) -> None:
        self._executor.margin_px = margin_px
        step %= len(self._vectors)
        mask = self._torch.from_numpy(active).to(self._device)
        _, self._cache, _ = self._executor.sparse(self._frames[step], mask, self._vectors[step], self._cache)

    def settle(self) -> None:
        self._cache.settle()

    def extract(self, step: int) -> None:
        self.extraction.extract(step % len(self._vectors))

    def encode(self, active: NDArray[np.bool_], step: int) -> None:
        from kernels.codecs.block_payload import encode_blocks

        step %= len(self._vectors)
        encode_blocks(
            self._pairs.frames[step],
            np.flatnonzero(active),
            self._pairs.vectors[step],
            block_px=self._block_px,
        )

    def layers(self, seconds: Callable[[Callable[[], object]], float]) -> list[tuple[str, float]]:
        with self._torch.inference_mode():
            return self._layers.time(self._layer_frame, seconds) if self._layers else []

    def backends_used(self) -> tuple[dict[str, int], list[str]]:
        """Operations by the backend that runs them, and why preferred ones were passed over, each once."""
        choices = self._executor.plan(self._frames[0]).backends.values()
        used: dict[str, int] = {}
        for choice in choices:
            used[choice.name] = used.get(choice.name, 0) + 1
        return used, list(dict.fromkeys(reason for choice in choices for reason in choice.refusals))

    def layer_sizes(self) -> list[LayerSize]:
        """Output and cut sizes of every layer; empty where the model cannot be traced."""
        with self._torch.inference_mode():
            return self._layers.sizes(self._layer_frame) if self._layers else []
