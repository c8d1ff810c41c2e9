"""The video of a run, as its cameras see it: with pixels, or as counts drawn from a recording."""

from __future__ import annotations

import gc
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from profiler.latency import Profile
from sim.accuracy.choice import NetworkChoice
from sim.accuracy.evaluator import DenseResults
from sim.accuracy.masks import MaskSource, MaskTruth, open_masks
from sim.accuracy.network import NetworkMaker, no_network
from sim.accuracy.staged import StagedInLoop, no_stages
from sim.assembly.replicate import VIDEO, replicate_seed, start_share
from sim.configuration import lookup
from sim.configuration.sections import RECORDED_QUALITY, RunConfig
from sim.shared_work import NOTHING_KEPT, SharedWork, open_store
from sim.world.frame import FrameGeometry
from traces.errors import InputError
from traces.notices import InputWarning, warn_once

if TYPE_CHECKING:
    from traces.video.block_statistics import BlockSampler
    from traces.video.sequence import VideoSequence

SCENE_FRAMES = 300  # of a run that names no number
SCENE_FPS = 30.0
STATISTICAL_FRAMES = 300
ImageSource: TypeAlias = Callable[[int], NDArray[np.uint8]]


def _no_images(camera: int) -> ImageSource | None:
    return None


def _no_counts(camera: int) -> BlockSampler | None:
    return None


@dataclass(frozen=True, slots=True)
class VideoView:
    """The video as cameras see it; camera c of n begins c/n of the way through it, replicates elsewhere.

    Args:
        name: what tables call it.
        fps: captured frames a second.
        frames: that a camera captures.
        geometry: size of the frames and their blocks.
        outside_profile: the frames are not of the size that the latency profiles were made for.
        images: of a camera, the picture of a frame by index; None where there are no pixels.
        counts: of a camera, block counts and sizes where there are no pixels.
        networks: of a camera, what makes the network that runs in the loop.
        staged: makes it in stages, with exits, the same for all cameras; refuses where it has none.
        truths: each camera's dense results, where results are compared with them.
        masks: each camera's ground truth, likewise.
        work: where results are shared with other runs; only where a network runs, whose images need keys
        anyway.
    """

    name: str
    fps: float
    frames: int
    geometry: FrameGeometry
    outside_profile: bool = False
    images: Callable[[int], ImageSource | None] = _no_images
    counts: Callable[[int], BlockSampler | None] = _no_counts
    networks: Callable[[int], NetworkMaker] = lambda camera: no_network
    staged: Callable[[], StagedInLoop] = no_stages
    truths: Sequence[DenseResults] = ()
    masks: Sequence[MaskTruth] = ()
    work: SharedWork = NOTHING_KEPT

    @property
    def evaluated(self) -> bool:
        """Whether results are compared with anything."""
        return bool(self.truths or self.masks)


def open_view(config: RunConfig, profile: Profile, network: NetworkChoice | None) -> VideoView:
    """Open the video that the configuration names, at the size the model's profile was made for.

    Args:
        config: the run.
        profile: of the edge.
        network: what runs in the loop; None where accuracy is by coverage. With `accuracy.mode` "auto" it is
            by coverage, too, where frames are of a size that the network cannot take.
    """
    if config.video.kind == "statistical":
        return _statistical_view(config, profile)
    video = _open_video(config, config.video.size_px or profile.resolution_px)
    fps = video.fps if config.fps is None else config.fps
    if fps > video.fps * (1 + 1e-9):
        warnings.warn(
            f"fps: {fps:g} frames/s from a video of {video.fps:g}: frames repeat, which flatters reuse",
            InputWarning,
            stacklevel=2,
        )
    step = _step(config, video.fps)
    shown = video.frame_count // config.cameras if config.video.kind == "scene" else video.frame_count
    frames = config.frames or max(1, int((shown - 1) / step) + 1)
    starts = _starts(video, config, _length(frames, step))
    source = _repeat(video, config, _length(frames, step), starts)
    geometry = FrameGeometry(video.height_px, video.width_px, config.payload.block_px)
    if profile.block_px != geometry.block_px:
        raise InputError(
            f"payload.block_px: expected {profile.block_px} px, which the profile of {profile.model!r} on "
            f"{profile.device!r} was made with, found {geometry.block_px}"
        )
    outside = (video.height_px, video.width_px) != tuple(profile.resolution_px)
    if outside:
        warnings.warn(
            f"video.size_px: frames of {video.height_px}x{video.width_px} px, profile made at "
            f"{profile.resolution_px[0]}x{profile.resolution_px[1]} px: all frames count as extrapolated",
            InputWarning,
            stacklevel=2,
        )

    def place(camera: int, index: int) -> int:
        return starts[camera] + int(index * step + 1e-9)

    def images(camera: int) -> ImageSource:
        return lambda index: source.image(place(camera, index))

    def mask(camera: int) -> MaskSource:
        return lambda index: source.mask(place(camera, index))

    view = VideoView(video.name, fps, frames, geometry, outside, images)
    if network is None or (config.accuracy.mode == "auto" and not _fits(geometry, network)):
        return view
    return _measured(view, config, network, video, images, mask)


