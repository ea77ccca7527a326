"""What the decoder makes of every picture that people, cameras and attackers send."""

from __future__ import annotations

import io
import struct
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from PIL import Image, ImageChops, ImageCms, ImageOps

from core import children, pictures
from core.errors import Error, ImageUnreadable, TooLarge, TooManyPixels, UnsupportedMediaType
from tests.generation.material import encoded, jpeg, png_chunks, portrait


@contextmanager
def on_disk(content: bytes) -> Iterator[Any]:
    with tempfile.TemporaryFile() as file:
        file.write(content)
        yield file


def taken(content: bytes) -> tuple[pictures.Picture, Image.Image]:
    with on_disk(content) as file:
        picture = pictures.photo(file)
    with picture.jpeg:
        image = Image.open(io.BytesIO(picture.jpeg.read()))
        image.load()
    assert (image.format, image.mode, image.size) == ("JPEG", "RGB", (picture.width, picture.height))
    assert not image.getexif()
    assert "icc_profile" not in image.info
    return picture, image


def near(colour: Any, wanted: tuple[int, int, int], by: int = 6) -> bool:
    return all(abs(a - b) <= by for a, b in zip(colour, wanted, strict=True))


@pytest.mark.parametrize(
    ("size", "fitted"),
    [((300, 200), (300, 200)), ((6000, 4000), (2048, 1365)), ((800, 6000), (273, 2048)), ((1, 1), (1, 1))],
)
def test_a_picture_is_fitted_and_never_enlarged(size: tuple[int, int], fitted: tuple[int, int]) -> None:
    picture, image = taken(jpeg(size=size))

    assert image.size == fitted
    assert (picture.original_width, picture.original_height) == size
    assert picture.original_bytes > 0
    assert len(picture.sha256) == 64


