"""Avatars: to look at, what customers asked for beside what was made of it."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.contrib.admin import SimpleListFilter
from django.db.models import QuerySet
from django.http import HttpRequest

from core.admin import ReadOnlyModelAdmin
from generation.admin.jobs import thumbnail
from generation.models import Avatar, AvatarStatus


class StatusFilter(SimpleListFilter):
    title = "status"
    parameter_name = "status"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(status.value, str(status.label)) for status in AvatarStatus]

    def queryset(self, request: HttpRequest, queryset: Any) -> QuerySet[Avatar]:
        wanted = self.value()
        return queryset.having(AvatarStatus(wanted)) if wanted in AvatarStatus.values else queryset  # type: ignore[no-any-return]


@admin.register(Avatar)
class AvatarAdmin(ReadOnlyModelAdmin):
    list_display = ["created_at", "picture", "user", "name", "description", "status", "deleted_at"]
    list_select_related = ["user", "generation", "thumbnail__thumbnail"]
    list_filter = [StatusFilter]
    search_fields = ["id__exact", "user__email__exact", "generation__id__exact"]
    ordering = ["-id"]

    @admin.display(description="picture")
    def picture(self, avatar: Avatar) -> str:
        return thumbnail(avatar.thumbnail)

    @admin.display(description="status")
    def status(self, avatar: Avatar) -> str:
        return avatar.status
