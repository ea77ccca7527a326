"""Jobs and what providers did for them: to look at, never to edit."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet, Sum
from django.http import HttpRequest
from django.utils.html import format_html, format_html_join
from unfold.admin import TabularInline
from unfold.enums import ActionVariant

from core import storage
from core.admin import BornFilter, ReadOnlyModelAdmin, act, only
from core.money import CREDIT, display
from generation import jobs, reports, staff_jobs
from generation.models import Asset, Attempt, Consent, Generation, JobPhoto, State


class _Inline(TabularInline):
    extra = 0
    can_delete = False
    show_change_link = True

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class AttemptInline(_Inline):
    model = Attempt
    fields = [
        "created_at",
        "round",
        "stage",
        "n",
        "provider",
        "outcome",
        "provider_job_id",
        "latency_ms",
        "provider_cost",
    ]
    readonly_fields = fields


class AssetInline(_Inline):
    model = Asset
    fields = ["position", "picture", "content_type", "bytes", "width", "height", "purged_at"]
    readonly_fields = fields

    @admin.display(description="picture")
    def picture(self, asset: Asset) -> str:
        return thumbnail(asset)


def thumbnail(asset: Asset | None, height: int = 48) -> str:
    """A small picture of the output, by a link made now."""
    if asset is None or asset.thumbnail is None:
        return "-"
    url = storage.signed_url(asset.thumbnail.key)
    picture = '<img src="{}" alt="What it made" style="height:{}px;border-radius:4px" loading="lazy">'
    return format_html(picture, url, height)


class ConsentInline(_Inline):
    model = Consent
    fields = ["created_at", "user", "wording"]
    readonly_fields = fields


_TIMES = ("round_started_at", "deadline_at", "finished_at", "deleted_at", "taken_down_at")


@admin.register(Generation)
class GenerationAdmin(ReadOnlyModelAdmin):
    list_display = [
        "created_at",
        "output",
        "id",
        "user",
        "operation",
        "state",
        "unknown",
        "round",
        "shown_price",
        "error_code",
        "deadline_at",
        "next_at",
    ]
    list_select_related = ["user"]
    list_filter = [
        "state",
        ("created_at", BornFilter),
        only("past the deadline", "due", "late", lambda rows: rows.late()),
        "unknown",
        "kind",
        "provider",
        "operation",
        "error_code",
    ]
    search_fields = ["id__exact", "user__email__exact", "attempts__provider_job_id__exact"]
    ordering = ["-id"]
    date_hierarchy = None
    fieldsets = [
        (
            None,
            {
                "fields": [
                    "made",
                    "state",
                    "error_code",
                    "error_message",
                    "user",
                    "operation",
                    "shown_price",
                    "created_at",
                ]
            },
        ),
        ("What was asked", {"fields": ["kind", "params", "avatar", "archive", "data"]}),
        ("On its way", {"fields": ["round", "stage", "step", "progress", "unknown", *_TIMES]}),
        ("Provider", {"fields": ["provider", "model", "attempt", "was_submitted", "cost_to_us"]}),
        ("Terms it was agreed on", {"fields": ["terms", "queue", "next_at", "lease_until"], "classes": ["collapse"]}),
    ]
    readonly_fields = ["made", "shown_price", "cost_to_us"]
    inlines = [AttemptInline, AssetInline, ConsentInline]
    actions_detail = ["retry", "cancel", "release", "take_down"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Generation]:
        found: QuerySet[Generation] = super().get_queryset(request)
        return found.prefetch_related("assets__thumbnail")

    @admin.display(description="price", ordering="price")
    def shown_price(self, job: Generation) -> str:
        return display(job.price, CREDIT)

    @admin.display(description="what providers charged us, all attempts and stages")
    def cost_to_us(self, job: Generation) -> str:
        units = job.attempts.exclude(provider_cost=None).order_by("cost_unit").values("cost_unit")
        sums = units.annotate(total=Sum("provider_cost")).values_list("total", "cost_unit")
        return ", ".join(f"{total.normalize():f} {unit}" for total, unit in sums) or "-"

    @admin.display(description="output")
    def output(self, job: Generation) -> str:
        return thumbnail(next(iter(job.assets.all()), None))

    @admin.display(description="made")
    def made(self, job: Generation) -> str:
        return format_html_join(" ", "{}", [(thumbnail(asset, 160),) for asset in job.assets.all()]) or "-"

    def is_apt(self, act: str, found: Generation) -> bool:
        match act:
            case "retry":
                return jobs.may_be_retried(found) and found.deleted_at is None
            case "cancel":
                return found.is_open and found.state != State.STORING
            case "release":
                return found.is_open
        return found.state == State.SUCCEEDED and found.taken_down_at is None

    @act(
        "Retry",
        permission="generation.rerun_generation",
        explanation="Orders it again in the customer's name, at most at its former price, which is held anew.",
        variant=ActionVariant.PRIMARY,
    )
    def retry(self, request: HttpRequest, found: Generation, given: dict[str, Any]) -> str:
        job = staff_jobs.retry(found.pk, actor=request.user, reason=given["reason"])
        return f"Ordered again: round {job.round}, {display(job.price, CREDIT)} held."

    @act("Cancel", permission="generation.end_generation", explanation="Ends it; the credits are free again.")
    def cancel(self, request: HttpRequest, found: Generation, given: dict[str, Any]) -> str:
        staff_jobs.cancel(found.pk, actor=request.user, reason=given["reason"])
        return "Canceled; the credits are free again."

    @act(
        "Release",
        permission="generation.end_generation",
        explanation="For a job that is stuck: ends it as failed, whatever it waits for, and gives the credits back. "
        "If a provider makes it all the same, that is at our cost.",
        variant=ActionVariant.DANGER,
    )
    def release(self, request: HttpRequest, found: Generation, given: dict[str, Any]) -> str:
        staff_jobs.release(found.pk, actor=request.user, reason=given["reason"])
        return "Ended; the credits are free again."

    @act(
        "Take down",
        permission="generation.takedown_generation",
        explanation="Removes what the job made and every link to it, at once and for good. What it cost stays.",
        variant=ActionVariant.DANGER,
        icon="delete_forever",
    )
    def take_down(self, request: HttpRequest, found: Generation, given: dict[str, Any]) -> str:
        reports.take_down(found, actor=request.user, reason=given["reason"])
        return "Taken down."


@admin.register(Attempt)
class AttemptAdmin(ReadOnlyModelAdmin):
    list_display = [
        "created_at",
        "generation",
        "round",
        "n",
        "provider",
        "provider_job_id",
        "outcome",
        "latency_ms",
        "provider_cost",
        "cost_unit",
        "error_code",
    ]
    list_select_related = ["generation"]
    exclude = ["made"]
    list_filter = ["provider", "outcome", "error_code"]
    search_fields = ["id__exact", "generation__id__exact", "provider_job_id__exact", "token__exact"]
    ordering = ["-id"]


@admin.register(Asset)
class AssetAdmin(ReadOnlyModelAdmin):
    list_display = ["created_at", "picture", "generation", "position", "content_type", "bytes", "purged_at"]
    list_select_related = ["generation", "thumbnail"]
    search_fields = ["id__exact", "generation__id__exact", "sha256__exact"]
    ordering = ["-id"]

    @admin.display(description="picture")
    def picture(self, asset: Asset) -> str:
        return thumbnail(asset)


@admin.register(Consent)
class ConsentAdmin(ReadOnlyModelAdmin):
    list_display = ["created_at", "user", "generation", "wording"]
    list_select_related = ["user", "generation"]
    search_fields = ["generation__id__exact", "user__email__exact"]
    ordering = ["-id"]


@admin.register(JobPhoto)
class JobPhotoAdmin(ReadOnlyModelAdmin):
    list_display = ["created_at", "generation", "photo", "position"]
    list_select_related = ["generation", "photo"]
    search_fields = ["generation__id__exact", "photo__id__exact"]
    ordering = ["-id"]
