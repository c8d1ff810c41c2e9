"""One run, from the plain mappings that describe it to its results; nothing is written but the overlay."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sim.assembly import Assembly, assemble
from sim.config import read_config
from sim.records.summary import RunRecord, summarise


@dataclass(frozen=True, slots=True)
class FinishedRun:
    """What a run gave, and the world that it ran in."""

    record: RunRecord
    assembly: Assembly


def run_once(
    content: Mapping[str, Any],
    overlay_path: Path | None = None,
    on_begin: Callable[[int], None] | None = None,
    on_frame: Callable[[int, int], None] | None = None,
) -> FinishedRun:
    """Run what a configuration describes.

    Args:
        content: the configuration as plain mappings.
        overlay_path: where the video with its blocks drawn goes, if the configuration asks for it.
        on_begin: told how many frames all cameras will see, when the world is ready.
        on_frame: told (camera, frame) after each frame that ended.

    Raises:
        InputError: a key is unknown or holds a wrong value, or something that it names does not exist.
    """
    config = read_config(content)
    began_s = time.perf_counter()
    assembly = assemble(config, on_frame, overlay_path)
    if on_begin is not None:
        on_begin(config.cameras * assembly.frames_per_camera)
    result = assembly.simulation.run()
    record = summarise(config, content, assembly, result, time.perf_counter() - began_s)
    if assembly.overlay is not None:
        assembly.overlay.close()
    return FinishedRun(record, assembly)
