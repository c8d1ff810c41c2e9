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
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from traces.errors import InputError

# Rows and lengths in heights of the picture.
PANORAMA_HEIGHT = 1.42
PERIOD = 4.5  # the street repeats after so much of its wall
SKY_END = 0.36
WALL_END = 1.02  # where the wall stands on the ground
HORIZON = 0.62
SKY_PARALLAX = 0.25  # the sky shifts by this share of the camera's way
GROUND_CONTRAST = 0.7  # of the photographs of grass and gravel, which are close-ups

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
# Outlines of the people and of the bricks' twelve courses, in pixels of the photographs.
ASTRONAUT = (
    (155, 70), (165, 45), (190, 25), (225, 15), (265, 18), (290, 40), (301, 80), (298, 110),
    (285, 130), (268, 140), (255, 170), (280, 190), (303, 225), (305, 245), (330, 262), (348, 290),
    (358, 335), (362, 350), (400, 344), (440, 358), (475, 395), (497, 455), (508, 470), (508, 512),
    (30, 512), (28, 450), (20, 400), (35, 330), (45, 280), (75, 245), (105, 220), (115, 195),
    (130, 165), (160, 150), (180, 148), (185, 130), (165, 125), (155, 100),
)  # fmt: skip
CAMERAMAN = (
    (160, 110), (165, 85), (185, 68), (210, 64), (240, 75), (262, 98), (268, 125), (262, 142),
    (275, 138), (322, 138), (325, 170), (318, 180), (328, 195), (318, 215), (303, 222), (303, 270),
    (285, 285), (270, 300), (245, 310), (205, 293), (190, 325), (140, 380), (148, 440), (150, 512),
    (135, 512), (98, 445), (88, 512), (26, 512), (22, 420), (14, 330), (10, 262), (22, 228),
    (45, 190), (75, 150), (100, 130), (130, 123), (155, 108),
)  # fmt: skip
BRICK_COURSES = (
    68.5,
    0.0,
    8.5,
    512.0,
    507.5,
    512.0,
    425.0,
    0.0,
)  # upper left, lower left, lower right, upper right


@dataclass(frozen=True, slots=True)
class Panorama:
    """A street without end.

    pixels: (rows, columns, 3) uint8; row r repeats after period_px[r] columns, and every row has room for
        one and a half pictures beyond its period.
    parallax: (rows,) how far a row shifts when the camera moves by one pixel of the wall.
    period_px: (rows,) int64.
    ground_px: the row where the ground begins.
    """

    pixels: NDArray[np.uint8]
    parallax: NDArray[np.float64]
    period_px: NDArray[np.int64]
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


def render_panorama(height_px: int, width_px: int, rng: np.random.Generator) -> Panorama:
    """Sky, a brick wall hung with photographs, a strip of grass and a gravel path, in perspective.

    On flat ground the depth of a row is inverse to its distance from the horizon, and so a nearer row is
    larger and shifts further: by its parallax in both cases.
    """
    scale = height_px / 640.0
    rows, period = int(PANORAMA_HEIGHT * height_px) + 2, int(PERIOD * height_px)
    sky_end, wall_end = int(SKY_END * height_px), int(WALL_END * height_px)
    parallax, periods = np.ones(rows), np.full(rows, period, dtype=np.int64)
    below = np.arange(wall_end, rows)
    nearness = (below - HORIZON * height_px) / (wall_end - HORIZON * height_px)
    periods[wall_end:] = np.rint(nearness * period)
    parallax[wall_end:] = periods[wall_end:] / period
    parallax[:sky_end] = SKY_PARALLAX
    columns = np.arange(periods[-1] + int(1.5 * width_px) + 8)
    pixels = np.empty((rows, columns.size, 3), dtype=np.uint8)
    pixels[:sky_end] = _sky(sky_end, period, rng)[:, columns % period]
    pixels[sky_end:wall_end] = _wall(wall_end - sky_end, period, scale, rng)[:, columns % period]
    ground = _ground(parallax[wall_end:], period, scale, rng)
    for r in range(wall_end, rows):
        across = (columns % periods[r]) / parallax[r]
        left = across.astype(np.int64)
        share = (across - left)[:, None].astype(np.float32)
        line = ground[r - wall_end]
        pixels[r] = line[left] * (1 - share) + line[(left + 1) % period] * share + 0.5
    return Panorama(pixels, parallax, periods, wall_end)


