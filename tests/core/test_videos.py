"""What the player makes of every film that providers and attackers send."""

from __future__ import annotations

import io
import json
import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import av
import pytest
from PIL import Image

from core import videos
from core.videos import Film, Unplayable
from tests.core.films import film, on_disk, resized


def played(content: bytes, **wanted: Any) -> tuple[Film, bytes]:
    """The film's facts, and its bytes as they are to be stored."""
    with on_disk(content) as file:
        found = videos.inspect(file, **wanted)
        with found.poster:
            Image.open(found.poster).load()
        kept = found.file or file
        kept.seek(0)
        stored = kept.read()
        if found.file:
            found.file.close()
    assert found.bytes == len(stored)
    return found, stored


def refused(content: bytes) -> str:
    with on_disk(content) as file, pytest.raises(Unplayable) as caught:
        videos.inspect(file)
    return str(caught.value)


def tracks(content: bytes) -> list[str]:
    with av.open(io.BytesIO(content)) as container:
        return [stream.codec_context.name for stream in container.streams]


@pytest.fixture(scope="module")
def plain() -> bytes:
    return film(seconds=2)


def test_facts_are_what_was_played_and_the_bytes_stay(plain: bytes) -> None:
    found, stored = played(plain)

    assert (found.width, found.height, found.duration_s, found.frames, found.has_sound) == (160, 90, 2.0, 48, True)
    assert found.file is None
    assert stored == plain


@pytest.mark.parametrize(
    ("codec", "sound"),
    [("libx264", "aac"), ("libx264", "libmp3lame"), ("libx265", None), ("libvpx-vp9", "libopus"), ("libsvtav1", None)],
)
def test_the_codecs_of_browsers_are_taken(codec: str, sound: str | None) -> None:
    options = {"x265-params": "log-level=none"} if codec == "libx265" else {}
    found, _ = played(film(seconds=1, codec=codec, sound=sound, options=options))

    assert (found.frames, found.has_sound) == (24, sound is not None)


def test_film_in_fragments_is_taken() -> None:
    found, _ = played(film(seconds=2, container_options={"movflags": "frag_keyframe+empty_moov"}))

    assert (found.duration_s, found.frames) == (2.0, 48)


def test_poster_is_the_first_frame_and_no_larger_than_a_thumbnail() -> None:
    with on_disk(film(seconds=0.5, size=(1280, 720))) as file, videos.inspect(file).poster as poster:
        image = Image.open(poster)
        assert (image.format, image.size) == ("JPEG", (512, 288))
        assert max(image.convert("RGB").getpixel((500, 280))) < 20


def test_ten_seconds_are_cut_to_eight_without_encoding_anew() -> None:
    ten = film(seconds=10)
    found, stored = played(ten, duration_s=8)

    assert found.duration_s == pytest.approx(8, abs=0.1)
    assert played(stored)[0].duration_s == found.duration_s
    assert tracks(stored) == ["h264", "aac"]
    # Copied, not encoded: the first packet is the same, byte for byte.
    first = [next(av.open(io.BytesIO(content)).demux(video=0)) for content in (ten, stored)]
    assert bytes(first[0]) == bytes(first[1])
    with av.open(io.BytesIO(stored)) as container:
        assert container.duration == pytest.approx(8_000_000, abs=100_000)


def test_cut_that_would_break_later_frames_is_encoded_anew() -> None:
    """Two frames a second, each group leaning on its last: a copy could only end half a second late."""
    slow = film(seconds=10, fps=2, options={"bf": "8", "b_strategy": "0", "sc_threshold": "0", "g": "250"})
    found, stored = played(slow, duration_s=7.5)

    assert found.duration_s == pytest.approx(7.5, abs=0.1)
    assert (tracks(stored), found.frames) == (["h264", "aac"], 15)


def test_film_is_silenced_without_touching_the_pictures(plain: bytes) -> None:
    found, stored = played(plain, mute=True)

    assert (tracks(stored), found.has_sound, found.frames, found.duration_s) == (["h264"], False, 48, 2.0)


def test_film_that_needs_nothing_stays_as_it_came(plain: bytes) -> None:
    silent = film(seconds=2, sound=None)

    assert played(plain, duration_s=8)[1] == plain
    assert played(plain, duration_s=2)[1] == plain
    assert played(silent, mute=True)[1] == silent


