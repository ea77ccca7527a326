"""A strip along the top of every picture and frame that we draw: its colours tell which prompt and seed made it."""

from __future__ import annotations

import hashlib

from PIL import Image, ImageDraw

STRIP = 1 / 8
# Blocks whose colours are the prompt's, four levels a channel. Far enough apart to be read back after compression.
BLOCKS = 4
LEVELS = (0, 85, 170, 255)

Colour = tuple[int, int, int]


def fingerprint(prompt: str, seed: int = 0) -> str:
    """What `read` finds where this prompt and seed were at work: a level from 0 to 3 for each channel and block."""
    digest = hashlib.sha256(f"{seed}:{prompt}".encode()).digest()
    return "".join(str(byte % len(LEVELS)) for byte in digest[: 3 * BLOCKS])


def read(picture: Image.Image) -> str:
    """The fingerprint that a picture or a frame shows, at whatever size it has by now."""
    width, height = picture.width / BLOCKS, picture.height * STRIP
    found = ""
    for block in range(BLOCKS):
        inner = (width * (block + 0.3), height * 0.3, width * (block + 0.7), height * 0.7)
        colour = picture.convert("RGB").resize((1, 1), Image.Resampling.BOX, box=inner).tobytes()
        found += "".join(str(round(level / LEVELS[1])) for level in colour)
    return found


def colours(prompt: str, seed: int = 0) -> list[Colour]:
    levels = [LEVELS[int(digit)] for digit in fingerprint(prompt, seed)]
    return [(levels[at], levels[at + 1], levels[at + 2]) for at in range(0, len(levels), 3)]


def paint(picture: Image.Image, prompt: str, seed: int = 0) -> None:
    """Put the strip on."""
    draw = ImageDraw.Draw(picture)
    for block, colour in enumerate(colours(prompt, seed)):
        left, right = block * picture.width // BLOCKS, (block + 1) * picture.width // BLOCKS
        draw.rectangle((left, 0, right, round(picture.height * STRIP)), fill=colour)
