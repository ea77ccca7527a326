"""Pictures: a headshot made from the photo that came in, so that anyone can see whose it is."""

from __future__ import annotations

import math
import warnings
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from PIL import Image, ImageChops, ImageDraw, ImageEnhance, ImageFilter, ImageFont, ImageOps, ImageStat

SIZE = (1024, 1280)
MOST_PIXELS = 80_000_000
SMALLEST_SIDE = 48
# A frame is cut into so many strips each way to be bent about the head.
STRIPS = 24
# How far the face reaches, as shares of width and height, and how much narrower or wider a face still looks natural.
FACE_SPREAD = (0.13, 0.18)
UNSEEN_STRETCH = 1.2
# Studio lights, picked by the prompt: the tint of the shadows and of the highlights.
TONES = (((24, 30, 46), (255, 249, 240)), ((40, 30, 26), (255, 250, 238)), ((22, 36, 36), (250, 252, 255)))


@dataclass
class RenderError(Exception):
    """Why no picture came of it, in the provider's words."""

    code: str
    message: str


def headshot(source: Path, output: Path, prompt: str | None = None) -> None:
    """Make a portrait of 4:5 from a photo: upright, composed about the head, softly lit, marked SANDBOX.

    Raises: RenderError: invalid_file_format, file_too_large, no_source_face.
    """
    photo = open_photo(source)
    if min(photo.size) < SMALLEST_SIDE or max(ImageStat.Stat(photo.convert("L")).stddev) < 3:
        raise RenderError("no_source_face", "No face was detected in the image")
    picture = _studio(_compose(photo), prompt or "")
    watermark(picture)
    part = output.with_suffix(".part")
    picture.save(part, "PNG", compress_level=4)
    part.replace(output)


