"""The outbox in the ops console: read-only, with each mail as its reader sees it, secrets left out."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import path, reverse
from django.utils.html import format_html
from django.views.decorators.clickjacking import xframe_options_sameorigin

from core.admin import ReadOnlyModelAdmin
from notifications.mails import TEMPLATES
from notifications.models import Mail, Refusal
from notifications.rendering import preview


@admin.register(Mail)
class MailAdmin(ReadOnlyModelAdmin):
    list_display = ["created_at", "name", "to", "state", "attempts", "sent_at", "error_code"]
    list_filter = ["state", "name"]
    search_fields = ["to__exact", "cause__exact"]
    search_help_text = "The whole address or the whole cause"
    ordering = ["-created_at"]
    readonly_fields = ["body"]
    fieldsets = [
        (None, {"fields": ["name", "to", "user", "cause", "context", "state", "error_code", "error"]}),
        ("What it says", {"fields": ["subject", "body"]}),
        (
            "On its way",
            {
                "fields": [
                    "created_at",
                    "next_at",
                    "attempts",
                    "lease_until",
                    "handed_over_at",
                    "sent_at",
                    "provider_message_id",
                    "purged_at",
                ]
            },
        ),
    ]

    def get_urls(self) -> list[Any]:
        own = path("<uuid:pk>/preview/", self.admin_site.admin_view(self.preview), name="notifications_mail_preview")
        return [own, *super().get_urls()]

    @admin.display(description="body")
    def body(self, mail: Mail) -> str:
        if mail.purged_at or mail.name not in TEMPLATES:
            return "Forgotten after 90 days."
        return format_html(
            '<iframe src="{}" sandbox title="The mail as HTML" style="width:100%;height:640px;border:0"></iframe>'
            '<pre style="white-space:pre-wrap">{}</pre>',
            reverse("admin:notifications_mail_preview", args=[mail.pk]),
            preview(mail).text,
        )

    @staticmethod
    @xframe_options_sameorigin
    def _html(request: HttpRequest, html: str) -> HttpResponse:
        response = HttpResponse(html)
        response["Content-Security-Policy"] = "default-src 'none'; style-src 'unsafe-inline'; sandbox"
        return response

    def preview(self, request: HttpRequest, pk: str) -> HttpResponse:
        """The HTML body alone, for the frame."""
        if not self.has_view_permission(request):
            raise Http404
        mail = Mail.objects.filter(pk=pk, purged_at__isnull=True, name__in=TEMPLATES).first()
        if mail is None:
            raise Http404
        return self._html(request, preview(mail).html)


@admin.register(Refusal)
class RefusalAdmin(ReadOnlyModelAdmin):
    list_display = ["created_at", "user", "name"]
    list_select_related = ["user"]
    search_fields = ["user__email__exact"]
    ordering = ["-id"]
