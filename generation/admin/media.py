"""Photos."""

from __future__ import annotations

from django.contrib import admin
from django.utils.html import format_html

from core import storage
from core.admin import ReadOnlyModelAdmin
from generation.models import Photo


@admin.register(Photo)
class PhotoAdmin(ReadOnlyModelAdmin):
    list_display = ["created_at", "picture", "user", "filename", "width", "height", "bytes", "deleted_at"]
    list_select_related = ["user", "file"]
    search_fields = ["id__exact", "user__email__exact", "sha256__exact"]
    ordering = ["-created_at"]

    @admin.display(description="picture")
    def picture(self, photo: Photo) -> str:
        if photo.file is None or photo.deleted_at is not None:
            return "-"
        url = storage.signed_url(photo.file.key)
        return format_html('<img src="{}" alt="" style="height:48px;border-radius:4px" loading="lazy">', url)
