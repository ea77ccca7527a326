"""3D models, made on this machine by the program in generation/photogrammetry. Nobody bills us, nobody calls back."""

from __future__ import annotations

import errno
import hashlib
import importlib.util
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from django.conf import settings

from core import http, storage
from generation.photogrammetry import archives, runs, workshop
from generation.photogrammetry.steps import MIN_PHOTOS, MODELS
from generation.providers.base import (
    Callback,
    InputAway,
    Order,
    Provider,
    ProviderError,
    Rejected,
    Seen,
    Submitted,
    Unavailable,
    Unknown,
)

_SCHEME = "photogrammetry:"
_SHARE = 0.9  # of a job's progress; the rest is storing
_PACKAGES = ("pycolmap", "scipy", "trimesh")


def missing() -> list[str]:
    """The packages that are not installed here."""
    return [name for name in _PACKAGES if importlib.util.find_spec(name) is None]


class Photogrammetry(Provider):
    code = "photogrammetry"
    cost_unit = ""
    base_url = ""
    resolve_window_s = 0.0

    @property
    def is_configured(self) -> bool:
        return bool(settings.PHOTOGRAMMETRY_ENABLED)

    def queue(self, kind: str) -> str:
        return "bulk"

    def prepare(self, order: Order) -> Mapping[str, Any]:
        """Nothing but a look whether this machine can."""
        if lacking := missing():
            raise Unavailable(f"this machine lacks {', '.join(lacking)}: make photogrammetry")
        if (free := workshop.free_bytes()) < settings.PHOTOGRAMMETRY_FREE_BYTES:
            raise Unavailable(f"{free >> 20} MB of disk are too few")
        return {}

    def submit(self, order: Order, prepared: Mapping[str, Any]) -> Submitted:
        """Reconstruct. Takes minutes to hours; `order.watch` says where it is and can stop it."""
        try:
            folder = workshop.open_folder(order.token)
            laid_out = 0
            for position, (camera, photo) in enumerate(_photos(order, folder)):
                if order.watch.is_stopped:
                    raise runs.Stopped
                _lay_out(folder, position, camera, photo)
                laid_out += 1
            if laid_out < MIN_PHOTOS:
                raise runs.Refused("too_few_photos", f"{laid_out} pictures")
            said = runs.run(folder, order.watch, cpu_s=settings.GENERATION_DEADLINES_S[order.kind])
        except archives.ArchiveRefused as refusal:
            raise Rejected(str(refusal), code="archive_refused", reason=str(refusal)) from refusal
        except runs.Stopped as stop:
            raise Rejected("it was stopped", code="canceled") from stop
        except runs.Refused as refusal:
            raise Rejected(str(refusal), code=refusal.code) from refusal
        except runs.Died as death:
            raise Unknown(str(death)) from death
        except storage.StorageAway as away:
            raise InputAway(away.message) from away
        except OSError as error:
            raise Unknown(f"{errno.errorcode.get(error.errno or 0, '?')}: {error.strerror}") from error
        outputs = [f"{_SCHEME}{order.token}/{name}" for name in (runs.ARCHIVE, *MODELS)]
        return Submitted(None, answer=said, outputs=tuple(outputs))

    def fetch(self, address: str, file: IO[bytes], *, max_bytes: int, timeout_s: float) -> None:
        """Copy a result out of its folder."""
        token, _, name = address.removeprefix(_SCHEME).partition("/")
        if not address.startswith(_SCHEME) or name not in (runs.ARCHIVE, *MODELS):
            raise http.FetchRefused(f"{address} is none of our results.")
        path = workshop.folder_of(token) / "results" / name
        try:
            if path.stat().st_size > max_bytes:
                raise http.FetchTooLarge(f"The file is larger than {max_bytes} bytes.")
            with path.open("rb") as source:
                shutil.copyfileobj(source, file)
        except FileNotFoundError as error:
            raise http.FetchRefused("The result is not on this machine any more.") from error

    def poll(self, provider_job_id: str) -> Seen:
        return Seen("gone")

    def cancel(self, provider_job_id: str) -> None:
        """Nothing is left anywhere."""

    def parse_callback(self, event: Mapping[str, Any]) -> Callback | None:
        return None

    def classify_error(self, status: int, body: Mapping[str, Any], headers: Mapping[str, str]) -> ProviderError:
        return Unavailable(str(status), status=status)


def _photos(order: Order, folder: Path) -> Iterator[tuple[str, IO[bytes]]]:
    """Each photo with the name of its camera, closed after use. The same picture twice in an archive is one."""
    seen: set[str] = set()
    for found in order.inputs:
        with found.open() as source:
            if found.content_type != "application/zip":
                yield found.camera, source
                continue
            # A copy: through the link that put it, it could change between a look at its table and the unpacking.
            with tempfile.TemporaryFile(dir=folder) as archive:
                shutil.copyfileobj(source, archive)
                for picture in archives.views(archive):
                    with picture.jpeg:
                        if picture.sha256 not in seen:
                            seen.add(picture.sha256)
                            yield picture.camera, picture.jpeg


def _lay_out(folder: Path, position: int, camera: str, photo: IO[bytes]) -> None:
    """The photo in the folder of its camera: those of one camera share what is learnt of the lens."""
    place = folder / "images" / hashlib.sha256(camera.encode()).hexdigest()[:12]
    place.mkdir(parents=True, exist_ok=True)
    with (place / f"{position:04}.jpg").open("wb") as target:
        shutil.copyfileobj(photo, target)