def _smooth(rng: np.random.Generator, height: int, width: int, cell_px: int) -> NDArray[np.float32]:
    """Smooth random variation with standard deviation about 1 that repeats after `width` columns."""
    cells = rng.standard_normal((max(2, height // cell_px) + 3, max(2, width // cell_px)))
    wrapped = np.concatenate([cells[:, -2:], cells, cells[:, :2]], axis=1).astype(np.float32)
    column = width / cells.shape[1]
    grown = Image.fromarray(wrapped).resize((round(width + 4 * column), height), Image.Resampling.BICUBIC)
    start = round(2 * column)
    return np.asarray(grown, dtype=np.float32)[:, start : start + width]


def _tiled(tile: NDArray[np.float32], height: int, width: int) -> NDArray[np.float32]:
    """A grey tile repeated to height × width, mirrored along the rows so that it closes on itself."""
    pair = np.concatenate([tile, tile[:, ::-1]], axis=1)
    count = max(1, round(width / pair.shape[1]))
    edges = np.linspace(0, width, count + 1).round().astype(int)
    image = Image.fromarray(pair)
    fitted = [
        np.asarray(image.resize((int(right - left), pair.shape[0]), Image.Resampling.BILINEAR))
        for left, right in pairwise(edges)
    ]
    strip = np.concatenate(fitted, axis=1)
    return np.concatenate([strip] * -(-height // strip.shape[0]), axis=0)[:height]


def _grey(image: Image.Image, width: float, height: float) -> NDArray[np.float32]:
    size = (max(8, round(width)), max(8, round(height)))
    return np.asarray(image.convert("L").resize(size, Image.Resampling.LANCZOS), dtype=np.float32)


def _bytes(colours: NDArray[np.float32]) -> NDArray[np.uint8]:
    return np.clip(np.rint(colours), 0, 255).astype(np.uint8)


def _sky(height: int, width: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    clouds = _smooth(rng, height, width, max(8, height // 2))
    clouds = clouds + 0.5 * _smooth(rng, height, width, max(4, height // 5))
    cover = np.clip(0.35 + 0.3 * clouds, 0, 1)[..., None]
    depth = np.linspace(0, 1, height, dtype=np.float32)[:, None, None]
    blue = (1 - depth) * np.array([92, 136, 190]) + depth * np.array([160, 190, 216])
    return _bytes(blue * (1 - cover) + cover * np.array([226, 228, 230]))


def _wall(height: int, width: int, scale: float, rng: np.random.Generator) -> NDArray[np.uint8]:
    courses = photograph("brick").transform(
        (512, 512), Image.Transform.QUAD, BRICK_COURSES, Image.Resampling.BICUBIC
    )
    bricks = _grey(courses.transpose(Image.Transpose.ROTATE_90), 400 * scale, 300 * scale)
    stains = 1.0 + 0.10 * _smooth(rng, height, width, int(150 * scale))
    stains = stains + 0.06 * _smooth(rng, height, width, int(20 * scale))
    hue = 0.06 * _smooth(rng, height, width, int(300 * scale))
    wall = _tiled(bricks, height, width) / 128.0 * stains
    tint = 1.0 + hue[..., None] * np.array([1.0, 0.2, -0.6])
    picture = Image.fromarray(_bytes(wall[..., None] * tint * np.array([172.0, 118.0, 98.0])))
    _hang_posters(picture, scale, rng)
    draw = ImageDraw.Draw(picture)
    coping = max(2, round(14 * scale))
    draw.rectangle((0, 0, width, coping), fill=(172, 168, 160))
    draw.line((0, coping, width, coping), fill=(70, 60, 56), width=max(1, round(2 * scale)))
    return np.asarray(picture)


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
    """(rows, width, 3) colours of the ground at the scale of the wall, grass first, then gravel."""
    rows = parallax.size
    focal_px = 640.0 * scale
    depth_px = focal_px * (1.0 - 1.0 / parallax)  # from the wall along the ground
    edges = np.append(depth_px, 2 * depth_px[-1] - depth_px[-2])
    reach = int(edges[-1]) + 2
    line = np.empty((rows, width), dtype=np.float32)
    grass_end = int(np.searchsorted(depth_px, 90.0 * scale))
    for name, first, last in (("grass", 0, grass_end), ("gravel", grass_end, rows)):
        side = 400 * scale
        soft = photograph(name).filter(ImageFilter.GaussianBlur(1.0))
        texture = _tiled(_grey(soft, side, side), reach, width)
        summed = np.concatenate([np.zeros((1, width)), np.cumsum(texture, axis=0, dtype=np.float64)])
        below = np.minimum(edges.astype(int), reach - 1)
        fraction = (edges - below)[:, None]
        integral = summed[below] + fraction * (summed[below + 1] - summed[below])
        mean = np.diff(integral, axis=0) / np.diff(edges)[:, None]  # a far row shows many rows of the texture
        line[first:last] = mean[first:last]
    stains = 1.0 + 0.10 * _smooth(rng, rows, width, int(120 * scale))
    colour = np.where(np.arange(rows)[:, None] < grass_end, (74.0, 96.0, 48.0), (142.0, 134.0, 122.0))
    line = 1.0 + GROUND_CONTRAST * (line / line.mean(axis=1, keepdims=True) - 1.0)
    lit = (line * stains)[..., None] * colour[:, None, :]
    return np.asarray(np.clip(lit, 0, 254), dtype=np.float32)


def _person(name: str, outline: tuple[tuple[int, int], ...]) -> Image.Image:
    """The part of a photograph inside a polygon, RGBA, cropped to it."""
    factor = 4
    image = photograph(name)
    alpha = Image.new("L", (image.width * factor, image.height * factor), 0)
    ImageDraw.Draw(alpha).polygon([(x * factor, y * factor) for x, y in outline], fill=255)
    smooth = alpha.resize(image.size, Image.Resampling.BOX).filter(ImageFilter.GaussianBlur(2))
    image.putalpha(smooth)
    return image.crop(smooth.point(lambda v: 255 * (v >= 128)).getbbox())


def _van(rng: np.random.Generator) -> Image.Image:
    """A delivery van with an advertisement on its side."""
    colour = rng.integers(60, 235, 3)
    van = Image.new("RGBA", (520, 300), (0, 0, 0, 0))
    draw = ImageDraw.Draw(van)
    for y in range(20, 251):  # the side curves: lighter above, darker towards the sill
        shade = 1.12 - 0.45 * ((y - 20) / 230.0) ** 2
        draw.line((4, y, 512, y), fill=(*(min(255, int(v * shade)) for v in colour), 255))
    outline = Image.new("L", van.size, 0)
    shape = ImageDraw.Draw(outline)
    shape.rounded_rectangle((4, 20, 512, 250), radius=30, fill=255)
    shape.polygon([(424, 19), (514, 124), (514, 19)], fill=0)
    van.putalpha(outline)
    draw = ImageDraw.Draw(van)
    draw.polygon([(414, 42), (432, 42), (496, 124), (414, 124)], fill=(40, 52, 62, 255))
    draw.polygon([(420, 48), (430, 48), (470, 100), (420, 112)], fill=(92, 112, 124, 255))
    name = ("coffee", "chelsea", "rocket")[int(rng.integers(3))]
    van.paste(photograph(name).resize((340, 170), Image.Resampling.LANCZOS), (40, 46))
    draw.line((402, 30, 402, 232), fill=(30, 30, 32, 255), width=2)
    draw.rectangle((4, 234, 512, 250), fill=(34, 34, 36, 255))
    for x in (110, 410):
        draw.ellipse((x - 46, 204, x + 46, 296), fill=(24, 24, 26, 255))
        draw.ellipse((x - 24, 226, x + 24, 274), fill=(128, 128, 132, 255))
        draw.ellipse((x - 8, 242, x + 8, 258), fill=(70, 70, 74, 255))
    return van


def _ball(rng: np.random.Generator) -> Image.Image:
    """A ball printed with a photograph, lit from above."""
    side = 240
    image = photograph(("chelsea", "coffee")[int(rng.integers(2))])
    start = int(rng.integers(0, 60))
    square = image.crop((start + 40, 20, start + 280, 260)).resize((side, side))
    y, x = np.mgrid[0:side, 0:side] / (side - 1) * 2 - 1
    depth = np.sqrt(np.clip(1 - x**2 - y**2, 0, 1))
    light = np.clip(0.35 + 0.75 * (0.75 * depth - 0.45 * y - 0.3 * x), 0.2, 1.15)
    ball = Image.fromarray(_bytes(np.asarray(square, dtype=np.float32) * light[..., None]))
    ball.putalpha(Image.fromarray(np.where(x**2 + y**2 <= 1, 255, 0).astype(np.uint8)))
    return ball


def render_sprite(kind: str, tall_px: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """One object, (h, w, 4) RGBA with opacity 0 or 255 and a transparent border, `tall_px` high."""
    if kind == "astronaut":
        cut = _person("astronaut", ASTRONAUT)
    elif kind == "cameraman":
        cut = _person("camera", CAMERAMAN)
    elif kind == "ball":
        cut = _ball(rng)
    else:
        cut = _van(rng)
    if rng.random() < 0.5:
        cut = cut.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    size = (max(4, round(cut.width * tall_px / cut.height)), max(4, tall_px))
    colour = np.asarray(cut.convert("RGB").resize(size, Image.Resampling.LANCZOS), dtype=np.float32)
    opaque = np.asarray(cut.getchannel("A").resize(size, Image.Resampling.BILINEAR)) >= 128
    sprite = np.zeros((size[1] + 2, size[0] + 2, 4), dtype=np.uint8)
    lit = _bytes(colour * np.float32(rng.uniform(0.85, 1.1)))
    sprite[..., :3] = np.pad(lit, ((1, 1), (1, 1), (0, 0)), mode="edge")
    sprite[1:-1, 1:-1, 3] = np.where(opaque, 255, 0)
    return sprite
