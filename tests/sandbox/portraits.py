"""Portraits drawn at run time, each seed another person in another room, and hashes that tell them apart."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFilter

SKINS = ((255, 219, 172), (241, 194, 125), (224, 172, 105), (198, 134, 66), (141, 85, 36), (92, 56, 30))
SHORT_SIDE = 600

# Ten people: portrait and landscape, JPEG and PNG, from 300 pixels to 6,000: one of those, which cost the most.
PHOTOS = [
    *((extension, size) for extension in ("jpg", "png") for size in ((300, 400), (400, 300), (900, 1200))),
    ("jpg", (4500, 6000)),
    ("png", (2400, 1800)),
    ("jpg", (1080, 1920)),
    ("png", (1000, 1000)),
]


def draw(seed: int, size: tuple[int, int]) -> Image.Image:
    """A head and shoulders before a room; drawn small and enlarged, so that 6,000 pixels cost little."""
    dice = random.Random(seed)
    scale = SHORT_SIDE / min(size)
    width, height = round(size[0] * scale), round(size[1] * scale)
    image = Image.new("RGB", (width, height))
    pen = ImageDraw.Draw(image)
    _room(pen, dice, width, height)
    image = image.filter(ImageFilter.GaussianBlur(4))
    _person(ImageDraw.Draw(image), dice, width, height)
    return image.resize(size, Image.Resampling.BICUBIC)


def ten(folder: Path, *, largest: int = 6000) -> list[Path]:
    """Photos of ten people, as files; no side longer than `largest`."""
    paths = []
    for number, (extension, (width, height)) in enumerate(PHOTOS):
        scale = min(1, largest / max(width, height))
        size = round(width * scale), round(height * scale)
        path = folder / f"photo{number}.{extension}"
        draw(100 + number, size).save(path, **({"compress_level": 1} if extension == "png" else {"quality": 90}))
        paths.append(path)
    return paths


def assert_each_is_nearest_to_its_own(headshots: Sequence[Image.Image], photos: Sequence[Path]) -> None:
    """By both hashes, each headshot is nearer to the photo it was made from than to any other."""
    originals = [_hashes(Image.open(photo)) for photo in photos]
    for number, headshot in enumerate(headshots):
        for kind, made in enumerate(_hashes(headshot)):
            distances = [distance(made, original[kind]) for original in originals]
            assert distances.index(min(distances)) == number, distances
            assert distances.count(min(distances)) == 1, distances


def _hashes(image: Image.Image) -> tuple[list[bool], list[bool]]:
    image.thumbnail((1200, 1200))
    return perceptual_hash(image), difference_hash(image)


def _colour(dice: random.Random, brightest: int = 255) -> tuple[int, int, int]:
    return dice.randint(0, brightest), dice.randint(0, brightest), dice.randint(0, brightest)


def _room(pen: ImageDraw.ImageDraw, dice: random.Random, width: int, height: int) -> None:
    above, below = _colour(dice), _colour(dice)
    for y in range(height):
        mixed = [round(a + (b - a) * y / height) for a, b in zip(above, below, strict=True)]
        pen.line([(0, y), (width, y)], fill=(mixed[0], mixed[1], mixed[2]))
    for _ in range(dice.randint(2, 6)):
        x, y, side = dice.randint(0, width), dice.randint(0, height), dice.randint(40, 200)
        pen.rectangle((x, y, x + side, y + side * dice.uniform(0.5, 3)), fill=_colour(dice))


def _person(pen: ImageDraw.ImageDraw, dice: random.Random, width: int, height: int) -> None:
    short = min(width, height)
    tall = short * dice.uniform(0.22, 0.3)
    wide = tall * 0.75
    x, y = width * dice.uniform(0.4, 0.6), height * (0.42 if width >= height else 0.36)
    skin, hair, cloth = dice.choice(SKINS), _colour(dice, 140), _colour(dice)
    pen.ellipse((x - wide * 2.2, y + tall * 1.1, x + wide * 2.2, y + tall * 4), fill=cloth)
    if y + tall * 2.5 < height:
        pen.rectangle((x - wide * 2.2, y + tall * 2.5, x + wide * 2.2, height), fill=cloth)
    pen.rectangle((x - wide * 0.4, y + tall * 0.6, x + wide * 0.4, y + tall * 1.4), fill=skin)
    hair_wide = wide * dice.uniform(1.05, 1.4)
    pen.ellipse((x - hair_wide, y - tall * 1.25, x + hair_wide, y + tall * dice.uniform(0.3, 1.6)), fill=hair)
    pen.ellipse((x - wide, y - tall, x + wide, y + tall), fill=skin)
    for side in (-0.4, 0.4):
        eye = x + side * wide
        pen.ellipse((eye - wide * 0.16, y - tall * 0.15, eye + wide * 0.16, y + tall * 0.02), fill="white")
        pen.ellipse((eye - wide * 0.07, y - tall * 0.13, eye + wide * 0.07, y + tall * 0.01), fill=(40, 30, 20))
    pen.arc((x - wide * 0.4, y + tall * 0.2, x + wide * 0.4, y + tall * 0.6), 20, 160, fill=(150, 40, 50), width=5)


def perceptual_hash(image: Image.Image) -> list[bool]:
    """The usual pHash: the 8 x 8 lowest frequencies of the 32 x 32 grey picture, above or below their median."""
    grey = image.convert("L").resize((32, 32), Image.Resampling.LANCZOS).tobytes()
    rows = [_cosines(grey[row * 32 : row * 32 + 32]) for row in range(32)]
    columns = [_cosines([row[k] for row in rows]) for k in range(8)]
    low = [columns[k][j] for j in range(8) for k in range(8)]
    median = sorted(low[1:])[31]
    return [value > median for value in low]


def difference_hash(image: Image.Image) -> list[bool]:
    """dHash: whether each of 9 x 8 grey cells is darker than its right neighbour."""
    grey = image.convert("L").resize((9, 8), Image.Resampling.LANCZOS).tobytes()
    return [grey[row * 9 + at] < grey[row * 9 + at + 1] for row in range(8) for at in range(8)]


def _cosines(line: bytes | list[float]) -> list[float]:
    length = len(line)
    return [
        sum(value * math.cos(math.pi * (2 * at + 1) * k / (2 * length)) for at, value in enumerate(line))
        for k in range(8)
    ]


def distance(one: list[bool], other: list[bool]) -> int:
    return sum(a != b for a, b in zip(one, other, strict=True))
