"""Inference that is put off until somebody needs it, and that other runs may have done already.

What a side computes from one frame to the next is a chain: dense inference on an image, then sparse
inference that moves its features along vectors, and so on. A step of it is known by what goes in, and so is
its result: if another run has had the same chain so far, the result is taken from there, and features are
computed only where one is not known. A refresh that nothing is ever read from costs nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sim.accuracy.inference import Inference
from sim.accuracy.network import Image
from sim.shared_work import NOTHING_KEPT, SharedWork, digest

LONGEST = 128  # steps that wait, each with its image: 157 MB at 640×640


@dataclass(slots=True, eq=False)
class Step:
    """One inference: on an image, densely, or over blocks with the features of an earlier step.

    Args:
        image: (H, W, 3).
        blocks, vectors, before: as in :meth:`Inference.sparse`; None where it is dense.
        key: of all that its result follows from; "" where nothing is shared.
        waiting: steps before it that have not been computed.
    """

    image: Image
    blocks: NDArray[np.bool_] | None = None
    vectors: NDArray[np.int16] | None = None
    before: Step | None = None
    key: str = ""
    waiting: int = 0
    made: tuple[Any, Any] | None = None  # raw outputs and feature cache


@dataclass(slots=True, eq=False)
class Steps:
    """The inference of one network, shared by everybody who uses it.

    Args:
        inference: what computes.
        work: where results are shared, if the network can be told from others.
    """

    inference: Inference
    work: SharedWork = NOTHING_KEPT
    _first: Image | None = field(default=None)  # what the executor is to see first: see `_begin`
    _first_key: str = ""
    _begun: bool = False
    _blank: Step | None = None

    def dense(self, image: Image) -> Step:
        """Dense inference on an image."""
        key = digest(self.inference.identity, "dense", self.work.key_of(image)) if self._shares else ""
        if self._first is None and self.inference.executor.policy == "truncate":
            self._first, self._first_key = image, key
        return Step(image, key=key)

    def sparse(
        self, image: Image, blocks: NDArray[np.bool_], vectors: NDArray[np.int16], before: Step | None
    ) -> Step:
        """Inference over blocks, all else moved from an earlier step; without one from a black frame's."""
        if before is None:
            if self._blank is None:
                self._blank = self.dense(np.zeros_like(image))
            before = self._blank
        key = ""
        if self._shares:
            key = digest(
                *(self.inference.identity, self._first_key, "sparse", self.work.key_of(image)),
                *(blocks, vectors, before.key),
            )
        waiting = 0 if before.made is not None else before.waiting + 1
        step = Step(image, blocks, vectors, before, key, waiting)
        if waiting >= LONGEST:
            self.compute(step)
        return step

    def result(self, step: Step) -> bytes:
        """The packed result of a step."""
        known = self.work.get(step.key) if step.key else None
        if known is None:
            known = self.inference.result(self.compute(step)[0])
            if step.key:
                self.work.put(step.key, known)
        return known

    def compute(self, step: Step) -> tuple[Any, Any]:
        """Raw outputs and features of a step, computed with all that it follows from."""
        chain = [step]
        while chain[-1].made is None and chain[-1].before is not None:
            chain.append(chain[-1].before)
        while chain:
            link = chain.pop()  # and with it the features before it, unless somebody else has them
            if link.made is not None:
                continue
            self._begin(link.image)
            if link.before is None:
                link.made = self.inference.dense(link.image)
            else:
                assert link.blocks is not None
                assert link.vectors is not None
                assert link.before.made is not None
                features = link.before.made[1]
                link.made = self.inference.sparse(link.image, link.blocks, link.vectors, features)
            # What it came from may go: only its features are asked for from now on.
            link.before, link.blocks, link.vectors, link.waiting = None, None, None, 0
        assert step.made is not None
        return step.made

    @property
    def _shares(self) -> bool:
        return bool(self.inference.identity) and self.work.kept

    def _begin(self, image: Image) -> None:
        """Have the executor see first what it would if nothing were put off or known already.

        Under "truncate" it measures each layer's spread on the first frame that it computes densely, and
        prunes by that from then on.
        """
        if not self._begun:
            self._begun = True
            if self._first is not None and self._first is not image:
                self.inference.dense(self._first)
