"""A program of its own: play one film from standard input in a process with bounded memory and time.

Run by videos.py as `python -I player.py '{"film": <descriptor>, …}'`. The file is standard input, its poster goes to
standard output, the film cut or silenced to the descriptor named, one line of JSON to standard error. A hostile file
can kill this process and nothing else. It imports nothing but PyAV and, for the poster, Pillow.
"""

from __future__ import annotations

import json
import os
import resource
import sys
from contextlib import suppress
from typing import IO, Any

# What plays in every browser of today, or nearly. The container is MP4; pictures and QuickTime share its demuxer.
_BRANDS = ("iso", "mp4", "avc1", "M4V", "dash", "MSNV")
_VIDEO, _AUDIO = ("h264", "hevc", "vp9", "av1"), ("aac", "mp3", "opus")
_DECODERS = "h264,hevc,vp9,libdav1d,av1,aac,mp3float,mp3,opus,libopus"
_THREADS = 2
# By how much a film may be longer than it is cut to: a few frames, on which earlier ones lean.
_SLACK_S = 0.1
# What the index holds of a packet at the most: its times, its size, its place, whether it is a key.
_INDEX_BYTES = 48


class Refused(Exception):
    """The file is not a film we take; the argument is a code that videos.py knows."""


def limit(*, memory_bytes: int, cpu_s: int, file_bytes: int) -> None:
    """Bound this process; where the system has no such limit the parent's time-out is what is left."""
    for what, value in (
        (resource.RLIMIT_AS, memory_bytes),
        (resource.RLIMIT_CPU, cpu_s),
        (resource.RLIMIT_FSIZE, file_bytes),
        (resource.RLIMIT_CORE, 0),
    ):
        with suppress(ValueError, OSError):
            resource.setrlimit(what, (value, value))


def main(options: dict[str, Any]) -> dict[str, Any]:
    limit(memory_bytes=options["memory_bytes"], cpu_s=options["cpu_s"], file_bytes=options["file_bytes"])
    import av

    try:
        with os.fdopen(0, "rb") as source, os.fdopen(1, "wb") as poster:
            found = play(source, options, poster)
            cut_s = options["duration_s"]
            if cut_s is not None and found["duration_s"] <= cut_s + _SLACK_S:
                cut_s = None
            mute = options["mute"] and found["has_sound"]
            if cut_s is None and not mute:
                return found | {"is_treated": False}
            with os.fdopen(options["film"], "w+b") as target:
                return found | treat(source, target, options, cut_s=cut_s, mute=mute) | {"is_treated": True}
    except Refused:
        raise
    except (av.FFmpegError, OSError, ValueError, MemoryError, OverflowError) as error:
        raise Refused("unreadable") from error


def treat(
    source: IO[bytes], target: IO[bytes], options: dict[str, Any], *, cut_s: float | None, mute: bool
) -> dict[str, Any]:
    """Copy what is wanted as it is; where the copy cannot be read or ends too late, encode it anew.

    What is copied has just been played, each packet together with all that it leans on: it is not played again.
    """
    import av

    with suppress(av.FFmpegError, ValueError, OSError):
        copy(source, target, cut_s=cut_s, mute=mute)
        found = measure(target)
        if cut_s is None or abs(found["duration_s"] - cut_s) <= _SLACK_S:
            return found
    target.seek(0)
    target.truncate()
    encode(source, target, index_bytes=_INDEX_BYTES * 3 * options["max_frames"], cut_s=cut_s, mute=mute)
    return play(target, options)


def play(source: IO[bytes], options: dict[str, Any], poster: IO[bytes] | None = None) -> dict[str, Any]:
    """Decode every frame of picture and sound; say what was seen. The first frame is the poster."""
    import av

    try:
        # An edit list may hide frames: here all are to be seen. Only this demuxer, so that no other is ever tried.
        container = _open(source, ignore_editlist="1", codec_whitelist=_DECODERS)
    except (av.FFmpegError, OSError, ValueError) as error:
        raise Refused("not_a_film") from error
    with container:
        if not container.metadata.get("major_brand", "").startswith(_BRANDS):
            raise Refused("not_a_film")
        video, audio = _streams(container)
        _check(video, audio, options)
        frames, begin, end = 0, None, 0.0
        packets = {stream.index: 0 for stream in (video, audio) if stream}
        for packet in container.demux([stream for stream in (video, audio) if stream]):
            if packet.size:
                packets[packet.stream.index] += 1
                if packet.is_corrupt:
                    raise Refused("unreadable")
            for frame in packet.decode():
                if packet.stream is not video:
                    continue
                frames += 1
                if (frame.width, frame.height) != (video.width, video.height):
                    raise Refused("unreadable")
                if frame.is_corrupt or frame.pts is None:
                    raise Refused("unreadable")
                if frames > options["max_frames"]:
                    raise Refused("too_long")
                if poster and frames == 1:
                    picture = frame.to_image()
                    picture.thumbnail((options["poster_side"], options["poster_side"]))
                    picture.save(poster, "JPEG", quality=85)
                at = float(frame.pts * frame.time_base)
                begin = at if begin is None else min(begin, at)
                end = max(end, at + float((frame.duration or 0) * frame.time_base))
                if end - begin > options["max_duration_s"]:
                    raise Refused("too_long")
        # A file cut off ends early, without an error: the index says how many there should have been.
        for stream in (video, audio):
            if stream and (not packets[stream.index] or packets[stream.index] < stream.frames):
                raise Refused("unreadable")
        if not frames or frames < packets[video.index] or begin is None or end <= begin:
            raise Refused("unreadable")
        found = {
            "width": video.width,
            "height": video.height,
            "duration_s": round(end - begin, 3),
            "frames": frames,
            "has_sound": audio is not None,
        }
    _check_whole(source)
    return found


