"""Taking a file in: streamed to disk, counted as it comes, never whole in memory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import IO, TYPE_CHECKING, Any, ClassVar

from django.conf import settings
from django.core.exceptions import SuspiciousOperation
from django.core.files.uploadhandler import FileUploadHandler, StopUpload, TemporaryFileUploadHandler
from rest_framework.parsers import DataAndFiles, MultiPartParser

from core.errors import Invalid, MalformedBody, TooLarge, detail

if TYPE_CHECKING:
    from django.http import HttpRequest

# Beyond this we do not even read the rest to answer politely.
_RUDE = 4


class _Cap(FileUploadHandler):
    """Counts what passes and stops the upload beyond the cap; the rest is read and dropped, so the client hears us."""

    def __init__(self, request: HttpRequest, limit: int) -> None:
        super().__init__(request)
        self.limit = limit
        self.bytes = 0

    def receive_data_chunk(self, raw_data: bytes, start: int) -> bytes:
        self.bytes += len(raw_data)
        if self.is_over:
            raise StopUpload(connection_reset=False)
        return raw_data

    def file_complete(self, file_size: int) -> None:
        """The next handler holds the file."""

    @property
    def is_over(self) -> bool:
        return self.bytes > self.limit


class PictureParser(MultiPartParser):
    """multipart/form-data with one picture, of at most as many bytes as the setting says.

    Raises: TooLarge, Invalid, MalformedBody.
    """

    max_bytes_setting: ClassVar[str]

    def parse(
        self, stream: IO[bytes], media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> DataAndFiles[Any, Any]:
        request: HttpRequest = (parser_context or {})["request"]._request
        limit: int = getattr(settings, self.max_bytes_setting)
        refusal = TooLarge(f"The picture is larger than {limit // 1_000_000} MB.")
        if int(request.META.get("CONTENT_LENGTH") or 0) > _RUDE * limit:
            raise refusal
        cap = _Cap(request, limit)
        request.upload_handlers = [cap, TemporaryFileUploadHandler(request)]
        try:
            parsed = super().parse(stream, media_type, parser_context)
        except SuspiciousOperation as error:  # Django's word for too many parts
            raise MalformedBody("The form has too many parts.") from error
        if cap.is_over:
            raise refusal
        twice = [name for fields in (parsed.data, parsed.files) for name, values in fields.lists() if len(values) > 1]
        if twice:
            raise Invalid(details=[detail("repeated", "Send this field once.", name) for name in twice[:20]])
        return parsed


class PhotoParser(PictureParser):
    max_bytes_setting = "PHOTO_MAX_BYTES"


class AvatarParser(PictureParser):
    max_bytes_setting = "AVATAR_MAX_BYTES"
