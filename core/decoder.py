"""A program of its own: decode one picture from standard input in a process with bounded memory and time.

Run by pictures.py as `python -I decoder.py '{"mode": "photo" | "square" | "view" | "output", ...}'`. The file is
standard input, the re-encoded picture (or the thumbnail) goes to standard output, one line of JSON to standard error. A
hostile file can kill this process and nothing else. It imports nothing but Pillow.
"""

from __future__ import annotations

import io
import json
import math
import os
import resource
import sys
import warnings
from contextlib import suppress
from typing import Any

_TYPES = {"JPEG": "image/jpeg", "PNG": "image/png", "GIF": "image/gif", "WEBP": "image/webp", "TIFF": "image/tiff"}
_FORMATS = ("JPEG", "PNG", "GIF", "WEBP")
_MAKE, _MODEL, _EXIF_IFD, _FOCAL_LENGTH = 0x010F, 0x0110, 0x8769, 0x920A


class Refused(Exception):
    """The file is not a picture we take; the argument is a code that pictures.py knows."""


def limit(*, memory_bytes: int, cpu_s: int) -> None:
    """Bound this process; where the system has no such limit the parent's time-out is what is left."""
    for what, value in (
        (resource.RLIMIT_AS, memory_bytes),
        (resource.RLIMIT_CPU, cpu_s),
        (resource.RLIMIT_CORE, 0),
    ):
        with suppress(ValueError, OSError):
            resource.setrlimit(what, (value, value))


def main(options: dict[str, Any]) -> dict[str, Any]:
    limit(memory_bytes=options["memory_bytes"], cpu_s=options["cpu_s"])
    from PIL import Image, UnidentifiedImageError

    Image.MAX_IMAGE_PIXELS = None  # our own cap, checked from the header before anything is decoded
    warnings.simplefilter("ignore")
    try:
        with os.fdopen(0, "rb") as source:
            try:
                image = Image.open(source, formats=(*_FORMATS, "TIFF") if options["mode"] == "view" else _FORMATS)
            except UnidentifiedImageError as error:
                raise Refused("not_an_image") from error
            if image.width * image.height > options["max_pixels"]:
                raise Refused("too_many_pixels")
            form = "JPEG" if image.format == "MPO" else str(image.format)
            found: dict[str, Any] = {
                "format": form,
                "content_type": _TYPES[form],
                "original_width": image.width,
                "original_height": image.height,
            }
            if image.format == "PNG" and not _has_end(source):
                raise Refused("unreadable")
            made = output(image, options) if options["mode"] == "output" else photo(image, found, options)
    except Refused:
        raise
    except Exception as error:  # Pillow raises whatever a broken file makes it raise
        raise Refused("unreadable") from error
    with os.fdopen(1, "wb") as target:
        target.write(made.pop("jpeg"))
    return found | made


def photo(image: Any, found: dict[str, Any], options: dict[str, Any]) -> dict[str, Any]:
    """The picture upright, in sRGB, cut square if asked, fitted, as a JPEG without metadata; what the camera said."""
    from PIL import Image, ImageOps

    camera = _camera(image)
    box = _box(image, options)
    if image.format in ("JPEG", "MPO"):
        image.draft(None, box)  # decodes at 1/2, 1/4 or 1/8: a 60 MP photo needs no 180 MB
    image.load()
    if image.format == "TIFF":  # Pillow has turned it upright already
        found["original_width"], found["original_height"] = image.size
        box = _box(image, options)
    orientation = _orientation(image)
    profile = image.info.get("icc_profile")
    image = _eight_bit(image)
    if options["mode"] == "square":
        image = _centre(image)
    image.thumbnail(box, Image.Resampling.LANCZOS, reducing_gap=2.0)
    image = _flat(_srgb(image, profile))
    image.getexif()[0x0112] = orientation
    image = ImageOps.exif_transpose(image)
    if orientation in (5, 6, 7, 8):
        found["original_width"], found["original_height"] = found["original_height"], found["original_width"]
    return {"jpeg": _jpeg(image, 90), "width": image.width, "height": image.height, **camera}


def output(image: Any, options: dict[str, Any]) -> dict[str, Any]:
    """A provider's picture, decoded to its last byte: its size, and a thumbnail.

    Where it is to have a size that it has not, the picture itself comes before the thumbnail, cropped and scaled down.
    """
    from PIL import Image

    image.load()
    profile = image.info.get("icc_profile")
    whole, size = b"", options.get("size")
    if size and image.size != tuple(size):
        image = _flat(_srgb(_fitted(_eight_bit(image), *size), profile))
        whole, profile = _jpeg(image, 92), None
    width, height = image.size
    image = _eight_bit(image)
    image.thumbnail((options["max_side"], options["max_side"]), Image.Resampling.LANCZOS, reducing_gap=2.0)
    small = _jpeg(_flat(_srgb(image, profile)), 85)
    return {"jpeg": whole + small, "width": width, "height": height, "whole_bytes": len(whole)}


