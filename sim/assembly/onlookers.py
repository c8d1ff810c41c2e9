"""Who looks at finished frames beside the tables: the overlay's video, the inspection's pictures."""

from __future__ import annotations

from pathlib import Path

from sim.accuracy.choice import NetworkChoice
from sim.accuracy.coverage import CoverageRuler
from sim.assembly.video import VideoView
from sim.configuration.sections import RunConfig
from sim.records.inspection import Inspection
from sim.records.overlay import Overlay
from traces.errors import InputError


def open_overlay(
    config: RunConfig, view: VideoView, network: NetworkChoice | None, path: Path | None
) -> Overlay | None:
    """The video that `overlay` asks for; None: it is not asked for.

    Raises:
        InputError: there are no pixels, or no file to draw into.
    """
    if not config.overlay:
        return None
    _need_pixels("overlay", view)
    if path is None:
        raise InputError("overlay: expected a file to draw into, found none")
    overlay = Overlay(path, view.fps, config.payload.block_px)
    if view.evaluated:
        from kernels.models.predictions.tasks import unpack  # loads torch

        overlay.unpack = unpack
        overlay.class_names = () if network is None else network.network.class_names
    return overlay


def open_inspection(
    config: RunConfig, view: VideoView, network: NetworkChoice | None, ruler: CoverageRuler
) -> Inspection | None:
    """What `inspect` asks for; None: it is not asked for.

    Raises:
        InputError: there are no pixels.
    """
    if not config.inspect:
        return None
    _need_pixels("inspect", view)
    geometry, asked = view.geometry, config.inspection
    inspection = Inspection(
        geometry.rows, geometry.columns, geometry.block_px, asked.frames, asked.width_px, ruler.stale_map
    )
    if view.evaluated:
        from kernels.models.predictions.tasks import unpack  # loads torch

        inspection.unpack = unpack
        inspection.class_names = () if network is None else network.network.class_names
        inspection.truth = view.truths[0].of if view.truths else None
    return inspection


def _need_pixels(key: str, view: VideoView) -> None:
    if view.images(0) is None:
        raise InputError(f"{key}: needs pixels: expected video.kind scene or file, found 'statistical'")
