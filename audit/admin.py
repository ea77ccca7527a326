from __future__ import annotations

from django.contrib import admin
from unfold.admin import StackedInline

from audit.models import AuditDetail, AuditLog
from core.admin import ReadOnlyModelAdmin


class AuditDetailInline(StackedInline):
    model = AuditDetail
    exclude = ["salt"]
    can_delete = False
    max_num = 0


@admin.register(AuditLog)
class AuditLogAdmin(ReadOnlyModelAdmin):
    list_display = ["at", "action", "entity_type", "entity_id", "user_id", "actor_id", "source", "request_id"]
    list_filter = ["source"]
    search_fields = ["entity_id__exact", "action__exact", "request_id__exact"]
    ordering = ["-id"]
    inlines = [AuditDetailInline]
    exclude = ["detail_hash"]


@admin.register(AuditDetail)
class AuditDetailAdmin(ReadOnlyModelAdmin):
    list_display = ["log_id", "ip", "user_agent"]
    search_fields = ["ip__exact"]
    ordering = ["-log_id"]
    exclude = ["salt"]