def _fitted(image: Any, width: int, height: int) -> Any:
    """The middle of the picture in these proportions, scaled down to this size; never up."""
    from PIL import Image

    wide = min(image.width, max(1, round(image.height * width / height)))
    high = min(image.height, max(1, round(image.width * height / width)))
    left, top = (image.width - wide) // 2, (image.height - high) // 2
    image = image.crop((left, top, left + wide, top + high))
    if wide <= width or high <= height:
        return image
    return image.resize((width, height), Image.Resampling.LANCZOS, reducing_gap=3.0)


def _box(image: Any, options: dict[str, Any]) -> tuple[int, int]:
    """What the picture is to fit into: a square, or for a view of a 3D model as many pixels."""
    if options["mode"] != "view":
        return options["max_side"], options["max_side"]
    scale = min(1.0, math.sqrt(options["max_side"] ** 2 / (image.width * image.height)))
    return max(1, int(image.width * scale)), max(1, int(image.height * scale))


def _centre(image: Any) -> Any:
    """The largest square in the middle, which is the same one whichever way is up."""
    edge = min(image.size)
    left, top = (image.width - edge) // 2, (image.height - edge) // 2
    return image.crop((left, top, left + edge, top + edge))


def _has_end(source: Any) -> bool:
    """Whether the PNG's last chunk is there: Pillow forgives its absence."""
    position = source.tell()
    source.seek(max(0, source.seek(0, 2) - 65_536))
    tail = source.read()
    source.seek(position)
    return b"IEND" in tail


def _eight_bit(image: Any) -> Any:
    """Eight bits a channel, in a mode that can be resized: L, LA, RGB, RGBA or CMYK."""
    if image.mode.startswith("I;16") or image.mode == "I":  # 16-bit grey: scaled, where convert() would clip
        return image.convert("I").point(lambda value: value / 257).convert("L")
    if image.mode == "F":
        raise Refused("unreadable")
    if image.mode in ("1", "P", "PA"):
        return image.convert("RGBA" if "transparency" in image.info or image.mode == "PA" else "RGB")
    if image.mode == "L" and "transparency" in image.info:
        return image.convert("LA")
    if image.mode == "RGB" and "transparency" in image.info:
        return image.convert("RGBA")
    if image.mode in ("L", "LA", "RGB", "RGBA", "CMYK"):
        return image
    return image.convert("RGB")


def _srgb(image: Any, profile: bytes | None) -> Any:
    """Colours as sRGB. A profile that lies about the picture, or is damaged, is ignored."""
    from PIL import ImageCms

    target = {"L": "L", "LA": "LA", "RGB": "RGB", "RGBA": "RGBA", "CMYK": "RGB"}[image.mode]
    if profile and target in ("RGB", "RGBA"):
        with suppress(ImageCms.PyCMSError, OSError, ValueError, TypeError):
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            srgb = ImageCms.createProfile("sRGB")
            alpha = image.getchannel("A") if image.mode == "RGBA" else None
            flat = image.convert("RGB") if alpha else image
            changed = ImageCms.profileToProfile(flat, source, srgb, outputMode="RGB")
            if changed is not None:
                if alpha:
                    changed.putalpha(alpha)
                return changed
    return image


def _flat(image: Any) -> Any:
    """Three channels, transparency over white: what a viewer shows on a page."""
    from PIL import Image

    if image.mode in ("LA", "RGBA"):
        ground = Image.new("RGB", image.size, "white")
        ground.paste(image.convert("RGB"), mask=image.getchannel("A"))
        return ground
    flat = image.convert("RGB")
    flat.info.clear()
    return flat


def _jpeg(image: Any, quality: int) -> bytes:
    made = io.BytesIO()
    image.save(made, "JPEG", quality=quality, exif=b"", icc_profile=None)
    return made.getvalue()


def _orientation(image: Any) -> int:
    with suppress(Exception):  # EXIF is anybody's bytes
        value = image.getexif().get(0x0112)
        if value in range(1, 9):
            return int(value)
    return 1


def _camera(image: Any) -> dict[str, Any]:
    """The three facts kept for photogrammetry; everything else in EXIF, the place included, is dropped."""
    camera: dict[str, Any] = {"camera_make": "", "camera_model": "", "focal_length_mm": None}
    with suppress(Exception):  # EXIF is anybody's bytes
        exif = image.getexif()
        for name, tag in (("camera_make", _MAKE), ("camera_model", _MODEL)):
            text = str(exif.get(tag) or "").strip("\x00 ")
            camera[name] = "".join(c for c in text if c.isprintable())[:64]
        length = float(exif.get_ifd(_EXIF_IFD).get(_FOCAL_LENGTH) or 0)
        if 0 < length < 5000:
            camera["focal_length_mm"] = round(length, 3)
    return camera


if __name__ == "__main__":
    try:
        report: dict[str, Any] = main(json.loads(sys.argv[1]))
    except Refused as refusal:
        report = {"error": str(refusal)}
    sys.stderr.write(json.dumps(report) + "\n")
    sys.stderr.flush()
    os._exit(0)
