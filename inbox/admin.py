from __future__ import annotations

import json
from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from unfold.enums import ActionVariant

from core.admin import PreviewForm, ReadOnlyModelAdmin, act
from inbox import deliveries
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
    actions_detail = ["replay"]

    @act(
        "Replay",
        permission="inbox.replay_delivery",
        explanation="Its handler looks again, as if it had just come. First is shown what that would change.",
        form=PreviewForm,
        preview=lambda delivery, given: deliveries.rehearse(delivery),
        variant=ActionVariant.PRIMARY,
    )
    def replay(self, request: HttpRequest, delivery: Delivery, given: dict[str, Any]) -> str:
        deliveries.replay(delivery.pk, actor=request.user, reason=given["reason"])
        return "It is handled again at once."

    @admin.display(description="body")
    def readable_body(self, delivery: Delivery) -> str:
        try:
            return json.dumps(json.loads(bytes(delivery.body)), indent=2, ensure_ascii=False)
        except ValueError:
            return bytes(delivery.body).decode(errors="replace")
