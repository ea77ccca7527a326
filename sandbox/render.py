"""Pictures: a headshot made from the photo that came in, so that anyone can see whose it is."""

from __future__ import annotations

import warnings
import zlib
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageChops, ImageDraw, ImageEnhance, ImageFilter, ImageFont, ImageOps, ImageStat

SIZE = (1024, 1280)
MOST_PIXELS = 80_000_000
SMALLEST_SIDE = 48
# Studio lights, picked by the prompt: the tint of the shadows and of the highlights.
TONES = (((24, 30, 46), (255, 249, 240)), ((40, 30, 26), (255, 250, 238)), ((22, 36, 36), (250, 252, 255)))


@dataclass
class RenderError(Exception):
    """Why no picture came of it, in the provider's words."""

    code: str
    message: str


def headshot(source: Path, output: Path, prompt: str | None = None) -> None:
    """Make a portrait of 4:5 from a photo: upright, cropped about the head, softly lit, marked SANDBOX.

    Raises: RenderError: invalid_file_format, file_too_large, no_source_face.
    """
    photo = _open(source)
    if min(photo.size) < SMALLEST_SIDE or max(ImageStat.Stat(photo.convert("L")).stddev) < 3:
        raise RenderError("no_source_face", "No face was detected in the image")
    picture = _studio(_crop(photo), prompt or "")
    _watermark(picture)
    part = output.with_suffix(".part")
    picture.save(part, "PNG", compress_level=4)
    part.replace(output)


def _open(source: Path) -> Image.Image:
    """Decode to upright RGB; a large JPEG is decoded at a fraction of its size, so memory stays small."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            image: Image.Image = Image.open(source)
        if image.width * image.height > MOST_PIXELS:
            raise RenderError("file_too_large", "The image has too many pixels")
        image.draft("RGB", (SIZE[0] * 2, SIZE[1] * 2))
        image.load()
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError, zlib.error) as error:
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


def _crop(photo: Image.Image) -> Image.Image:
    """Cut to 4:5, kept as whole as that allows: across about the skin's centre, downwards from near the top."""
    width, height = photo.size
    if width * SIZE[1] > height * SIZE[0]:
        wide = round(height * SIZE[0] / SIZE[1])
        left = min(max(0, round(_skin_centre(photo) * width - wide / 2)), width - wide)
        box = (left, 0, left + wide, height)
    else:
        tall = round(width * SIZE[1] / SIZE[0])
        top = round((height - tall) * 0.2)
        box = (0, top, width, top + tall)
    return photo.resize(SIZE, Image.Resampling.LANCZOS, box=box)


def _skin_centre(photo: Image.Image) -> float:
    """Where along the width the skin tones lie, from 0 to 1; the middle when there are none to speak of."""
    small = photo.resize((64, 64)).convert("YCbCr")
    _, blue, red = small.split()
    mask = ImageChops.multiply(
        blue.point(lambda v: 255 if 77 <= v <= 127 else 0), red.point(lambda v: 255 if 133 <= v <= 173 else 0)
    )
    columns = mask.resize((64, 1), Image.Resampling.BOX).tobytes()
    total = sum(columns)
    if not 64 * 255 * 0.02 < total < 64 * 255 * 0.6:
        return 0.5
    return sum((x + 0.5) * weight for x, weight in enumerate(columns)) / total / 64


def _studio(picture: Image.Image, prompt: str) -> Image.Image:
    """Even out the light, tint shadows and highlights, darken the corners: tone only, so the likeness stays."""
    picture = Image.blend(picture, ImageOps.autocontrast(picture, cutoff=1, preserve_tone=True), 0.5)
    shadow, highlight = TONES[zlib.crc32(prompt.encode()) % len(TONES)]
    toned = ImageOps.colorize(ImageOps.grayscale(picture), shadow, highlight)
    picture = ImageEnhance.Color(Image.blend(picture, toned, 0.22)).enhance(1.08)
    dark = ImageEnhance.Brightness(picture.filter(ImageFilter.GaussianBlur(6))).enhance(0.72)
    return Image.composite(picture, dark, _spotlight())


def _spotlight() -> Image.Image:
    """White about the head, falling to dark at the edges; drawn small and enlarged, which makes it smooth."""
    width, height = SIZE[0] // 16, SIZE[1] // 16
    mask = Image.new("L", (width, height), 60)
    ImageDraw.Draw(mask).ellipse((-width * 0.12, -height * 0.16, width * 1.12, height * 1.02), fill=255)
    return mask.filter(ImageFilter.GaussianBlur(7)).resize(SIZE, Image.Resampling.BICUBIC)


def _watermark(picture: Image.Image) -> None:
    draw = ImageDraw.Draw(picture, "RGBA")
    font = ImageFont.load_default(size=SIZE[0] // 22)
    place = (SIZE[0] - 36, SIZE[1] - 30)
    draw.text(place, "SANDBOX", font=font, fill=(255, 255, 255, 170), anchor="rs", stroke_width=2,
              stroke_fill=(0, 0, 0, 90))  # fmt: skip
