"""What a simulation asks of a network: a module with weights in it, and what its raw outputs mean.

A network of your own is any class with what :class:`Network` lists, made from its options; a YAML names it:

    # conf/model/network/mine.yaml, in any configuration folder
    _target_: mypackage.networks.MyNetwork
    width: 32                # a field of MyNetwork.Options

Importing this module, or making one of its classes, does not load torch: :meth:`Network.load` does.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from kernels.models.predictions.labels import COCO_CLASSES, MAIN_CLASSES, SCENE_CLASSES
from kernels.models.registry import YOLO11_NAMES

if TYPE_CHECKING:
    from torch import nn

    from kernels.models.networks.staged import StagedNetwork
    from kernels.models.predictions.results import Result

MAX_CLASSES = 255  # of a class map, uint8 with 0 for background
TASK_NAMES = ("segmentation", "detection", "pose", "keypoints", "classification")


class Network(Protocol):
    """A network for frames of any size that is a multiple of `size_multiple_px` on both sides.

    A nested frozen dataclass `Options` holds what a YAML may set, and the class is made as `Class(options)`.
    Its checks raise ValueError in one line, `<field>: expected <what>, found <value>`.
    """

    @property
    def class_names(self) -> tuple[str, ...]:
        """The classes, or kinds of keypoints, that it tells apart; class c is c + 1 in a class map.

        Background is not among them; of a classification, what stands for "none of them" is.
        """
        ...

    @property
    def task(self) -> str:
        """Which of :data:`TASK_NAMES`; :mod:`kernels.models.predictions.tasks` says what follows from it."""
        ...

    @property
    def has_weights(self) -> bool:
        """Whether `load(None)` gives a trained network."""
        ...

    @property
    def size_multiple_px(self) -> int:
        """What the height and width of a frame must be multiples of: the largest stride."""
        ...

    def load(self, weights: Path | None) -> nn.Module:
        """The module, in evaluation mode and float32, for :class:`kernels.SparseExecutor`.

        Its forward pass takes a frame (1, 3, H, W), float32, RGB in [0, 1]; see the executor for its limits.

        Args:
            weights: a file of weights; None: those that come with the network.

        Raises:
            FileNotFoundError: no such file.
            ValueError: there must be a file and there is none, or it does not fit the network.
        """
        ...

    def interpret(self, outputs: Any, height_px: int, width_px: int) -> Result:
        """What the module's outputs for one frame of that size say.

        Raises:
            ValueError: they are not those of one frame of that size.
        """
        ...


@dataclass(frozen=True, slots=True)
class SceneNetwork:
    """The default network: segments the objects of the embedded scenes, with weights that come along."""

    @dataclass(frozen=True, slots=True)
    class Options:
        """None."""

    options: Options
    class_names: ClassVar[tuple[str, ...]] = SCENE_CLASSES
    task: ClassVar[str] = "segmentation"
    has_weights: ClassVar[bool] = True
    size_multiple_px: ClassVar[int] = 32

    def load(self, weights: Path | None) -> nn.Module:
        from kernels.models.networks.default_network import DefaultNetwork, load_default_network
        from kernels.models.weight_files import load_weights

        return load_default_network() if weights is None else load_weights(DefaultNetwork(), weights)

    def interpret(self, outputs: Any, height_px: int, width_px: int) -> Result:
        from kernels.models.predictions.results import interpret

        return interpret(outputs, height_px, width_px)

    def staged(self, weights: Path | None) -> StagedNetwork:
        """The network in stages, with exits behind three of them; for systems that cut or leave it.

        Raises:
            ValueError: weights of somebody's own, which the exits were not trained with.
        """
        if weights is not None:
            raise ValueError(
                f"expected the network's own weights, which its exits belong to, found {weights}"
            )
        from kernels.models.networks.staged import load_staged

        return load_staged()


@dataclass(frozen=True, slots=True)
class TokenSceneNetwork:
    """The token network: what covers most of a frame of the embedded scenes; its weights come along."""

    @dataclass(frozen=True, slots=True)
    class Options:
        """None."""

    options: Options
    class_names: ClassVar[tuple[str, ...]] = MAIN_CLASSES
    task: ClassVar[str] = "classification"
    has_weights: ClassVar[bool] = True
    size_multiple_px: ClassVar[int] = 32

    def load(self, weights: Path | None) -> nn.Module:
        from kernels.models.networks.token_network import TokenNetwork, load_token_network
        from kernels.models.weight_files import load_weights

        return load_token_network() if weights is None else load_weights(TokenNetwork(), weights)

    def interpret(self, outputs: Any, height_px: int, width_px: int) -> Result:
        from kernels.models.predictions.results import interpret

        return interpret(outputs, height_px, width_px)


@dataclass(frozen=True, slots=True)
class KeypointSceneNetwork:
    """The keypoint network: the centres of the embedded scenes' objects; its weights come along."""

    @dataclass(frozen=True, slots=True)
    class Options:
        """What a YAML may set.

        Args:
            score_threshold: the lowest score of a keypoint that counts.
        """

        score_threshold: float = 0.25

        def __post_init__(self) -> None:
            if not 0.0 <= self.score_threshold <= 1.0:
                raise ValueError(f"score_threshold: expected a score in [0, 1], found {self.score_threshold}")

    options: Options
    class_names: ClassVar[tuple[str, ...]] = SCENE_CLASSES
    task: ClassVar[str] = "keypoints"
    has_weights: ClassVar[bool] = True
    size_multiple_px: ClassVar[int] = 64

    def load(self, weights: Path | None) -> nn.Module:
        from kernels.models.networks.keypoint_network import KeypointNetwork, load_keypoint_network
        from kernels.models.weight_files import load_weights

        return load_keypoint_network() if weights is None else load_weights(KeypointNetwork(), weights)

    def interpret(self, outputs: Any, height_px: int, width_px: int) -> Result:
        from kernels.models.predictions.results import interpret

        return interpret(outputs, height_px, width_px, score_threshold=self.options.score_threshold)