@pytest.mark.parametrize("format", ["JPEG", "PNG", "GIF", "WEBP"])
def test_the_four_formats_are_taken(format: str) -> None:
    picture, image = taken(encoded(portrait(), format))

    assert picture.format == format
    assert near(image.getpixel((5, 5)), (10, 200, 10), by=12)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_comes_out_upright(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = jpeg(size=(160, 240), exif=exif)

    _, image = taken(content)

    upright = ImageOps.exif_transpose(Image.open(io.BytesIO(content))).convert("RGB")
    assert image.size == upright.size
    difference = ImageChops.difference(upright.resize((16, 16)), image.resize((16, 16)))
    assert max(high for _, high in difference.getextrema()) < 8


def test_the_camera_stays_and_the_place_goes() -> None:
    exif = Image.Exif()
    exif[0x010F] = "Canon\x00"
    exif[0x0110] = "EOS R5"
    exif[0x0132] = "2026:01:01 10:00:00"
    exif.get_ifd(0x8769)[0x920A] = 50.0
    exif.get_ifd(0x8825)[1] = "N"
    exif.get_ifd(0x8825)[2] = (52.0, 30.0, 12.5)
    content = jpeg(exif=exif)
    assert Image.open(io.BytesIO(content)).getexif().get_ifd(0x8825)

    picture, _ = taken(content)

    assert (picture.camera_make, picture.camera_model, picture.focal_length_mm) == ("Canon", "EOS R5", 50.0)


def test_broken_exif_is_no_reason_to_refuse() -> None:
    content = jpeg(exif=b"Exif\x00\x00MM\x00*\xff\xff\xff\xff\xff\xff")

    picture, _ = taken(content)

    assert picture.camera_make == ""


def test_cmyk_becomes_rgb_with_its_colours() -> None:
    _, image = taken(encoded(portrait().convert("CMYK"), "JPEG", quality=95))

    assert near(image.getpixel((5, 5)), (10, 200, 10), by=12)


def test_sixteen_bit_grey_keeps_its_range() -> None:
    ramp = Image.frombytes("I;16", (256, 4), b"".join(struct.pack("<H", x * 257) for _ in range(4) for x in range(256)))

    _, image = taken(encoded(ramp, "PNG"))

    assert [image.getpixel((x, 1))[0] for x in (0, 64, 128, 255)] == pytest.approx([0, 64, 128, 255], abs=2)


@pytest.mark.parametrize(
    ("colour", "channels", "shown"), [(2, 3, 156), (6, 4, 194), (4, 2, 194)], ids=["rgb", "rgba", "grey+alpha"]
)
def test_sixteen_bit_colour_is_scaled_and_flattened(colour: int, channels: int, shown: int) -> None:
    _, image = taken(png_chunks(40, 40, 16, colour, struct.pack(">H", 40_000) * channels * 40))

    assert near(image.getpixel((20, 20)), (shown, shown, shown))


def test_transparency_lies_over_white() -> None:
    clear = Image.new("RGBA", (80, 80), (255, 0, 0, 0))
    clear.paste((0, 0, 255, 255), (0, 0, 40, 80))

    _, image = taken(encoded(clear, "PNG"))

    assert near(image.getpixel((10, 40)), (0, 0, 255))
    assert near(image.getpixel((70, 40)), (255, 255, 255))


def test_of_an_animation_the_first_frame_is_taken() -> None:
    frames = [Image.new("RGB", (60, 60), colour) for colour in ("red", "blue", "green")]

    for format in ("GIF", "WEBP"):
        _, image = taken(encoded(frames[0], format, save_all=True, append_images=frames[1:]))
        assert near(image.getpixel((30, 30)), (255, 0, 0))


def test_another_colour_space_is_brought_to_srgb() -> None:
    swapped = _channels_swapped()
    content = encoded(Image.new("RGB", (60, 60), (200, 30, 40)), "PNG", icc_profile=swapped)

    _, image = taken(content)

    red, green, _ = image.getpixel((30, 30))
    assert green > 150 > red  # by the profile its first channel is green


def _channels_swapped() -> bytes:
    """sRGB's own profile with the red and the green primaries exchanged."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    count = struct.unpack(">I", profile[128:132])[0]
    tags = {}
    for i in range(count):
        at = 132 + 12 * i
        tags[bytes(profile[at : at + 4])] = at
    red, green = tags[b"rXYZ"], tags[b"gXYZ"]
    place = bytes(profile[red + 4 : red + 12])
    profile[red + 4 : red + 12] = profile[green + 4 : green + 12]
    profile[green + 4 : green + 12] = place
    return bytes(profile)


def test_a_profile_that_is_damaged_is_ignored() -> None:
    _, image = taken(encoded(Image.new("RGB", (60, 60), (200, 30, 40)), "PNG", icc_profile=b"not a profile" * 20))

    assert near(image.getpixel((30, 30)), (200, 30, 40))


WHOLE = jpeg()
WHOLE_PNG = encoded(portrait(), "PNG")


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (b"MZ\x90\x00" + b"\x00" * 4000, UnsupportedMediaType),
        (b"%PDF-1.7\n" + b"x" * 4000, UnsupportedMediaType),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", UnsupportedMediaType),
        (b"", UnsupportedMediaType),
        (encoded(portrait(), "TIFF"), UnsupportedMediaType),
        (encoded(portrait(), "BMP"), UnsupportedMediaType),
        (b"\xff\xd8\xff\xe0" + b"\x00" * 4000, UnsupportedMediaType),
        (WHOLE[: len(WHOLE) // 2], ImageUnreadable),
        (WHOLE[:-2], ImageUnreadable),
        (WHOLE_PNG[: len(WHOLE_PNG) // 2], ImageUnreadable),
        (WHOLE_PNG[:-12], ImageUnreadable),
        (encoded(portrait(), "WEBP")[:900], ImageUnreadable),
        (png_chunks(20_000, 20_000, 1, 0, b"\x00" * 2_500), TooManyPixels),
    ],
    ids=[
        "exe",
        "pdf",
        "svg",
        "empty",
        "tiff",
        "bmp",
        "fakejpeg",
        "cutjpeg",
        "noend",
        "cutpng",
        "noiend",
        "cutwebp",
        "bomb",
    ],
)
def test_what_is_no_whole_picture_is_refused_in_one_sentence(content: bytes, error: type[Error]) -> None:
    with on_disk(content) as file, pytest.raises(error) as refusal:
        pictures.photo(file)

    assert refusal.value.message.count(".") == 1
    assert refusal.value.charged == "none"


def test_one_byte_too_many_is_refused_before_decoding(settings: Any) -> None:
    settings.PHOTO_MAX_BYTES = len(WHOLE) - 1

    with on_disk(WHOLE) as file, pytest.raises(TooLarge):
        pictures.photo(file)


def test_a_decoder_that_outgrows_its_memory_dies_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "_MEMORY_BYTES", 120 << 20)

    with on_disk(png_chunks(8_000, 8_000, 8, 2, b"\x00" * 24_000)) as file, pytest.raises(ImageUnreadable):
        pictures.photo(file)


def test_a_decoder_that_hangs_is_stopped(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    stuck = tmp_path / "stuck.py"
    stuck.write_text("while True: pass")
    monkeypatch.setattr(pictures, "_PROGRAM", stuck)
    monkeypatch.setattr(pictures, "_TIMEOUT_S", 0.3)

    with on_disk(WHOLE) as file, pytest.raises(ImageUnreadable):
        pictures.photo(file)


def test_only_two_are_decoded_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    running, most, lock = 0, 0, threading.Lock()
    is_second = threading.Event()
    real = children.subprocess.run

    def run(*args: Any, **options: Any) -> Any:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
            if running == 2:
                is_second.set()
        is_second.wait(60)
        try:
            return real(*args, **options)
        finally:
            with lock:
                running -= 1

    monkeypatch.setattr(children.subprocess, "run", run)
    threads = [threading.Thread(target=taken, args=(jpeg(seed),)) for seed in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    assert most == 2


def seen(content: bytes) -> pictures.Picture:
    with on_disk(content) as file:
        picture = pictures.view(file)
    picture.jpeg.close()
    return picture


@pytest.mark.parametrize(
    ("size", "kept"), [((4000, 6000), (4000, 6000)), ((8000, 4000), (6928, 3464)), ((30, 20), (30, 20))]
)
def test_a_view_keeps_24_megapixels(size: tuple[int, int], kept: tuple[int, int]) -> None:
    picture = seen(jpeg(size=size))

    assert (picture.width, picture.height) == kept
    assert picture.width * picture.height <= 24_000_000
    assert (picture.original_width, picture.original_height) == size


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_a_tiff_is_a_view_upright_and_no_photo(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = orientation, "Maker"
    content = encoded(portrait(size=(160, 240)), "TIFF", exif=exif, compression="tiff_lzw")

    picture = seen(content)

    upright = (240, 160) if orientation > 4 else (160, 240)
    assert (picture.width, picture.height) == (picture.original_width, picture.original_height) == upright
    assert (picture.format, picture.content_type, picture.camera_make) == ("TIFF", "image/tiff", "Maker")
    with pytest.raises(UnsupportedMediaType, match="not a JPEG, PNG, GIF or WebP"):
        taken(content)


@pytest.mark.parametrize("cut", [100, 5_000])
def test_a_cut_off_tiff_is_refused(cut: int) -> None:
    with pytest.raises((ImageUnreadable, UnsupportedMediaType)):
        seen(encoded(portrait(), "TIFF")[:cut])
