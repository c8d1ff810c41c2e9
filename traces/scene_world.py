"""What a scene shows: a street panorama and cut-out objects, composed from scikit-image's photographs.

Only photographs that lie inside scikit-image's wheel are read, straight from its folder, so that nothing is
ever fetched. Each is in the public domain or under CC0 1.0, as scikit-image's own documentation states:
astronaut (NASA, public domain), camera (Lav Varshney, CC0), chelsea (Stéfan van der Walt, CC0),
coffee (Rachel Michetti, CC0), rocket (SpaceX, public domain), brick and gravel (CC0Textures, CC0),
grass (linolafett, CC0).
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import as_file, files

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from traces.errors import InputError

PANORAMA_HEIGHT = 1.5  # in heights of the picture
PANORAMA_WIDTH = 6.4
SKY_END = 0.36  # rows of the panorama, in heights of the picture, where the sky ends
WALL_END = 1.02  # and where the wall stands on the ground
HORIZON = 0.62
SKY_PARALLAX = 0.25  # the sky shifts by this share of the camera's way

PHOTOGRAPHS = {
    "astronaut": "astronaut.png",
    "brick": "brick.png",
    "camera": "camera.png",
    "chelsea": "chelsea.png",
    "coffee": "coffee.png",
    "grass": "grass.png",
    "gravel": "gravel.png",
    "rocket": "rocket.jpg",
}
# Outlines in pixels of the photograph; an ellipse is (left, top, right, bottom).
ASTRONAUT = (
    (182, 70), (196, 30), (222, 14), (256, 16), (284, 36), (296, 74), (286, 112), (300, 150), (312, 188),
    (350, 228), (366, 290), (356, 360), (352, 420), (350, 511), (26, 511), (22, 440), (30, 330), (56, 262),
    (112, 226), (140, 176), (176, 148), (186, 110),
)  # fmt: skip
CAMERAMAN = (
    (206, 92), (228, 66), (258, 62), (288, 84), (294, 104), (336, 92), (372, 100), (376, 140), (340, 160),
    (304, 172), (278, 186), (292, 206), (300, 240), (270, 250), (244, 268), (246, 330), (262, 420), (266, 511),
    (20, 511), (4, 400), (0, 330), (8, 280), (60, 220), (88, 160), (130, 122), (180, 116),
)  # fmt: skip
CUP = (66.0, 12.0, 480.0, 376.0)
CAT = (10.0, -60.0, 330.0, 330.0)


@dataclass(frozen=True, slots=True)
class Panorama:
    """A street that repeats after `period_px` columns.

    pixels: (rows, period_px + margin, 3) uint8; the margin repeats the first columns.
    parallax: (rows,) float64, how far a row shifts when the camera moves by one pixel.
    """

    pixels: NDArray[np.uint8]
    parallax: NDArray[np.float64]
    period_px: int
    ground_px: int


def photograph(name: str) -> Image.Image:
    """One of PHOTOGRAPHS as RGB.

    Raises:
        InputError: the installed scikit-image does not ship it.
    """
    resource = files("skimage") / "data" / PHOTOGRAPHS[name]
    if not resource.is_file():
        raise InputError(
            f"scene: expected the photograph {PHOTOGRAPHS[name]} in scikit-image's data, found none"
        )
    with as_file(resource) as path, Image.open(path) as image:
        return image.convert("RGB")


def paint_panorama(height_px: int, width_px: int, rng: np.random.Generator) -> Panorama:
    """Sky, a brick wall hung with photographs, a strip of grass and a gravel path, in perspective."""
    scale = height_px / 640.0
    rows = int(PANORAMA_HEIGHT * height_px) + 2
    period = int(PANORAMA_WIDTH * height_px)
    margin = int(1.5 * width_px) + 8
    sky_end, wall_end = int(SKY_END * height_px), int(WALL_END * height_px)
    canvas = np.zeros((rows, period, 3), dtype=np.float32)
    canvas[:sky_end] = _sky(sky_end, period, rng)
    canvas[sky_end:wall_end] = _wall(wall_end - sky_end, period, scale, rng)
    parallax = np.ones(rows)
    parallax[:sky_end] = SKY_PARALLAX
    below = np.arange(wall_end, rows)
    # On flat ground the depth of a row is inverse to its distance from the horizon.
    parallax[wall_end:] = (below - HORIZON * height_px) / (wall_end - HORIZON * height_px)
    canvas[wall_end:] = _ground(parallax[wall_end:], period, scale, rng)
    pixels = np.clip(np.rint(canvas), 0, 255).astype(np.uint8)
    tiled = np.concatenate([pixels] * (1 + -(-margin // period)), axis=1)[:, : period + margin]
    return Panorama(np.ascontiguousarray(tiled), parallax, period, wall_end)


def _smooth(rng: np.random.Generator, height: int, width: int, cell_px: int) -> NDArray[np.float32]:
    """Smooth random variation with standard deviation about 1 that repeats after `width` columns."""
    cells = rng.standard_normal((max(2, height // cell_px) + 3, max(2, width // cell_px)))
    wrapped = np.concatenate([cells[:, -2:], cells, cells[:, :2]], axis=1).astype(np.float32)
    column = width / cells.shape[1]
    grown = Image.fromarray(wrapped).resize((round(width + 4 * column), height), Image.Resampling.BICUBIC)
    start = round(2 * column)
    return np.asarray(grown, dtype=np.float32)[:, start : start + width]


def _tiled(texture: NDArray[np.float32], height: int, width: int) -> NDArray[np.float32]:
    """Texture mirrored at its borders until it fills height × width; the last columns meet the first."""
    row = np.concatenate([texture, texture[::-1]], axis=0)
    both = np.concatenate([row, row[:, ::-1]], axis=1)
    # An even number of mirrored tiles must fill the width: stretch them a little.
    count = max(1, round(width / both.shape[1]))
    stretched = np.asarray(
        Image.fromarray(both[..., 0] if both.ndim == 3 else both).resize(
            (round(width / count), both.shape[0]), Image.Resampling.BILINEAR
        )
    )
    repeated = np.concatenate([stretched] * (count + 1), axis=1)[:, :width]
    return np.concatenate([repeated] * -(-height // repeated.shape[0]), axis=0)[:height]


def _grey(name: str, scale: float, crop: tuple[int, int, int, int] | None = None) -> Image.Image:
    image = photograph(name).convert("L")
    if crop is not None:
        image = image.crop(crop)
    size = (max(8, round(image.width * scale)), max(8, round(image.height * scale)))
    return image.resize(size, Image.Resampling.LANCZOS)


def _sky(height: int, width: int, rng: np.random.Generator) -> NDArray[np.float32]:
    clouds = _smooth(rng, height, width, max(8, height // 2)) + 0.5 * _smooth(
        rng, height, width, max(4, height // 5)
    )
    cover = np.clip(0.35 + 0.3 * clouds, 0, 1)[..., None]
    depth = np.linspace(0, 1, height, dtype=np.float32)[:, None, None]
    blue = (1 - depth) * np.array([92, 136, 190]) + depth * np.array([160, 190, 216])
    return np.asarray(blue * (1 - cover) + cover * np.array([226, 228, 230]), dtype=np.float32)


def _wall(height: int, width: int, scale: float, rng: np.random.Generator) -> NDArray[np.float32]:
    brick = np.asarray(_grey("brick", scale).transpose(Image.Transpose.ROTATE_90), dtype=np.float32)
    bricks = _tiled(brick, height, width) / 128.0
    stains = (
        1.0
        + 0.10 * _smooth(rng, height, width, int(150 * scale))
        + 0.05 * _smooth(rng, height, width, int(20 * scale))
    )
    tint = 1.0 + 0.06 * _smooth(rng, height, width, int(300 * scale))[..., None] * np.array([1.0, 0.2, -0.6])
    wall = bricks[..., None] * stains[..., None] * tint * np.array([150.0, 96.0, 78.0])
    picture = Image.fromarray(np.clip(wall, 0, 255).astype(np.uint8))
    _hang_posters(picture, scale, rng)
    draw = ImageDraw.Draw(picture)
    coping = max(2, round(14 * scale))
    draw.rectangle((0, 0, width, coping), fill=(172, 168, 160))
    draw.line((0, coping, width, coping), fill=(70, 60, 56), width=max(1, round(2 * scale)))
    return np.asarray(picture, dtype=np.float32)


def _hang_posters(wall: Image.Image, scale: float, rng: np.random.Generator) -> None:
    names = ["astronaut", "chelsea", "coffee", "rocket", "camera"]
    order = [names[k] for k in rng.permutation(len(names))]
    left, number = 40.0 * scale, 0
    while True:
        image = photograph(order[number % len(order)])
        tall = float(rng.uniform(170, 290)) * scale
        size = (round(image.width * tall / image.height), round(tall))
        border = max(2, round(7 * scale))
        if left + size[0] + 2 * border > wall.width - 20 * scale:
            return
        top = round(float(rng.uniform(50, 90)) * scale)
        corner = (round(left), top)
        shade = tuple(int(v) for v in rng.integers(30, 220, 3))
        frame = Image.new("RGB", (size[0] + 2 * border, size[1] + 2 * border), shade)
        frame.paste(image.resize(size, Image.Resampling.LANCZOS), (border, border))
        shadow = Image.new("L", (frame.width + 8 * border, frame.height + 8 * border), 0)
        ImageDraw.Draw(shadow).rectangle(
            (4 * border, 4 * border, 4 * border + frame.width, 4 * border + frame.height), fill=120
        )
        shadow = shadow.filter(ImageFilter.GaussianBlur(border))
        wall.paste((20, 16, 14), (corner[0] - 3 * border, corner[1] - 2 * border), shadow)
        wall.paste(frame, corner)
        left += frame.width + float(rng.uniform(60, 220)) * scale
        number += 1


def _ground(
    parallax: NDArray[np.float64], width: int, scale: float, rng: np.random.Generator
) -> NDArray[np.float32]:
    rows = parallax.size
    depth_px = 300.0 * scale * (1.0 - 1.0 / parallax)  # distance from the wall along the ground
    grass_end = int(np.searchsorted(depth_px, 46.0 * scale))
    reach = int(depth_px[-1] * 2.2) + 4
    gravel = _tiled(np.asarray(_grey("gravel", 0.8 * scale), dtype=np.float32), reach, width)
    grass = _tiled(np.asarray(_grey("grass", 0.8 * scale), dtype=np.float32), reach, width)
    stains = 1.0 + 0.10 * _smooth(rng, rows, width, int(120 * scale))
    out = np.empty((rows, width, 3), dtype=np.float32)
    columns = np.arange(width)
    overlap = int(64 * scale)
    fade = np.linspace(0.0, 1.0, overlap, dtype=np.float32)
    for r in range(rows):
        texture, colour = (grass, (74.0, 96.0, 48.0)) if r < grass_end else (gravel, (142.0, 134.0, 122.0))
        source = texture[int(depth_px[r] * 2.2)]
        across = np.interp((columns + overlap) / parallax[r], np.arange(width), source)
        before = np.interp(columns[:overlap] / parallax[r], np.arange(width), source)
        # The last columns fade into what lies before the first, so that the row closes on itself.
        across[-overlap:] = (1 - fade) * across[-overlap:] + fade * before
        out[r] = (across * stains[r] / 118.0)[:, None] * np.asarray(colour)
    return out


def _cut(
    image: Image.Image, outline: tuple[tuple[float, float], ...] | tuple[float, float, float, float]
) -> Image.Image:
    """The part of a photograph inside a polygon or an ellipse, RGBA, cropped to it."""
    factor = 4
    alpha = Image.new("L", (image.width * factor, image.height * factor), 0)
    draw = ImageDraw.Draw(alpha)
    if isinstance(outline[0], tuple):
        points = [(x * factor, y * factor) for x, y in outline]  # type: ignore[misc]
        draw.polygon(points, fill=255)
    else:
        draw.ellipse([v * factor for v in outline], fill=255)  # type: ignore[operator]
    smooth = alpha.resize(image.size, Image.Resampling.BOX).filter(ImageFilter.GaussianBlur(2))
    cut = image.copy()
    cut.putalpha(smooth)
    return cut.crop(smooth.getbbox())


def _van(rng: np.random.Generator) -> Image.Image:
    """A delivery van with an advertisement on its side."""
    van = Image.new("RGBA", (520, 300), (0, 0, 0, 0))
    draw = ImageDraw.Draw(van)
    body = tuple(int(v) for v in rng.integers(60, 235, 3))
    draw.rounded_rectangle((4, 20, 512, 250), radius=34, fill=(*body, 255))
    draw.polygon([(420, 20), (514, 130), (514, 20)], fill=(0, 0, 0, 0))
    draw.polygon([(420, 40), (496, 130), (420, 130)], fill=(40, 52, 62, 255))
    name = ("coffee", "chelsea", "rocket")[int(rng.integers(3))]
    van.paste(photograph(name).resize((330, 190), Image.Resampling.LANCZOS), (40, 40))
    draw.rectangle((4, 232, 512, 250), fill=(34, 34, 36, 255))
    for x in (110, 410):
        draw.ellipse((x - 46, 204, x + 46, 296), fill=(24, 24, 26, 255))
        draw.ellipse((x - 22, 228, x + 22, 272), fill=(150, 150, 154, 255))
    return van


def paint_cutout(kind: str, tall_px: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """One object, (h, w, 4) RGBA with 0 or 255 opacity and a transparent border, `tall_px` high."""
    if kind == "astronaut":
        cut = _cut(photograph("astronaut"), ASTRONAUT)
    elif kind == "cameraman":
        cut = _cut(photograph("camera"), CAMERAMAN)
    elif kind == "cup":
        cut = _cut(photograph("coffee"), CUP)
    elif kind == "cat":
        cut = _cut(photograph("chelsea"), CAT)
    else:
        cut = _van(rng)
    if rng.random() < 0.5:
        cut = cut.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    size = (max(4, round(cut.width * tall_px / cut.height)), max(4, tall_px))
    colour = np.asarray(cut.convert("RGB").resize(size, Image.Resampling.LANCZOS), dtype=np.float32)
    colour = np.clip(colour * rng.uniform(0.8, 1.1), 0, 255)
    alpha = np.asarray(cut.getchannel("A").resize(size, Image.Resampling.BILINEAR)) >= 128
    sprite = np.zeros((size[1] + 2, size[0] + 2, 4), dtype=np.uint8)
    sprite[..., :3] = np.pad(np.rint(colour).astype(np.uint8), ((1, 1), (1, 1), (0, 0)), mode="edge")
    sprite[1:-1, 1:-1, 3] = np.where(alpha, 255, 0)
    return sprite