@pytest.mark.parametrize("share", [0.5, 0.999])
@pytest.mark.parametrize("index", ["first", "last"])
def test_film_cut_off_anywhere_is_refused(share: float, index: str) -> None:
    options = {"movflags": "+faststart"} if index == "first" else {}
    content = film(seconds=4, container_options=options)

    assert refused(content[: int(len(content) * share)])


def test_film_with_damage_in_the_middle_is_refused() -> None:
    content = bytearray(film(seconds=4, size=(320, 180), container_options={"movflags": "+faststart"}))
    middle = len(content) * 2 // 3
    content[middle : middle + 400] = os.urandom(400)

    assert refused(bytes(content)) == "The film is damaged or cut off."


def picture(format: str) -> bytes:
    made = io.BytesIO()
    Image.new("RGB", (64, 64), "red").save(made, format)
    return made.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"<!doctype html><title>502</title>",
        b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n",
        b"ffconcat version 1.0\nfile /etc/passwd\n",
        bytes(100_000),
        picture("PNG"),
        picture("GIF"),
        picture("AVIF"),
    ],
    ids=["empty", "html", "playlist", "concat", "zeros", "png", "gif", "avif"],
)
def test_what_is_no_mp4_is_refused(content: bytes) -> None:
    assert refused(content) == "The file is not an MP4 film."


@pytest.mark.parametrize(
    ("format", "codec"), [("matroska", "libx264"), ("webm", "libvpx-vp9"), ("mov", "libx264"), ("avi", "mpeg4")]
)
def test_other_containers_are_refused(format: str, codec: str) -> None:
    assert refused(film(seconds=1, codec=codec, format=format, sound=None)) == "The file is not an MP4 film."


def test_other_codecs_are_refused() -> None:
    assert refused(film(seconds=1, codec="mpeg4")) == "The film's codecs are not ones we take."


def test_sound_alone_is_no_film() -> None:
    made = io.BytesIO()
    with av.open(made, "w", format="mp4") as container:
        audio = container.add_stream("aac", rate=48_000, layout="mono")
        heard = av.AudioFrame("s16", "mono", 1024)
        heard.sample_rate = 48_000
        container.mux(audio.encode(heard))
        container.mux(audio.encode(None))

    assert refused(made.getvalue()) == "The file is not an MP4 film."


def test_film_without_frames_is_refused() -> None:
    assert refused(film(seconds=0, container_options={"movflags": "empty_moov"}, sound=None))


def test_giant_frames_are_refused_before_any_is_decoded() -> None:
    assert refused(film(seconds=0.2, size=(4096, 2304), sound=None)) == "The film has too many pixels."


def test_size_is_what_is_seen_and_not_what_the_header_claims(plain: bytes) -> None:
    found, _ = played(resized(plain, 65_000, 65_000))

    assert (found.width, found.height) == (160, 90)


def test_a_million_frames_are_refused() -> None:
    assert refused(film(seconds=130, size=(16, 16), fps=60, sound=None)) == "The film is too long."
    assert refused(film(seconds=200, size=(16, 16), fps=1, sound=None)) == "The film is too long."


def test_player_is_bounded_and_knows_nothing_of_ours(plain: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, Any] = {}
    run = subprocess.run

    def spy(command: list[str], **options: Any) -> Any:
        seen.update(options, command=command)
        return run(command, **options)

    monkeypatch.setattr(subprocess, "run", spy)
    with on_disk(plain) as file, videos.inspect(file).poster:
        pass

    wanted = json.loads(seen["command"][-1])
    assert (seen["command"][:2], seen["env"], seen["timeout"]) == ([sys.executable, "-I"], {}, 60)
    assert (wanted["memory_bytes"], wanted["cpu_s"], wanted["file_bytes"]) == (1_500 << 20, 100, 500_000_000)


def test_player_without_memory_dies_alone(plain: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(videos, "_MEMORY_BYTES", 60 << 20)

    assert refused(plain) == "The film is damaged or cut off."
    assert resource.getrlimit(resource.RLIMIT_AS)[0] != 60 << 20


def test_player_that_takes_too_long_is_ended(plain: bytes, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    sleeper = tmp_path / "player.py"
    sleeper.write_text("import time\ntime.sleep(60)\n")
    monkeypatch.setattr(videos, "_PROGRAM", sleeper)
    monkeypatch.setattr(videos, "_TIMEOUT_S", 0.5)

    with on_disk(plain) as file, pytest.raises(videos.TookTooLong):
        videos.inspect(file)
