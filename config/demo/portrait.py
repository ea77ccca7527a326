"""A face to begin with where no photo is named: drawn anew each time, so that none lies in the tree."""

from __future__ import annotations

import math
import random
from pathlib import Path

from PIL import Image, ImageDraw, ImageFilter

SIZE = (900, 1200)
SKINS = ((244, 208, 177), (224, 172, 140), (188, 133, 99), (141, 92, 62), (96, 62, 42))
HAIRS = ((38, 28, 24), (84, 54, 34), (150, 104, 58), (196, 160, 104), (120, 120, 124))
SHIRTS = ((52, 73, 105), (112, 60, 66), (58, 96, 76), (88, 70, 112), (70, 70, 78))


def draw(to: Path, seed: int | None = None) -> Path:
    """Draw a person in front of a wall, in soft light, as a JPEG."""
    chance = random.Random(seed)  # noqa: S311  a face, not a secret
    skin, hair, shirt = (chance.choice(colours) for colours in (SKINS, HAIRS, SHIRTS))
    wall = tuple(chance.randint(150, 215) for _ in range(3))
    image = _light(wall, SIZE)
    pen = ImageDraw.Draw(image)
    width, height = SIZE
    middle, eyes = width // 2, int(height * 0.40)

    pen.ellipse((middle - 215, 190, middle + 215, 760), fill=hair)  # hair behind the head
    pen.polygon([(middle - 70, 700), (middle + 70, 700), (middle + 95, 900), (middle - 95, 900)], fill=_darker(skin))
    pen.ellipse((60, 840, width - 60, height + 500), fill=shirt)  # shoulders
    pen.polygon([(middle - 95, 860), (middle + 95, 860), (middle, 1000)], fill=_darker(skin))
    pen.ellipse((middle - 175, 260, middle + 175, 780), fill=skin)
    pen.chord((middle - 190, 215, middle + 190, 560), 180, 360, fill=hair)  # fringe
    for side in (-1, 1):
        x = middle + side * 75
        pen.ellipse((x - 38, eyes - 18, x + 38, eyes + 18), fill=(250, 250, 248))
        pen.ellipse((x - 17, eyes - 17, x + 17, eyes + 17), fill=(70, 88, 60))
        pen.ellipse((x - 8, eyes - 8, x + 8, eyes + 8), fill=(16, 14, 14))
        pen.ellipse((x - 1, eyes - 11, x + 7, eyes - 3), fill=(255, 255, 255))
        pen.arc((x - 50, eyes - 58, x + 50, eyes + 10), 200, 340, fill=hair, width=12)
        pen.ellipse((x + side * 95 - 24, 450, x + side * 95 + 24, 560), fill=_darker(skin))  # ear
    pen.line([(middle, eyes + 25), (middle - 22, 590), (middle + 12, 600)], fill=_darker(skin), width=9)
    pen.chord((middle - 72, 600, middle + 72, 700), 15, 165, fill=(168, 74, 74))
    image.filter(ImageFilter.GaussianBlur(1.4)).save(to, "JPEG", quality=92)
    return to


def _light(wall: tuple[int, ...], size: tuple[int, int]) -> Image.Image:
    """The wall, brighter towards a lamp at the upper left."""
    small = Image.new("RGB", (90, 120))
    for x in range(90):
        for y in range(120):
            gain = 1.15 - math.hypot(x - 20, y - 15) / 220
            small.putpixel((x, y), tuple(min(255, int(part * gain)) for part in wall))
    return small.resize(size, Image.Resampling.BICUBIC)


def _darker(colour: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(int(part * 0.84) for part in colour)
