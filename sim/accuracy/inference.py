"""The network itself, dense and sparse, on images and features that are handed in.

All sides of all cameras share one executor, which has no state but its memory: features are handed out and
given back. What is shown to a client is packed at once, in the form in which it crosses the downlink: class
maps are mostly runs, and 400 kB become 2 to 5.
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from kernels.executor import SparseExecutor
from kernels.models.predictions.results import Segmentation
from kernels.models.predictions.tasks import TASKS
from kernels.ops.cpu import loader
from sim.accuracy.choice import NetworkChoice
from sim.accuracy.network import Image
from sim.configuration.sections import AccuracyConfig
from sim.shared_work import code_digest, digest
from sim.shared_work.fingerprint import file_digest
from sim.world.frame import FrameGeometry
from traces.errors import InputError, place_of
from traces.notices import InputWarning

# Of the environment: what chooses among implementations of an operation.
SWITCHES = ("FLUXSHARD_BACKEND", "ATEN_", "ONEDNN_", "DNNL_", "MKL_", "OMP_", "KMP_", "OPENBLAS_", "NPY_")


@dataclass(frozen=True, slots=True, eq=False)
class Inference:
    """A network for frames of one size, dense and sparse.

    Args:
        executor: runs it.
        geometry: size of the frames and their blocks.
        interpret: what raw outputs say about a frame of (height_px, width_px).
        task: of the network; results are of that task.
        identity: a key for all that results follow from but the pixels: network, weights, code and machine.
            "": it cannot be told, as of a network of somebody else's code.
    """

    executor: SparseExecutor
    geometry: FrameGeometry
    interpret: Callable[[Any, int, int], Any]
    task: str = "segmentation"
    identity: str = ""

    def dense(self, image: Image) -> tuple[Any, Any]:
        """The raw outputs of dense inference on an image, and its feature cache."""
        return self.executor.dense(self.tensor(image))

    def sparse(
        self, image: Image, active: NDArray[np.bool_], vectors: NDArray[np.int16], cache: Any
    ) -> tuple[Any, Any]:
        """The raw outputs with active blocks computed and the rest moved along vectors; the new cache.

        Args:
            active: (rows, columns); vectors: (rows, columns, 2), position in the cache's image minus position
                in this one.
        """
        outputs, made, _ = self.executor.sparse(
            self.tensor(image), torch.from_numpy(active), torch.from_numpy(vectors), cache
        )
        return outputs, made

    def result(self, outputs: Any) -> bytes:
        """The packed result that raw outputs mean.

        Raises:
            InputError: the network's `interpret` returned no result of its task, or a class map of another
                size.
        """
        size = self.geometry.height_px, self.geometry.width_px
        found = self.interpret(outputs, *size)
        wanted = TASKS[self.task].result
        if not isinstance(found, wanted):
            raise InputError(
                f"{place_of(self.interpret)}: expected {wanted.__name__}, the result of {self.task}, "
                f"found {found!r}"
            )
        if isinstance(found, Segmentation):
            classes: Any = found.classes
            if getattr(classes, "dtype", None) != np.uint8 or classes.shape != size:
                kind = f"{getattr(classes, 'dtype', type(classes).__name__)} of {np.shape(classes)}"
                raise InputError(
                    f"{place_of(self.interpret)}: expected classes as uint8 of {size}, found {kind}"
                )
        packed: bytes = TASKS[self.task].pack(found)
        return packed

    def tensor(self, image: Image) -> torch.Tensor:
        """(1, 3, H, W) in [0, 1]."""
        scaled = np.ascontiguousarray(image.transpose(2, 0, 1)[None], np.float32) / np.float32(255.0)
        return torch.from_numpy(scaled)


def open_inference(
    choice: NetworkChoice,
    config: AccuracyConfig,
    geometry: FrameGeometry,
    policy: str = "fixed",
    sampling: str = "bilinear",
    margin_px: int = 0,
) -> Inference:
    """The network that runs, for frames of one size.

    Args:
        choice: which network, and its weights.
        config: may replace the policy and the sampling.
        geometry: size of the frames and their blocks.
        policy, sampling: of the executor, where the configuration leaves them to the system.
        margin_px: how far beyond the computed blocks every layer computes, under "fixed".

    Warns:
        UserWarning: "exact" was asked for, which latencies do not account for.

    Raises:
        InputError: missing or unfitting weights, or a size that the network cannot take.
    """
    if config.policy == "exact":
        warnings.warn(
            "accuracy.policy: exact computes whatever differs, stale blocks included, while latencies are "
            "those of the chosen blocks: accuracy is a bound",
            InputWarning,
            stacklevel=2,
        )
    multiple_px = choice.network.size_multiple_px
    if geometry.height_px % multiple_px or geometry.width_px % multiple_px:
        raise InputError(
            f"video.size_px: network {choice.name!r} needs multiples of {multiple_px} px, "
            f"found {geometry.height_px}x{geometry.width_px}"
        )
    try:
        model = choice.network.load(choice.weights)
    except (ValueError, FileNotFoundError) as error:
        raise InputError(f"model.weights: network {choice.name!r}: {error}") from None
    try:
        policy = config.policy or policy
        executor = SparseExecutor(
            model,
            policy,
            block_px=geometry.block_px,
            sampling=config.sampling or sampling,
            margin_px=margin_px if policy == "fixed" else 0,
        )
    except ValueError as error:
        raise InputError(f"model.network: {choice.name}: {error}") from None
    return Inference(
        executor,
        geometry,
        choice.network.interpret,
        choice.network.task,
        _identity(choice, executor, geometry),
    )


def _identity(choice: NetworkChoice, executor: SparseExecutor, geometry: FrameGeometry) -> str:
    kind = type(choice.network)
    if not kind.__module__.startswith("kernels."):
        return ""  # what else its code builds on is not known here
    return digest(
        *("result of", code_digest("kernels", "sim.accuracy"), _machine()),
        *(kind.__qualname__, repr(choice.network)),
        None if choice.weights is None else file_digest(choice.weights),
        *(
            executor.policy,
            executor.sampling,
            executor.margin_px,
            executor.block_px,
            str(executor.dtype),
            str(executor.device),
        ),
        *(geometry.height_px, geometry.width_px),
    )


@cache
def _machine() -> str:
    """What the same code may round differently on: versions, processor, compiled operations, threads."""
    try:
        operations = Path(loader.library()._name).name  # named by its sources, compiler, flags and content
    except loader.BuildError as error:
        operations = f"none: {error}"
    switches = sorted(item for item in os.environ.items() if item[0].startswith(SWITCHES))
    return digest(
        *(sys.version, np.__version__, torch.__version__, torch.backends.cpu.get_cpu_capability()),
        *(loader.processor(), operations, torch.get_num_threads(), repr(switches)),
    )
