"""Still pictures: a scene drawn from prompt and seed, or given pictures in another tone; strip and watermark on it."""

from __future__ import annotations

import io
import random
from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFilter, ImageOps

from sandbox import strips
from sandbox.render import watermark
from sandbox.strips import Colour


def draw(prompt: str, seed: int, size: tuple[int, int]) -> Image.Image:
    """A scene of the prompt's own: light, hills and lanterns that no other prompt has."""
    dice = random.Random(f"{seed}:{prompt}")
    # Drawn small and enlarged, which is quick and makes it soft.
    scale = min(1.0, 640 / max(size))
    small = round(size[0] * scale), round(size[1] * scale)
    picture = _sky(dice, small)
    pen = ImageDraw.Draw(picture, "RGBA")
    _lanterns(pen, dice, small)
    _hills(pen, dice, small)
    picture = picture.filter(ImageFilter.GaussianBlur(1)).resize(size, Image.Resampling.BICUBIC)
    return _signed(picture, prompt, seed)


def edit(sources: Sequence[Image.Image], prompt: str, seed: int, size: tuple[int, int]) -> Image.Image:
    """The given pictures side by side, filling the frame, in a tone of the prompt's own."""
    picture = Image.new("RGB", size)
    for at, source in enumerate(sources):
        left, right = size[0] * at // len(sources), size[0] * (at + 1) // len(sources)
        picture.paste(ImageOps.fit(source, (right - left, size[1]), Image.Resampling.LANCZOS), (left, 0))
    dice = random.Random(f"{seed}:{prompt}")
    dark, light = _colour(dice, 0, 60), _colour(dice, 215, 255)
    toned = ImageOps.colorize(ImageOps.grayscale(picture), dark, light)
    return _signed(Image.blend(picture, toned, 0.3), prompt, seed)


def _signed(picture: Image.Image, prompt: str, seed: int) -> Image.Image:
    strips.paint(picture, prompt, seed)
    watermark(picture)
    return picture


def jpeg(picture: Image.Image) -> bytes:
    to = io.BytesIO()
    picture.save(to, "JPEG", quality=90)
    return to.getvalue()


def _colour(dice: random.Random, low: int, high: int) -> Colour:
    return dice.randint(low, high), dice.randint(low, high), dice.randint(low, high)


def _sky(dice: random.Random, size: tuple[int, int]) -> Image.Image:
    above, below = _colour(dice, 20, 150), _colour(dice, 120, 250)
    line = Image.linear_gradient("L").resize(size, Image.Resampling.BICUBIC)
    return ImageOps.colorize(line, above, below)


def _lanterns(pen: ImageDraw.ImageDraw, dice: random.Random, size: tuple[int, int]) -> None:
    width, height = size
    for _ in range(dice.randint(4, 9)):
        x, y, r = dice.uniform(0, width), dice.uniform(0, height * 0.6), min(size) * dice.uniform(0.03, 0.16)
        colour = _colour(dice, 130, 255)
        for share, opacity in ((1.6, 40), (1.25, 70), (1.0, 190)):
            pen.ellipse((x - r * share, y - r * share, x + r * share, y + r * share), fill=(*colour, opacity))


def _hills(pen: ImageDraw.ImageDraw, dice: random.Random, size: tuple[int, int]) -> None:
    width, height = size
    for layer in range(3):
        y = height * (0.55 + 0.13 * layer)
        ridge = [(width * at / 6, y + height * dice.uniform(-0.08, 0.08)) for at in range(7)]
        shade = 110 - 35 * layer
        pen.polygon([(0, height), *ridge, (width, height)], fill=_colour(dice, shade // 2, shade))
