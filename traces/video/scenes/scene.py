"""Moving-camera scenes that need no download: a street, objects that pass in it, and exact ground truth.

A camera held in a hand walks along a street and rests now and then; objects cut out of other photographs
pass at several depths and hide each other. Every frame is a pure function of the seed and its index.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from traces.errors import InputError
from traces.video.scenes.motion import MotionParameters, drift, shake, stop_and_go
from traces.video.sequence import FrameCache, SizePx, check_fps, check_index, check_size

NOISE_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class SceneObject:
    """A kind of object: its height and the rows it stands on, in heights of the picture, and its bounce."""

    name: str
    tall: float
    feet: tuple[float, float]
    bounce: float


# People are cut off below the hips in their photographs, so they pass in front, with the picture's border.
SCENE_OBJECTS = (
    SceneObject("van", 0.27, (1.05, 1.16), 0.006),
    SceneObject("ball", 0.09, (1.05, 1.22), 0.5),
    SceneObject("astronaut", 0.30, (1.34, 1.40), 0.02),
    SceneObject("van", 0.24, (1.05, 1.10), 0.006),
    SceneObject("ball", 0.07, (1.05, 1.22), 0.8),
    SceneObject("cameraman", 0.34, (1.34, 1.40), 0.02),
)


@dataclass(frozen=True, slots=True)
class ScenePreset:
    """How the camera and the objects move, and how many objects there are."""

    motion: MotionParameters
    objects: int


PRESETS: dict[str, ScenePreset] = {
    # camera speed, pause, shake, zoom, objects' speed, exposure
    "calm": ScenePreset(MotionParameters(20.0, 0.8, 0.4, 0.004, 60.0, 0.01), objects=6),
    "walk": ScenePreset(MotionParameters(190.0, 0.2, 3.0, 0.03, 150.0, 0.02), objects=9),
    "drive": ScenePreset(MotionParameters(390.0, 0.1, 1.5, 0.04, 260.0, 0.03), objects=10),
}


class Scene:
    """A composed video with ground truth.

    `mask` holds object ids, the nearest object in front; `object_kinds` names the kinds of ids 1, 2, ….
    `vectors` is exact with `whole_px`, where the camera and every object stand on whole pixels and nothing
    zooms; otherwise motion is sub-pixel, as in filmed video, `displacement` is exact and `vectors` is
    `displacement` rounded.
    """

    synthetic = True

    def __init__(
        self,
        preset: str = "walk",
        seed: int = 0,
        frame_count: int = 300,
        size_px: SizePx = 640,
        fps: float = 30.0,
        noise_sigma: float = 2.0,
        whole_px: bool = False,
        exposure: bool = True,
        cache_bytes: int = 64 * 2**20,
    ) -> None:
        """
        Args:
            preset: one of PRESETS.
            seed: two seeds give two streets, two sets of objects and two camera paths.
            frame_count: how many frames the scene has; a longer scene begins like a shorter one.
            size_px: side of the square picture, or (height, width); multiples of 16.
            fps: frames a second; a higher rate means smaller motion between frames.
            noise_sigma: standard deviation of the sensor noise, in grey levels of 255.
            whole_px: keep every position on whole pixels, without zoom.
            exposure: let the brightness drift.
            cache_bytes: memory for frames drawn last.

        Raises:
            InputError: an argument is out of range.
        """
        if preset not in PRESETS:
            raise InputError(f"scene: expected one of {', '.join(PRESETS)}, got {preset!r}")
        if frame_count <= 0:
            raise InputError(f"frames: expected a positive number of frames, got {frame_count}")
        if seed < 0:
            raise InputError(f"seed: expected an integer from 0, got {seed}")
        if not 0 <= noise_sigma <= 30:
            raise InputError(f"noise_sigma: expected 0 to 30 grey levels, got {noise_sigma!r}")
        self.height_px, self.width_px = check_size(size_px)
        self.fps = check_fps(fps)
        self.frame_count = frame_count
        self.name = f"scene-{preset}"
        self.preset = preset
        self.seed = seed
        self.noise_sigma = noise_sigma
        self.whole_px = whole_px
        self._images = FrameCache(cache_bytes)
        self._masks = FrameCache(cache_bytes // 3)
        self._compose(PRESETS[preset], exposure)

    def __repr__(self) -> str:
        return f"Scene({self.preset!r}, seed={self.seed}, {self.frame_count} frames)"

    def _compose(self, preset: ScenePreset, exposure: bool) -> None:
        from traces.video.scenes.assets import render_panorama

        world_seed, camera_seed, noise_seed, object_seed = np.random.SeedSequence(self.seed).spawn(4)
        world_rng, camera_rng, noise_rng = map(np.random.default_rng, (world_seed, camera_seed, noise_seed))
        scale = self.height_px / 640.0
        motion = preset.motion
        times_s = np.arange(self.frame_count) / self.fps
        self._panorama = render_panorama(self.height_px, self.width_px, world_rng)
        along = camera_rng.uniform(
            0, float(self._panorama.period_px[self._panorama.ground_px])
        ) + stop_and_go(camera_rng, times_s, motion.camera_px_per_s * scale, motion.pause_ratio, (1.5, 4.0))
        self._along_px = along + shake(camera_rng, times_s, motion.shake_px * scale)
        rest_px = self._panorama.ground_px - 0.27 * self.height_px
        self._row_px = (
            rest_px
            + shake(camera_rng, times_s, motion.shake_px * scale)
            + drift(camera_rng, times_s, 0.03 * self.height_px)
        )
        zoom = np.exp(drift(camera_rng, times_s, motion.zoom_ratio))
        self._zoom = np.ones_like(zoom) if self.whole_px else zoom
        gain = 1.0 + drift(camera_rng, times_s, motion.exposure_ratio)
        self._gain = gain if exposure else np.ones_like(gain)
        if self.whole_px:
            self._along_px, self._row_px = np.rint(self._along_px), np.rint(self._row_px)

        self._sprites, self._sprite_corners, self.object_kinds = self._place_objects(
            preset, times_s, object_seed
        )
        if self.whole_px:
            self._sprite_corners = np.rint(self._sprite_corners)
        grains = noise_rng.standard_normal(NOISE_BYTES, dtype=np.float32) * self.noise_sigma
        self._noise = np.clip(np.rint(grains), -127, 127).astype(np.int8)

    def _place_objects(
        self, preset: ScenePreset, times_s: NDArray[np.float64], seed: np.random.SeedSequence
    ) -> tuple[list[NDArray[np.uint8]], NDArray[np.float64], tuple[str, ...]]:
        """The cut-outs, far ones first, (frames, objects, 2) their left and top, and their kinds."""
        from traces.video.scenes.assets import render_sprite

        scale, height = self.height_px / 640.0, self.height_px
        kinds = [SCENE_OBJECTS[k % len(SCENE_OBJECTS)] for k in range(preset.objects)]
        rngs = [np.random.default_rng(child) for child in seed.spawn(preset.objects)]
        feet_px = [rng.uniform(*kind.feet) * height for kind, rng in zip(kinds, rngs, strict=True)]
        order = sorted(range(preset.objects), key=feet_px.__getitem__)
        apart_px = 2.6 * max(
            self.width_px, height
        )  # an object that leaves on one side comes in again on the other
        sprites, names = [], []
        places = np.empty((self.frame_count, preset.objects, 2))
        for position, k in enumerate(order):
            kind, rng = kinds[k], rngs[k]
            near = float(self._panorama.parallax[int(feet_px[k])])
            tall_px = int(kind.tall * near * height * rng.uniform(0.85, 1.1))
            sprite = render_sprite(kind.name, tall_px, rng)
            names.append(kind.name)
            speed = preset.motion.object_px_per_s * scale * near
            walked = rng.uniform(0, apart_px) + stop_and_go(rng, times_s, speed, 0.1, (1.0, 3.0))
            left = (walked - near * self._along_px) % apart_px - apart_px / 2 - sprite.shape[1] / 2
            lifted = kind.bounce * tall_px * np.abs(np.sin(np.pi * rng.uniform(1.2, 2.2) * times_s))
            places[:, position] = np.stack(
                [left, feet_px[k] - sprite.shape[0] - lifted - self._row_px], axis=1
            )
            sprites.append(sprite)
        return sprites, places, tuple(names)

    def _row_shift_px(self, index: int) -> NDArray[np.float64]:
        shift = self._panorama.parallax * self._along_px[index]
        return np.asarray(np.rint(shift) if self.whole_px else shift, dtype=np.float64)

    def image(self, index: int) -> NDArray[np.uint8]:
        """Frame `index`, (H, W, 3) RGB, read-only."""
        check_index(index, self.frame_count, self.name)
        return self._images.get(index, self._draw_image)

    def mask(self, index: int) -> NDArray[np.uint8]:
        """Object ids 1, 2, … of frame `index`, (H, W); 0 where the street shows; read-only."""
        check_index(index, self.frame_count, self.name)
        return self._masks.get(index, lambda i: self._draw(i, colour=False)[1])

    def _draw_image(self, index: int) -> NDArray[np.uint8]:
        frame, ids = self._draw(index, colour=True)
        self._masks.put(index, ids)
        return frame

    def _draw(self, index: int, colour: bool) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        from traces.video.scenes import raster

        frame = np.empty((self.height_px, self.width_px, 3), dtype=np.uint8)
        ids = np.zeros((self.height_px, self.width_px), dtype=np.uint8)
        zoom = float(self._zoom[index])
        if colour:
            raster.draw_background(
                frame,
                self._panorama.pixels,
                self._panorama.period_px,
                self._row_shift_px(index),
                float(self._row_px[index]),
                zoom,
            )
        for k, sprite in enumerate(self._sprites):
            left, top = self._sprite_corners[index, k]
            raster.draw_sprite(frame, ids, sprite, left, top, zoom, k + 1, colour)
        if colour:
            rng = np.random.default_rng([self.seed, index])
            starts = rng.integers(0, NOISE_BYTES - 3 * self.width_px, self.height_px)
            raster.expose(frame, float(self._gain[index]), self._noise, starts)
        frame.flags.writeable = ids.flags.writeable = False
        return frame, ids

    def displacement(self, index: int, reference: int) -> NDArray[np.float32]:
        """Exact motion of every pixel, (H, W, 2) as (dx, dy) in px, sub-pixel.

        Position in frame `reference` minus position in frame `index`; the position may lie outside the
        picture or be hidden there.
        """
        from traces.video.scenes import raster

        check_index(reference, self.frame_count, self.name)
        return raster.displacements(
            self.mask(index),
            self._row_shift_px(index),
            self._row_shift_px(reference),
            np.array([self._row_px[index], self._zoom[index]]),
            np.array([self._row_px[reference], self._zoom[reference]]),
            self._sprite_corners[index],
            self._sprite_corners[reference],
        )

    def vectors(self, index: int, reference: int) -> NDArray[np.int16]:
        """`displacement` in whole pixels, (H, W, 2) int16; exact with `whole_px`, rounded without."""
        moved = np.clip(np.rint(self.displacement(index, reference)), -32768, 32767)
        return np.asarray(moved, dtype=np.int16)
