"""The sandbox's films: they play to the end, last as long as asked, and show what they were made of."""

from __future__ import annotations

from pathlib import Path

import av
import pytest
from PIL import Image

from sandbox import films, render, strips
from sandbox.films import Scene
from sandbox.strips import fingerprint


def frames(film: Path) -> list[Image.Image]:
    with av.open(film) as container:
        return [frame.to_image() for frame in container.decode(video=0)]


def test_film_plays_with_sound_and_lasts_as_long_as_asked(tmp_path: Path) -> None:
    film = tmp_path / "film.mp4"
    films.film(film, [Scene("a paper boat", 5)], (640, 360))

    with av.open(film) as container:
        video, audio = container.streams.video[0], container.streams.audio[0]
        assert (video.codec_context.name, video.width, video.height, video.frames) == ("h264", 640, 360, 5 * films.FPS)
        assert (audio.codec_context.name, float(audio.duration * audio.time_base)) == ("aac", pytest.approx(5, abs=0.1))
        assert container.duration == pytest.approx(5_000_000, abs=100_000)
    assert {strips.read(frame) for frame in frames(film)} == {fingerprint("a paper boat")}


def test_silent_film_has_no_sound_track(tmp_path: Path) -> None:
    films.film(tmp_path / "film.mp4", [Scene("quiet", 1)], (320, 320), sound=False)

    with av.open(tmp_path / "film.mp4") as container:
        assert not container.streams.audio


def test_same_prompt_and_seed_make_the_same_film_and_others_do_not(tmp_path: Path) -> None:
    for name, scene in (("one", Scene("rain", 1, 7)), ("two", Scene("rain", 1, 7)), ("other", Scene("rain", 1, 8))):
        films.film(tmp_path / name, [scene], (320, 240))

    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    assert strips.read(frames(tmp_path / "other")[0]) == fingerprint("rain", 8) != fingerprint("rain", 7)


def test_extended_film_goes_on_where_the_first_ended(tmp_path: Path) -> None:
    films.film(tmp_path / "film.mp4", [Scene("a boat", 2), Scene("it sinks", 1)], (320, 240))

    shown = [strips.read(frame) for frame in frames(tmp_path / "film.mp4")]
    assert shown == [fingerprint("a boat")] * 2 * films.FPS + [fingerprint("it sinks")] * films.FPS


def test_film_starts_from_the_picture_and_its_poster_is_its_first_frame(tmp_path: Path) -> None:
    Image.new("RGB", (900, 900), (10, 200, 30)).save(tmp_path / "first.png")
    scene = Scene("a lawn", 1)
    films.film(tmp_path / "film.mp4", [scene], (320, 240), picture=tmp_path / "first.png")
    films.poster(tmp_path / "poster.png", scene, (320, 240), picture=tmp_path / "first.png")

    for image in (frames(tmp_path / "film.mp4")[0], Image.open(tmp_path / "poster.png")):
        assert image.size == (320, 240)
        assert strips.read(image) == fingerprint("a lawn")
        assert image.getpixel((300, 90)) == pytest.approx((10, 200, 30), abs=12)


def test_broken_picture_makes_no_film(tmp_path: Path) -> None:
    (tmp_path / "first.png").write_bytes(b"not a picture")
    with pytest.raises(render.RenderError):
        films.film(tmp_path / "film.mp4", [Scene("a lawn", 1)], (320, 240), picture=tmp_path / "first.png")
    assert not (tmp_path / "film.mp4").exists()