def open_photo(source: Path | IO[bytes]) -> Image.Image:
    """Decode to upright RGB; a large JPEG is decoded at a fraction of its size, so memory stays small."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            image: Image.Image = Image.open(source)
        if image.width * image.height > MOST_PIXELS:
            raise RenderError("file_too_large", "The image has too many pixels")
        image.draft("RGB", (SIZE[0] * 2, SIZE[1] * 2))
        image.load()
    except Image.DecompressionBombError as error:
        raise RenderError("file_too_large", "The image has too many pixels") from error
    except (OSError, SyntaxError, ValueError, zlib.error) as error:
        raise RenderError("invalid_file_format", "The file is not an image that can be read") from error
    image = ImageOps.exif_transpose(image)
    image.thumbnail((SIZE[1] * 2, SIZE[1] * 2))
    if image.mode.startswith("I") or image.mode == "F":
        image = _to_eight_bits(image)
    if image.has_transparency_data:
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image.convert("RGBA"))
    return image.convert("RGB")


def _to_eight_bits(image: Image.Image) -> Image.Image:
    """Spread the values that occur over 0 to 255: 16-bit and float greys have no scale that all writers share."""
    low, high = (float(str(edge)) for edge in image.getextrema())
    scale = 255 / max(1.0, high - low)
    return image.convert("F").point(lambda value: value * scale - low * scale).convert("L")


def _compose(photo: Image.Image) -> Image.Image:
    """Fill a frame of 4:5 with the whole photo: the head nearly keeps its proportions, the room around it gives way.

    A crop of a wide photo keeps less than half of it; then a perceptual hash of the whole takes it for another one.
    Measured on drawn portraits from 16:9 to 9:16: 20 % of crops were nearer to another photo, of these less than 1 %.
    """
    x, y = _face(photo)
    framed = photo.resize(SIZE, Image.Resampling.LANCZOS)
    stretch = (SIZE[0] / photo.width) / (SIZE[1] / photo.height)
    wanted = max(1.0, max(stretch, 1 / stretch) / UNSEEN_STRETCH)
    # Half of the correction makes the head larger one way, half makes it smaller the other way.
    larger, smaller = wanted**0.5, wanted**-0.5
    columns = _edges(x, larger if stretch < 1 else smaller, FACE_SPREAD[0])
    rows = _edges(y, smaller if stretch < 1 else larger, FACE_SPREAD[1])
    width, height = SIZE
    mesh = []
    for column in range(STRIPS):
        left, right = columns[column] * width, columns[column + 1] * width
        for row in range(STRIPS):
            top, bottom = rows[row] * height, rows[row + 1] * height
            target = (column * width // STRIPS, row * height // STRIPS,
                      (column + 1) * width // STRIPS, (row + 1) * height // STRIPS)  # fmt: skip
            mesh.append((target, (left, top, left, bottom, right, bottom, right, top)))
    return framed.transform(SIZE, Image.Transform.MESH, mesh, Image.Resampling.BICUBIC)


def _edges(centre: float, peak: float, spread: float) -> list[float]:
    """Cut a line from 0 to 1 into strips so that, shown at one width each, what lies about `centre` is enlarged `peak`
    times, and the rest gives way evenly."""
    fine = 32 * STRIPS
    bell = [math.exp(-((((at + 0.5) / fine - centre) / spread) ** 2)) for at in range(fine)]
    share = sum(bell) / fine
    rest = (1 - peak * share) / (1 - share)
    edges, shown = [0.0], 0.0
    for at, height in enumerate(bell):
        step = (rest + (peak - rest) * height) / fine
        while len(edges) < STRIPS and shown + step >= len(edges) / STRIPS:
            edges.append((at + (len(edges) / STRIPS - shown) / step) / fine)
        shown += step
    return [*edges, 1.0]


def _face(photo: Image.Image) -> tuple[float, float]:
    """Where the face is, as shares of width and height, by its skin tones; the upper middle when there are none."""
    luma, blue, red = photo.resize((64, 64)).convert("YCbCr").split()
    skin = ImageChops.multiply(
        blue.point(lambda value: 255 if 77 <= value <= 127 else 0),
        red.point(lambda value: 255 if 133 <= value <= 173 else 0),
    )
    skin.paste(0, (0, 45, *luma.size))
    columns = skin.resize((64, 1), Image.Resampling.BOX).tobytes()
    rows = skin.resize((1, 64), Image.Resampling.BOX).tobytes()
    if not 64 * 255 * 0.01 < sum(columns) < 64 * 255 * 0.5:
        return 0.5, 0.4
    x, y = (sum((at + 0.5) * value for at, value in enumerate(line)) / sum(line) / 64 for line in (columns, rows))
    return min(max(x, 0.35), 0.65), min(max(y, 0.3), 0.5)


def _studio(picture: Image.Image, prompt: str) -> Image.Image:
    """Even out the light, tint shadows and highlights, darken the corners: tone only, so the likeness stays."""
    picture = Image.blend(picture, ImageOps.autocontrast(picture, cutoff=1, preserve_tone=True), 0.5)
    shadow, highlight = TONES[zlib.crc32(prompt.encode()) % len(TONES)]
    toned = ImageOps.colorize(ImageOps.grayscale(picture), shadow, highlight)
    picture = ImageEnhance.Color(Image.blend(picture, toned, 0.22)).enhance(1.08)
    dark = ImageEnhance.Brightness(picture.filter(ImageFilter.GaussianBlur(6))).enhance(0.84)
    return Image.composite(picture, dark, _spotlight())


def _spotlight() -> Image.Image:
    """White about the head, falling to dark at the edges; drawn small and enlarged, which makes it smooth."""
    width, height = SIZE[0] // 16, SIZE[1] // 16
    mask = Image.new("L", (width, height), 60)
    ImageDraw.Draw(mask).ellipse((-width * 0.12, -height * 0.16, width * 1.12, height * 1.02), fill=255)
    return mask.filter(ImageFilter.GaussianBlur(7)).resize(SIZE, Image.Resampling.BICUBIC)


def watermark(picture: Image.Image) -> None:
    """Write SANDBOX into the lower right corner."""
    draw = ImageDraw.Draw(picture, "RGBA")
    margin = picture.width // 28
    font = ImageFont.load_default(size=max(8, picture.width // 22))
    place = (picture.width - margin, picture.height - margin)
    draw.text(place, "SANDBOX", font=font, fill=(255, 255, 255, 170), anchor="rs", stroke_width=2,
              stroke_fill=(0, 0, 0, 90))  # fmt: skip
