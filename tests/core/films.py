"""Films that tests make: as encoders write them, and as nobody should."""

from __future__ import annotations

import struct
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from typing import Any, cast

import av
from PIL import Image


def film(
    *,
    seconds: float = 2,
    size: tuple[int, int] = (160, 90),
    fps: int = 24,
    codec: str = "libx264",
    sound: str | None = "aac",
    format: str = "mp4",
    options: dict[str, str] | None = None,
    container_options: dict[str, str] | None = None,
) -> bytes:
    """A film that goes from black to white, with the frames that lean on later ones that encoders like."""
    with tempfile.NamedTemporaryFile() as made:  # by name: an index that comes first takes a second pass
        with av.open(made.name, "w", format=format, options=container_options or {}) as container:
            video = cast("Any", container.add_stream(codec, rate=fps, options=options or {}))
            video.width, video.height, video.pix_fmt = *size, "yuv420p"
            audio = cast("Any", container.add_stream(sound, rate=48_000, layout="mono")) if sound else None
            count = round(seconds * fps)
            for at in range(count):
                grey = 255 * at // count
                image = Image.new("RGB", size, (grey, grey, grey))
                image.paste((200, 30, 30), (at % size[0], 10, at % size[0] + 20, 30))
                frame = av.VideoFrame.from_image(image)
                frame.pts, frame.time_base = at, Fraction(1, fps)
                container.mux(video.encode(frame))
            if audio:
                samples = 1024
                for at in range(int(seconds * 48_000) // samples):
                    heard = av.AudioFrame("s16", "mono", samples)
                    heard.planes[0].update(bytes(2 * samples))
                    heard.sample_rate, heard.pts, heard.time_base = 48_000, at * samples, Fraction(1, 48_000)
                    container.mux(audio.encode(heard))
                container.mux(audio.encode(None))
            container.mux(video.encode(None))
        return made.read()


def resized(content: bytes, width: int, height: int) -> bytes:
    """The same film, whose header claims another size: the sample entry's, which is what is read first."""
    at = content.index(b"avc1", content.index(b"stsd")) + 4 + 24
    return content[:at] + struct.pack(">HH", width, height) + content[at + 4 :]


@contextmanager
def on_disk(content: bytes) -> Iterator[Any]:
    with tempfile.TemporaryFile() as file:
        file.write(content)
        yield file
