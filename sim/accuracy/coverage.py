"""Accuracy by coverage: no network runs, and a result is known by its stale blocks alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sim.content.interface import Delta, Frame, Match, Message, Received, SharedImage


@dataclass(frozen=True, slots=True)
class IdleNetwork:
    """A side's network that computes nothing."""

    runs: bool = False

    def dense(self, frame: Frame, received: Received | None = None) -> Any:
        return None

    def keep(self, frame: Frame) -> None:
        pass

    def sparse(self, frame: Frame, match: Match, processed: int) -> Any:
        return None

    def follow(self, image: SharedImage, message: Message, *, densely: bool = False) -> Any:
        return None

    def begin_refresh(self, image: SharedImage) -> None:
        pass

    def end_refresh(self) -> None:
        pass

    def update(self, delta: Delta, *, densely: bool) -> Any:
        return None


IDLE = IdleNetwork()
