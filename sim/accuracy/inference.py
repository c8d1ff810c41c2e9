"""The network as it really runs on either side of a system, with the pixels and features that side has.

Every side has a :class:`SideNetwork`: its feature cache, and the cache that a dense refresh under way is
making. All of them share one executor, which has no state but its memory. What is shown to a client is
packed at once: class maps are mostly runs, and 400 kB become 5.
"""

from __future__ import annotations

import gc
import pickle
import warnings
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from kernels.executor import SparseExecutor
from kernels.models import build_model, interpret, load_default_network, load_weights
from kernels.models.registry import YOLO11_NAMES
from sim.config import AccuracyConfig, choose
from sim.content.interface import Delta, Frame, Match, Message, Received, SharedImage
from sim.content.pixels import PixelSharedImage
from traces.errors import InputError

SIZE_MULTIPLE_PX = 32  # the networks' largest stride
MODELS = ("default", *YOLO11_NAMES)


def pack(result: Any) -> bytes:
    """A result in few bytes; equal results give equal bytes."""
    return zlib.compress(pickle.dumps(result, protocol=5), 1)


def unpack(packed: bytes) -> Any:
    """The result that was packed."""
    return pickle.loads(zlib.decompress(packed))


@dataclass(frozen=True, slots=True, eq=False)
class Inference:
    """A network for frames of one size, dense and sparse.

    Args:
        executor: runs it.
        height_px, width_px: of the frames.
    """

    executor: SparseExecutor
    height_px: int
    width_px: int

    def dense(self, image: NDArray[np.uint8]) -> tuple[Any, Any]:
        """The raw outputs of dense inference on an image, and its feature cache."""
        return self.executor.dense(self._tensor(image))

    def sparse(
        self, image: NDArray[np.uint8], active: NDArray[np.bool_], vectors: NDArray[np.int16], cache: Any
    ) -> tuple[Any, Any]:
        """The raw outputs with active blocks computed and the rest moved along vectors; the new cache.

        Args:
            active: (rows, columns); vectors: (rows, columns, 2), position in the cache's image minus position
                in this one.
        """
        outputs, made, _ = self.executor.sparse(
            self._tensor(image), torch.from_numpy(active), torch.from_numpy(vectors), cache
        )
        return outputs, made

    def result(self, outputs: Any) -> bytes:
        """The packed result that raw outputs mean."""
        return pack(interpret(outputs, self.height_px, self.width_px))

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of blocks."""
        side = self.executor.block_px
        return self.height_px // side, self.width_px // side

    def blank(self) -> Any:
        """The features of a black frame: what a side has that has seen none."""
        return self.dense(np.zeros((self.height_px, self.width_px, 3), np.uint8))[1]

    def _tensor(self, image: NDArray[np.uint8]) -> torch.Tensor:
        scaled = np.ascontiguousarray(image.transpose(2, 0, 1)[None], np.float32) / np.float32(255.0)
        return torch.from_numpy(scaled)


def open_inference(
    config: AccuracyConfig, height_px: int, width_px: int, block_px: int, policy: str = "fixed"
) -> Inference:
    """The network that a configuration names, for frames of one size.

    Args:
        config: names network, weights and sampling, and may replace the policy.
        height_px, width_px, block_px: sizes of frames and blocks.
        policy: of the executor, where the configuration leaves it to the system.

    Warns:
        UserWarning: "exact" was asked for, which latencies do not account for.

    Raises:
        InputError: an unknown network, missing or unfitting weights, or a size it cannot take.
    """
    choose("accuracy.model", config.model, MODELS)
    if config.policy == "exact":
        warnings.warn(
            "accuracy.policy: exact computes whatever differs, stale blocks included, while latencies are "
            "those of the chosen blocks: accuracy is a bound",
            stacklevel=2,
        )
    gc.collect()  # earlier runs of this process: a few cycles of objects that hold hundreds of megabytes
    if height_px % SIZE_MULTIPLE_PX or width_px % SIZE_MULTIPLE_PX:
        raise InputError(
            f"video.size_px: measured accuracy needs multiples of {SIZE_MULTIPLE_PX} px, "
            f"found {height_px}x{width_px}"
        )
    if config.weights is None and config.model != "default":
        raise InputError(f"accuracy.weights: expected a safetensors file of {config.model}, found none")
    try:
        if config.weights is None:
            model = load_default_network()
        else:
            model = load_weights(build_model(config.model), config.weights)
        chosen = config.policy or policy
        executor = SparseExecutor(model, chosen, block_px=block_px, sampling=config.sampling)
    except (ValueError, FileNotFoundError) as error:
        raise InputError(f"accuracy.weights: {error}") from None
    return Inference(executor, height_px, width_px)


@dataclass(slots=True, eq=False)
class Truth:
    """One camera's dense results, each computed once, whoever asks.

    Args:
        inference: the network.
        image: the picture of a frame by index.
    """

    inference: Inference
    image: Callable[[int], NDArray[np.uint8]]
    _known: dict[int, bytes] = field(default_factory=dict)

    def of(self, index: int) -> bytes:
        """The packed result of dense inference on a frame as it was captured."""
        if index not in self._known:
            self._known[index] = self.inference.result(self.inference.dense(self.image(index))[0])
        return self._known[index]


@dataclass(slots=True, eq=False)
class SideNetwork:
    """What one side of one camera's system computes (see :class:`sim.content.interface.Network`).

    Args:
        inference: the network, shared by all sides.
        truth: the camera's dense results.
    """

    inference: Inference
    truth: Truth
    runs: bool = True
    _features: Any = None  # of the reference; None: nothing was inferred here yet
    _refreshing: Any = None  # of the image that the refresh under way has begun with, moved along since

    def dense(self, frame: Frame, received: Received | None = None) -> bytes:
        assert frame.image is not None
        if received is not None:
            arrived = received.decoded()
            if not np.array_equal(arrived, frame.image):
                return self.inference.result(self.inference.dense(arrived)[0])
        return self.truth.of(frame.index)

    def keep(self, frame: Frame) -> None:
        assert frame.image is not None
        self._features = self.inference.dense(frame.image)[1]

    def sparse(self, frame: Frame, match: Match, processed: int) -> bytes:
        assert frame.image is not None
        if self._features is None:
            self._features = self.inference.blank()
        vectors = match.vectors
        if vectors is None:
            vectors = np.zeros((*self.inference.grid, 2), np.int16)
        active = self._blocks(match.active[:processed])
        outputs, _ = self.inference.sparse(frame.image, active, vectors, self._features)
        return self.inference.result(outputs)

    def follow(self, image: SharedImage, message: Message, *, densely: bool = False) -> bytes | None:
        assert isinstance(image, PixelSharedImage)
        assert image.image is not None
        if message.whole:
            self._features = self._refreshing = None  # of an epoch that is over
        if message.inferred and (densely or self._features is None):
            # Before the first inference every block is dirty, and computing all of them is dense inference.
            outputs, self._features = self.inference.dense(image.image)
            if self._refreshing is not None:
                self._refreshing = self._features
            return self.inference.result(outputs)
        vectors = message.decoded.vectors
        if vectors is None:
            if not message.inferred:
                return None  # blocks that wait for inference change no feature
            vectors = np.zeros((*self.inference.grid, 2), np.int16)
        active = self._blocks(image.computed)
        if self._refreshing is not None:
            _, self._refreshing = self.inference.sparse(image.image, active, vectors, self._refreshing)
        if self._features is None:
            return None
        outputs, self._features = self.inference.sparse(image.image, active, vectors, self._features)
        return self.inference.result(outputs) if message.inferred else None

    def begin_refresh(self, image: SharedImage) -> None:
        assert isinstance(image, PixelSharedImage)
        assert image.image is not None
        self._refreshing = self.inference.dense(image.image)[1]

    def end_refresh(self) -> None:
        if self._refreshing is not None:
            self._features, self._refreshing = self._refreshing, None

    def update(self, delta: Delta, *, densely: bool) -> bytes:
        image: NDArray[np.uint8] = delta.reference
        if densely or self._features is None:
            outputs, self._features = self.inference.dense(image)
        else:
            assert delta.indices is not None
            active, still = self._blocks(delta.indices), np.zeros((*self.inference.grid, 2), np.int16)
            outputs, self._features = self.inference.sparse(image, active, still, self._features)
        return self.inference.result(outputs)

    def _blocks(self, indices: Any) -> NDArray[np.bool_]:
        """Flat indices as a map of blocks."""
        chosen = np.zeros(self.inference.grid, np.bool_)
        chosen.reshape(-1)[np.asarray(indices, np.intp)] = True
        return chosen
