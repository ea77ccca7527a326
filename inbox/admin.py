from __future__ import annotations

import json

from django.contrib import admin

from core.admin import ReadOnlyModelAdmin
from inbox.models import Delivery


@admin.register(Delivery)
class DeliveryAdmin(ReadOnlyModelAdmin):
    list_display = [
        "created_at",
        "provider",
        "event_type",
        "state",
        "attempts",
        "times_received",
        "handled_at",
    ]
    list_filter = ["provider", "state"]
    search_fields = ["id__exact"]
    ordering = ["-created_at"]
    exclude = ["body", "sha256", "lease_token"]
    readonly_fields = ["readable_body"]

    @admin.display(description="body")
    def readable_body(self, delivery: Delivery) -> str:
        try:
            return json.dumps(json.loads(bytes(delivery.body)), indent=2, ensure_ascii=False)
        except ValueError:
            return bytes(delivery.body).decode(errors="replace")