def _check_whole(source: IO[bytes]) -> None:
    """No box of the file reaches beyond its end. It moves the file's position: not while a container reads it."""
    end, at = source.seek(0, 2), 0
    while at + 8 <= end:
        source.seek(at)
        size = int.from_bytes(source.read(4), "big")
        if size == 1:
            source.seek(at + 8)
            size = int.from_bytes(source.read(8), "big")
        if size < 8:  # the last one, which reaches to the end; or no box at all, which the demuxer judges
            return
        at += size
    if at > end:
        raise Refused("unreadable")


def _open(source: IO[bytes], **options: str) -> Any:
    import av

    source.seek(0)
    return av.open(source, format="mp4", options=options)


def _write(target: IO[bytes], *, index_bytes: int) -> Any:
    """A film to be written with its index first, so that it plays while it loads: room for it is left."""
    import av

    return av.open(target, "w", format="mp4", options={"moov_size": str(index_bytes)})


def _streams(container: Any) -> tuple[Any, Any]:
    """The film's one picture track, and its sound if it has one."""
    if len(container.streams.video) != 1 or len(container.streams.audio) > 1:
        raise Refused("not_a_film")
    return container.streams.video[0], next(iter(container.streams.audio), None)


def _check(video: Any, audio: Any, options: dict[str, Any]) -> None:
    """Codecs, pixels and frames, as the header claims them, before anything is decoded; and how to decode."""
    import av

    names = {"libdav1d": "av1", "mp3float": "mp3", "libopus": "opus"}
    if video.codec_context is None or names.get(video.codec.name, video.codec.name) not in _VIDEO:
        raise Refused("codec")
    if audio and (audio.codec_context is None or names.get(audio.codec.name, audio.codec.name) not in _AUDIO):
        raise Refused("codec")
    if not 0 < video.width * video.height <= options["max_pixels"]:
        raise Refused("too_many_pixels" if video.width * video.height else "not_a_film")
    if video.frames > options["max_frames"]:
        raise Refused("too_long")
    for stream in (video, audio):
        if stream:
            stream.codec_context.options = {"max_pixels": str(options["max_pixels"]), "err_detect": "explode"}
    video.thread_type, video.codec_context.thread_count = av.codec.context.ThreadType.AUTO, _THREADS


def copy(source: IO[bytes], target: IO[bytes], *, cut_s: float | None, mute: bool) -> None:
    """Copy the packets unchanged, up to the last one that begins before the cut: those among them that are shown later
    are leant on by it."""

    with _open(source) as container:
        video, audio = _streams(container)
        wanted = [video] if mute or audio is None else [video, audio]
        packets = [packet for packet in container.demux(wanted) if packet.size and packet.dts is not None]
        if cut_s is not None:
            packets = [packet for stream in wanted for packet in _until(packets, stream, cut_s)]
            packets.sort(key=lambda packet: packet.dts * packet.time_base)
        with _write(target, index_bytes=_INDEX_BYTES * (len(packets) + 100)) as made:
            tracks = {stream.index: made.add_stream_from_template(stream) for stream in wanted}
            for packet in packets:
                packet.stream = tracks[packet.stream.index]
                made.mux(packet)
    target.flush()


def _until(packets: list[Any], stream: Any, cut_s: float) -> list[Any]:
    own = [packet for packet in packets if packet.stream is stream]
    begin = min(packet.pts for packet in own)
    early = [at for at, packet in enumerate(own) if float((packet.pts - begin) * packet.time_base) < cut_s - 0.001]
    return own[: early[-1] + 1]


def measure(source: IO[bytes]) -> dict[str, Any]:
    """How long a film is and how many frames it has, by its packets."""
    with _open(source) as container:
        video, audio = _streams(container)
        packets = [packet for packet in container.demux(video) if packet.size]
        begin = min(packet.pts for packet in packets)
        end = max(packet.pts + packet.duration for packet in packets)
        length = float((end - begin) * video.time_base)
        return {"duration_s": round(length, 3), "frames": len(packets), "has_sound": audio is not None}


def encode(source: IO[bytes], target: IO[bytes], *, index_bytes: int, cut_s: float | None, mute: bool) -> None:
    """Decode and encode as H.264 and AAC up to the cut."""

    with _open(source) as container, _write(target, index_bytes=index_bytes) as made:
        video, audio = _streams(container)
        rate = video.average_rate or video.guessed_rate or 24
        pictures = made.add_stream("libx264", rate=rate, options={"preset": "veryfast", "crf": "18"})
        pictures.width, pictures.height, pictures.pix_fmt = (
            video.width - video.width % 2,
            video.height - video.height % 2,
            "yuv420p",
        )
        pictures.codec_context.thread_count = _THREADS
        tracks = {video.index: pictures}
        if audio and not mute:
            tracks[audio.index] = made.add_stream("aac", rate=audio.rate)
        begins: dict[int, float] = {}
        for packet in container.demux([stream for stream in (video, audio) if stream and stream.index in tracks]):
            for frame in packet.decode():
                at = float(frame.pts * frame.time_base)
                begin = begins.setdefault(packet.stream.index, at)
                if cut_s is None or at - begin < cut_s - 0.001:
                    made.mux(tracks[packet.stream.index].encode(frame))
        for track in tracks.values():
            made.mux(track.encode(None))
    target.flush()


if __name__ == "__main__":
    try:
        report: dict[str, Any] = main(json.loads(sys.argv[1]))
    except Refused as refusal:
        report = {"error": str(refusal)}
    sys.stderr.write(json.dumps(report) + "\n")
    sys.stderr.flush()
    os._exit(0)