@dataclass(frozen=True, slots=True)
class Yolo11Network:
    """YOLO11, detect or segment, of any of its five sizes, with weights from a file."""

    @dataclass(frozen=True, slots=True)
    class Options:
        """What a YAML may set.

        Args:
            name: yolo11n, s, m, l or x, with -seg for masks.
            score_threshold: the lowest score of a detection that counts.
            class_names: what it was trained for; None: the 80 classes of COCO.
        """

        name: str = "yolo11n-seg"
        score_threshold: float = 0.25
        class_names: tuple[str, ...] | None = None

        def __post_init__(self) -> None:
            if self.name not in YOLO11_NAMES:
                raise ValueError(f"name: expected one of {', '.join(YOLO11_NAMES)}, found {self.name!r}")
            if not 0.0 <= self.score_threshold <= 1.0:
                raise ValueError(f"score_threshold: expected a score in [0, 1], found {self.score_threshold}")
            if self.class_names is not None:
                names = tuple(self.class_names)
                if not 1 <= len(names) <= MAX_CLASSES or len(set(names)) < len(names):
                    raise ValueError(
                        f"class_names: expected 1 to {MAX_CLASSES} different names, found {', '.join(names)}"
                    )
                object.__setattr__(self, "class_names", names)

    options: Options
    has_weights: ClassVar[bool] = False
    size_multiple_px: ClassVar[int] = 32

    @property
    def class_names(self) -> tuple[str, ...]:
        """Those of the options, or COCO's."""
        return COCO_CLASSES if self.options.class_names is None else self.options.class_names

    @property
    def task(self) -> str:
        """Segmentation of a -seg model."""
        return "segmentation" if self.options.name.endswith("-seg") else "detection"

    def load(self, weights: Path | None) -> nn.Module:
        if weights is None:
            raise ValueError(f"expected a safetensors file of weights for {self.options.name}, found none")
        from kernels.models.registry import build_model
        from kernels.models.weight_files import load_weights

        return load_weights(build_model(self.options.name, classes=len(self.class_names)), weights)

    def interpret(self, outputs: Any, height_px: int, width_px: int) -> Result:
        from kernels.models.predictions.results import interpret

        return interpret(outputs, height_px, width_px, score_threshold=self.options.score_threshold)
