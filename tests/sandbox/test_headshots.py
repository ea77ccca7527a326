"""The picture is really made from the photo: upright, portrait, and nearest to its own source."""

from __future__ import annotations

from pathlib import Path

import magic_hour
import psutil
import pytest
import requests
from PIL import Image

from sandbox import render
from tests.sandbox import portraits
from tests.sandbox.process import RunningSandbox


def test_each_of_ten_headshots_is_nearest_to_its_own_photo(studio: magic_hour.Client, tmp_path: Path) -> None:
    photos = portraits.ten(tmp_path, largest=1200)
    headshots = []

    for path in photos:
        done = studio.v1.ai_headshot_generator.generate(
            assets={"image_file_path": str(path)}, download_directory=str(tmp_path)
        )
        headshots.append(Image.open(done.downloaded_paths[0]))

    assert {headshot.size for headshot in headshots} == {render.SIZE}
    portraits.assert_each_is_nearest_to_its_own(headshots, photos)


def test_memory_stays_modest_over_large_photos(
    sandbox: RunningSandbox, studio: magic_hour.Client, tmp_path: Path
) -> None:
    path = tmp_path / "large.png"
    portraits.draw(3, (6000, 4000)).save(path, compress_level=1)
    process = psutil.Process(sandbox.process.pid)
    peaks = []

    for _ in range(4):
        done = studio.v1.ai_headshot_generator.generate(assets={"image_file_path": str(path)}, download_outputs=False)
        assert done.status == "complete"
        peaks.append(process.memory_info().rss)

    assert peaks[-1] < 400 << 20
    assert peaks[-1] - peaks[1] < 60 << 20


def test_orientation_in_exif_is_honoured(tmp_path: Path) -> None:
    upright = portraits.draw(7, (600, 800))
    exif = Image.Exif()
    exif[0x0112] = 6
    upright.rotate(90, expand=True).save(tmp_path / "turned.jpg", exif=exif)

    render.headshot(tmp_path / "turned.jpg", tmp_path / "out.png")

    with Image.open(tmp_path / "out.png") as picture:
        made = portraits.perceptual_hash(picture)
    assert portraits.distance(made, portraits.perceptual_hash(upright)) < 12
    assert portraits.distance(made, portraits.perceptual_hash(upright.rotate(90, expand=True))) > 16


@pytest.mark.parametrize("mode", ["L", "CMYK", "RGBA", "P", "LA", "I;16", "1"])
def test_other_colour_modes_render(tmp_path: Path, mode: str) -> None:
    image = portraits.draw(8, (300, 400))
    path = tmp_path / f"photo.{'tiff' if mode == 'CMYK' else 'png'}"
    if mode == "I;16":
        image.convert("L").convert("I").point(lambda value: value * 200).convert("I;16").save(path)
    else:
        image.convert(mode).save(path)

    render.headshot(path, tmp_path / "out.png")

    with Image.open(tmp_path / "out.png") as picture:
        assert (picture.mode, picture.size) == ("RGB", render.SIZE)
        near = portraits.distance(portraits.perceptual_hash(picture), portraits.perceptual_hash(image))
    assert near < 14


def test_too_many_pixels_are_refused_before_decoding(tmp_path: Path) -> None:
    Image.new("1", (20_000, 20_000)).save(tmp_path / "bomb.png")

    with pytest.raises(render.RenderError) as refused:
        render.headshot(tmp_path / "bomb.png", tmp_path / "out.png")

    assert refused.value.code == "file_too_large"


def test_picture_carries_the_watermark(tmp_path: Path) -> None:
    portraits.draw(9, (480, 600)).save(tmp_path / "photo.png")
    render.headshot(tmp_path / "photo.png", tmp_path / "out.png")
    plain = tmp_path / "plain.png"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(render, "watermark", lambda picture: None)
        render.headshot(tmp_path / "photo.png", plain)

    with Image.open(tmp_path / "out.png") as marked, Image.open(plain) as unmarked:
        changed = [a != b for a, b in zip(marked.tobytes(), unmarked.tobytes(), strict=True)]
    assert 3_000 < sum(changed) < 200_000


def test_served_picture_may_be_fetched_in_ranges(studio: magic_hour.Client, photo: Path) -> None:
    done = studio.v1.ai_headshot_generator.generate(assets={"image_file_path": str(photo)}, download_outputs=False)

    part = requests.get(done.downloads[0].url, headers={"Range": "bytes=0-7"}, timeout=10)

    assert (part.status_code, part.content) == (206, b"\x89PNG\r\n\x1a\n")
