"""What people say must go: the longest waiting first, with the time that is left."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.contrib import admin
from django.db.models import F, QuerySet
from django.http import HttpRequest
from django.utils.timesince import timesince, timeuntil
from unfold.enums import ActionVariant

from core import clock
from core.admin import ReadOnlyModelAdmin, act, only
from generation import reports
from generation.admin.jobs import thumbnail
from generation.models import Report, ReportStatus


@admin.register(Report)
class ReportAdmin(ReadOnlyModelAdmin):
    list_display = ["created_at", "time_left", "is_overdue", "output", "reason", "status", "user", "generation"]
    list_select_related = ["user", "generation"]
    list_filter = ["status", only("overdue", "overdue", "yes", lambda rows: rows.filter(reports.overdue())), "reason"]
    search_fields = ["id__exact", "generation__id__exact", "user__email__exact"]
    ordering = [F("decided_at").desc(nulls_first=True), "created_at"]
    customer = "generation.user_id"
    actions_detail = ["take_down", "dismiss"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Report]:
        found: QuerySet[Report] = super().get_queryset(request)
        return found.prefetch_related("generation__assets__thumbnail")

    def _end(self, report: Report) -> datetime:
        return report.created_at + reports.time_limit()

    @admin.display(description="time left")
    def time_left(self, report: Report) -> str:
        if report.status != ReportStatus.OPEN:
            return "-"
        end, now = self._end(report), clock.now()
        return f"late by {timesince(end, now)}" if end <= now else timeuntil(end, now)

    @admin.display(description="overdue", boolean=True)
    def is_overdue(self, report: Report) -> bool | None:
        return self._end(report) <= clock.now() if report.status == ReportStatus.OPEN else None

    @admin.display(description="output")
    def output(self, report: Report) -> str:
        return thumbnail(next(iter(report.generation.assets.all()), None))

    def is_apt(self, act: str, found: Report) -> bool:
        return found.status == ReportStatus.OPEN

    @act(
        "Take down",
        permission="generation.takedown_generation",
        explanation="Removes what the job made and every link to it, at once and for good. What it cost stays.",
        variant=ActionVariant.DANGER,
        icon="delete_forever",
    )
    def take_down(self, request: HttpRequest, found: Report, given: dict[str, Any]) -> str:
        reports.take_down(found.generation, actor=request.user, reason=given["reason"])
        return "Taken down."

    @act("Dismiss", permission="generation.decide_report", explanation="What the job made stays.")
    def dismiss(self, request: HttpRequest, found: Report, given: dict[str, Any]) -> str:
        reports.dismiss(found, actor=request.user, reason=given["reason"])
        return "Dismissed."
