"""The base of every admin page: made for big tables, and read-only where the books are."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.contrib.admin.widgets import ForeignKeyRawIdWidget
from django.core.paginator import Paginator
from django.db import connection, models
from django.http import HttpRequest
from django.utils.functional import cached_property
from unfold.admin import ModelAdmin as UnfoldModelAdmin

from core.models import IdempotencyKey, StoredObject

EXACT_UP_TO = 10_000


class EstimatedPaginator(Paginator):
    """Counts exactly while that is cheap; a big unfiltered table by PostgreSQL's own estimate."""

    @cached_property
    def count(self) -> int:
        query = getattr(self.object_list, "query", None)
        if query is not None and not query.where:
            with connection.cursor() as cursor:
                cursor.execute("SELECT reltuples::bigint FROM pg_class WHERE oid = %s::regclass", [_table(query)])
                row = cursor.fetchone()
            if row and row[0] > EXACT_UP_TO:
                return int(row[0])
        return int(super().count)


def _table(query: Any) -> str:
    return f'"{query.model._meta.db_table}"'


class ModelAdmin(UnfoldModelAdmin):
    """Lists without exact counts of big tables, foreign keys without drop-downs."""

    paginator = EstimatedPaginator
    show_full_result_count = False
    list_per_page = 50
    warn_unsaved_form = True

    def get_autocomplete_fields(self, request: HttpRequest) -> Any:
        return self.autocomplete_fields

    def formfield_for_foreignkey(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        if db_field.name not in self.get_autocomplete_fields(request) and "widget" not in kwargs:
            kwargs["widget"] = ForeignKeyRawIdWidget(db_field.remote_field, self.admin_site)
        return super().formfield_for_foreignkey(db_field, request, **kwargs)


class ReadOnlyModelAdmin(ModelAdmin):
    """Nobody adds, changes or deletes here, superusers included."""

    def has_add_permission(self, request: HttpRequest, obj: models.Model | None = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: models.Model | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: models.Model | None = None) -> bool:
        return False


@admin.register(IdempotencyKey)
class IdempotencyKeyAdmin(ReadOnlyModelAdmin):
    list_display = ["created_at", "method", "route", "status", "user"]
    list_select_related = ["user"]
    list_filter = ["method", "status"]
    exclude = ["body", "fingerprint"]


@admin.register(StoredObject)
class StoredObjectAdmin(ReadOnlyModelAdmin):
    list_display = ["created_at", "key", "expires_at"]
    search_fields = ["key__exact"]
    ordering = ["-created_at"]
