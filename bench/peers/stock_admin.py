"""Plain ModelAdmins with the columns, the search and the order of ours, counting and joining as Django does."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.urls import path

from accounts.models import User
from audit.models import AuditLog
from billing.models import Payment
from generation.models import Generation

stock = admin.AdminSite(name="admin")


@admin.register(Payment, site=stock)
class PaymentAdmin(admin.ModelAdmin):
    list_display = [
        *("created_at", "user", "title", "gateway", "amount", "state", "received", "refunded", "fulfilment"),
        "next_at",
    ]
    list_filter = ["created_at", "state", "gateway", "fulfilment", "currency"]
    search_fields = ["id__exact", "user__id__exact", "user__email__startswith", "starts__ref__exact"]
    ordering = ["-created_at", "-id"]


@admin.register(Generation, site=stock)
class GenerationAdmin(admin.ModelAdmin):
    list_display = [
        *("created_at", "output", "id", "user", "operation", "state", "unknown", "round", "price", "error_code"),
        *("deadline_at", "next_at"),
    ]
    list_filter = ["created_at", "state", "unknown", "kind", "provider", "operation", "error_code"]
    search_fields = ["id__exact", "user__email__exact", "attempts__provider_job_id__exact"]
    ordering = ["-created_at"]

    def output(self, job: Generation) -> str:
        asset: Any = job.assets.first()
        return str(asset.thumbnail) if asset else "-"


@admin.register(AuditLog, site=stock)
class AuditLogAdmin(admin.ModelAdmin):
    list_display = ["at", "action", "entity_type", "entity_id", "user_id", "actor_id", "source", "request_id"]
    list_filter = ["at", "source"]
    search_fields = ["action__exact", "entity_id__exact", "request_id__exact"]
    ordering = ["-at"]


@admin.register(User, site=stock)
class UserAdmin(admin.ModelAdmin):
    list_display = ["created_at", "email", "first_name", "last_name", "status", "verified_at", "is_staff"]
    search_fields = ["email__startswith"]
    ordering = ["-created_at"]


urlpatterns = [path("admin/", stock.urls)]
