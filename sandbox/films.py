"""Films: playable MP4s drawn from prompt and seed, marked SANDBOX; their colours tell which prompt made them."""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
from PIL import Image, ImageDraw, ImageFont, ImageOps

from sandbox import render, strips

FPS = 12
SAMPLE_RATE = 24_000


@dataclass(frozen=True)
class Scene:
    """A part of a film. An extended film is the scenes it had, and one more."""

    prompt: str
    seconds: float
    seed: int = 0


def film(
    output: Path, scenes: Sequence[Scene], size: tuple[int, int], *, picture: Path | None = None, sound: bool = True
) -> None:
    """Write an MP4 of H.264, and AAC with `sound`; it starts from `picture`, and its index comes first.

    Raises: RenderError: the picture cannot be read.
    Units: size in even pixels.
    """
    ground = render.open_photo(picture) if picture else None
    part = output.with_suffix(".part")
    with av.open(part, "w", format="mp4", options={"movflags": "+faststart"}) as container:
        video = container.add_stream("libx264", rate=FPS, options={"preset": "ultrafast", "crf": "30", "g": str(FPS)})
        video.width, video.height = size
        video.pix_fmt = "yuv420p"
        audio = container.add_stream("aac", rate=SAMPLE_RATE, layout="mono") if sound else None
        if audio:
            audio.bit_rate = 32_000
        shown = 0
        for scene in scenes:
            for image in _frames(scene, size, ground):
                frame = av.VideoFrame.from_image(image)  # type: ignore[no-untyped-call]  # its stub is bare
                frame.pts, frame.time_base = shown, Fraction(1, FPS)
                container.mux(video.encode(frame))
                if audio:
                    container.mux(audio.encode(_tone(scene, shown)))
                shown += 1
        container.mux(video.encode(None))
        if audio:
            container.mux(audio.encode(None))
    part.replace(output)


def poster(output: Path, scene: Scene, size: tuple[int, int], *, picture: Path | None = None) -> None:
    """Write a scene's first frame as PNG.

    Raises: RenderError: the picture cannot be read.
    """
    ground = render.open_photo(picture) if picture else None
    next(_frames(scene, size, ground)).save(output, "PNG", compress_level=4)


def _frames(scene: Scene, size: tuple[int, int], ground: Image.Image | None) -> Iterator[Image.Image]:
    """The frames one by one: the still ground, and a disc that crosses it as time goes by."""
    width, height = size
    colours = strips.colours(scene.prompt, scene.seed)
    still = ImageOps.fit(ground, size) if ground else _gradient(colours[0], colours[1], size)
    draw = ImageDraw.Draw(still)
    strips.paint(still, scene.prompt, scene.seed)
    font = ImageFont.load_default(size=max(10, min(size) // 14))
    draw.text((width / 2, height * 0.94), "SANDBOX", font=font, fill="white", anchor="ms", stroke_width=2,
              stroke_fill="black")  # fmt: skip
    count = max(1, round(scene.seconds * FPS))
    radius = min(size) // 10
    for at in range(count):
        image = still.copy()
        x = radius + (width - 2 * radius) * at / count
        y = height * (0.55 + 0.15 * math.sin(at * math.tau / FPS))
        disc = (x - radius, y - radius, x + radius, y + radius)
        ImageDraw.Draw(image).ellipse(disc, fill=colours[2], outline="white", width=3)
        yield image


def _gradient(top: strips.Colour, bottom: strips.Colour, size: tuple[int, int]) -> Image.Image:
    return ImageOps.colorize(Image.linear_gradient("L").resize(size), top, bottom)


def _tone(scene: Scene, shown: int) -> av.AudioFrame:
    """One picture's worth of a hum, whose pitch is the prompt's."""
    pitch = 200 + int(strips.fingerprint(scene.prompt, scene.seed)[:4], 4)
    count = SAMPLE_RATE // FPS
    begin = shown * count
    samples = array("h", (int(4000 * math.sin(math.tau * pitch * (begin + at) / SAMPLE_RATE)) for at in range(count)))
    frame = av.AudioFrame("s16", "mono", count)
    frame.planes[0].update(samples.tobytes())
    frame.sample_rate, frame.pts, frame.time_base = SAMPLE_RATE, begin, Fraction(1, SAMPLE_RATE)
    return frame