def _fits(geometry: FrameGeometry, choice: NetworkChoice) -> bool:
    """Whether a network takes frames of that size."""
    multiple_px = choice.network.size_multiple_px
    return geometry.height_px % multiple_px == 0 and geometry.width_px % multiple_px == 0


def _measured(
    view: VideoView,
    config: RunConfig,
    choice: NetworkChoice,
    video: VideoSequence,
    images: Callable[[int], ImageSource],
    mask: Callable[[int], MaskSource],
) -> VideoView:
    """The view, with a network in the loop and what its results are compared with."""
    from sim.accuracy.inference import open_inference
    from sim.accuracy.running import RunningNetwork, Truth
    from sim.accuracy.steps import Steps

    gc.collect()  # earlier runs of this process: a few cycles of objects that hold hundreds of megabytes
    work = open_store(config.cache.enabled, config.cache.max_bytes)

    @cache
    def steps(policy: str, sampling: str, margin_px: int) -> Steps:
        inference = open_inference(choice, config.accuracy, view.geometry, policy, sampling, margin_px)
        return Steps(inference, work)

    @cache
    def staged() -> StagedInLoop:
        from sim.accuracy.staged_running import RunningStages

        make = getattr(choice.network, "staged", None)
        if make is None:
            raise InputError(
                "system.variant: expected a network with exits, such as model.network=default, "
                f"found {choice.name!r}"
            )
        try:
            return RunningStages(make(choice.weights), steps("fixed", "bilinear", 0).inference)
        except ValueError as error:
            raise InputError(f"model.weights: network {choice.name!r}: {error}") from None

    cameras = range(config.cameras)
    reference = config.accuracy.reference
    masks: Sequence[MaskTruth] = ()
    if reference != "dense":
        masks = open_masks(config.accuracy, choice, video, [mask(camera) for camera in cameras])
    dense = [Truth(steps("fixed", "bilinear", 0), images(camera)) for camera in cameras]

    def networks(camera: int) -> NetworkMaker:
        return lambda policy, sampling, margin_px: RunningNetwork(
            steps(policy, sampling, margin_px), dense[camera]
        )

    return VideoView(
        view.name,
        view.fps,
        view.frames,
        view.geometry,
        view.outside_profile,
        view.images,
        networks=networks,
        staged=staged,
        truths=dense if reference != "masks" else (),
        masks=masks,
        work=work,
    )


def _step(config: RunConfig, fps: float) -> float:
    """Frames of a video of `fps` from one captured frame to the next."""
    if config.fps is None or config.arrival.policy == "closed_loop":
        return 1.0
    return fps / config.fps


def _length(frames: int, step: float) -> int:
    """Frames of the video from a camera's first to its last."""
    return int((frames - 1) * step + 1e-9) + 1


def _open_video(config: RunConfig, size_px: int | tuple[int, int]) -> VideoSequence:
    chosen = config.video
    if chosen.kind == "file":
        from traces.video.loading import load_video

        if chosen.path is None:
            raise InputError("video.path: expected a clip or a folder of images, found none")
        if chosen.fps is not None and not Path(chosen.path).is_dir():
            raise InputError(
                f"video.fps: expected a folder of images with it, found {chosen.path}, which has its own rate"
            )
        return load_video(Path(chosen.path), size_px=size_px, fit=chosen.fit, fps=chosen.fps)
    _check_no_rate(config)
    length = _length(config.frames, _step(config, SCENE_FPS)) if config.frames else SCENE_FRAMES
    seed = replicate_seed(_video_seed(config), config.replicate_number)
    return _scene(chosen.preset, seed, config.cameras * length, size_px, chosen.noise_sigma)


@lru_cache(maxsize=1)  # of a sweep's jobs the last one's: to compose it takes as long as to draw fifty frames
def _scene(
    preset: str, seed: int, frame_count: int, size_px: int | tuple[int, int], noise_sigma: float
) -> VideoSequence:
    from traces.video.scenes.scene import Scene

    return Scene(
        preset=preset,
        seed=seed,
        frame_count=frame_count,
        size_px=size_px,
        fps=SCENE_FPS,
        noise_sigma=noise_sigma,
    )


