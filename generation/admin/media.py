"""Photos, and those announced."""

from __future__ import annotations

from django.contrib import admin
from django.utils.html import format_html

from core import storage
from core.admin import ReadOnlyModelAdmin
from generation.models import Photo, Upload


@admin.register(Photo)
class PhotoAdmin(ReadOnlyModelAdmin):
    list_display = ["created_at", "picture", "user", "purpose", "filename", "width", "height", "bytes", "deleted_at"]
    list_select_related = ["user", "file"]
    search_fields = ["id__exact", "user__email__exact", "sha256__exact"]
    ordering = ["-id"]

    @admin.display(description="picture")
    def picture(self, photo: Photo) -> str:
        if photo.file is None or photo.deleted_at is not None:
            return "-"
        url = storage.signed_url(photo.file.key)
        return format_html('<img src="{}" alt="" style="height:48px;border-radius:4px" loading="lazy">', url)


@admin.register(Upload)
class UploadAdmin(ReadOnlyModelAdmin):
    list_display = ["created_at", "user", "purpose", "filename", "content_type", "bytes", "locked_until"]
    list_select_related = ["user"]
    list_filter = ["purpose"]
    search_fields = ["id__exact", "user__email__exact"]
    ordering = ["-id"]