def _check_no_rate(config: RunConfig) -> None:
    if config.video.fps is not None:
        raise InputError(
            f"video.fps: expected it with a folder of images, found video.kind {config.video.kind!r}; "
            "fps=... is how often a camera captures a frame"
        )


def _video_seed(config: RunConfig) -> int:
    return config.seed if config.video.seed is None else config.video.seed


def _starts(video: VideoSequence, config: RunConfig, length: int) -> list[int]:
    """Each camera's first frame.

    They are evenly spread over the video. In a replicate each is drawn: anywhere, or where no frame is shown
    twice if the video is to stop at its end. A composed scene is drawn anew in the place of that.
    """
    cameras, replicate = range(config.cameras), config.replicate_number
    if replicate == 0 or config.video.kind == "scene":
        return [camera * (video.frame_count // config.cameras) for camera in cameras]
    places = video.frame_count
    if config.video.repeat == "stop":
        places = max(1, video.frame_count - length + 1)
    seed = _video_seed(config)
    return [int(start_share(seed, replicate, VIDEO, camera) * places) for camera in cameras]


def _repeat(video: VideoSequence, config: RunConfig, length: int, starts: Sequence[int]) -> VideoSequence:
    """The video, long enough for the last of `length` frames from every start on."""
    from traces.video.sequence import RepeatedVideo

    count, needed = video.frame_count, max(starts) + length
    if needed <= count:
        return video
    if config.video.repeat == "stop" and length > count:
        return RepeatedVideo(video, length, "stop")  # refuses
    mode = "pingpong" if config.video.repeat == "stop" else config.video.repeat
    if config.replicate_number:  # each needs another number: what is said must be the same, to be said once
        why = "replicates begin elsewhere in it"
    else:
        why = f"{needed} are needed"
        if config.cameras > 1:
            why += f" by {config.cameras} cameras that begin evenly spread over it"
    warn_once(
        f"frames: video {video.name!r} has {count} frames, {why}: it is played "
        f"{'forward and backward' if mode == 'pingpong' else 'again from its start'} (video.repeat={mode})"
    )
    return RepeatedVideo(video, needed, mode)


# -- without pixels --------------------------------------------------------------------------------


def _statistical_view(config: RunConfig, profile: Profile) -> VideoView:
    from traces.video.block_statistics import BlockStatistics

    if config.accuracy.mode == "measured":
        raise InputError(
            "accuracy.mode: measured needs pixels: expected video.kind scene or file, found 'statistical'"
        )
    _check_no_rate(config)
    path = _statistics_file(config.video.statistics, config.config_folders)
    statistics = BlockStatistics.load(path)
    _check_recorded(config)
    if statistics.blocks_total != profile.block_count:
        raise InputError(
            f"video.statistics: frames of model {profile.model!r} have {profile.block_count} blocks, found a "
            f"recording of {statistics.blocks_total} in {path}; record one at the model's resolution, or "
            f"choose a model of that many blocks"
        )
    fps = statistics.fps if config.fps is None else config.fps
    seed = replicate_seed(_video_seed(config), config.replicate_number)
    return VideoView(
        f"{statistics.name} (statistical)",
        fps,
        config.frames or STATISTICAL_FRAMES,
        FrameGeometry(*profile.resolution_px, profile.block_px),
        counts=lambda camera: statistics.sampler(seed, camera, fps),
    )


def _statistics_file(named: str | None, folders: Iterable[str]) -> Path:
    """The recording that `video.statistics` names: a file, or one of a folder `statistics`."""
    known = lookup.names("video/statistics", folders)
    if named is not None and named in known:
        return lookup.find("video/statistics", named, folders)
    if named is None or not Path(named).is_file():
        found = "none" if named is None else repr(named)
        raise InputError(f"video.statistics: expected a file or one of {', '.join(known)}, found {found}")
    return Path(named)


def _check_recorded(config: RunConfig) -> None:
    """Refuse what a recording has fixed: it would be ignored, and a sweep over it would show no effect."""
    recorded = {
        "matching.aligner": (config.matching.aligner, "search"),
        "accuracy.coverage_threshold": (config.accuracy.coverage_threshold, 0.025),
        "matching.threshold": (config.matching.threshold, 0.025),
        "matching.radius_px": (config.matching.radius_px, 16),
        "payload.quality": (config.payload.quality or RECORDED_QUALITY, RECORDED_QUALITY),
        "payload.block_px": (config.payload.block_px, 16),
    }
    for key, (found, fixed) in recorded.items():
        if found != fixed:
            raise InputError(
                f"{key}: statistics are recorded with {fixed}, found {found}; use video=scene or video=file"
            )
