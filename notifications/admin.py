"""The outbox in the ops console: each mail as its reader sees it, secrets left out, what became of it, and resending;
and the addresses that nothing more is sent to.
"""

from __future__ import annotations

from collections import Counter
from typing import Any, cast

from django import forms
from django.conf import settings
from django.contrib import admin, messages
from django.contrib.auth.base_user import AbstractBaseUser
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import path, reverse
from django.utils.html import format_html
from django.views.decorators.clickjacking import xframe_options_sameorigin
from unfold.admin import TabularInline
from unfold.decorators import action
from unfold.enums import ActionVariant

from core.admin import ModelAdmin, ReadOnlyModelAdmin, ReasonForm, act
from notifications import outbox, samples, suppressions
from notifications.mails import TEMPLATES
from notifications.models import Mail, MailEvent, MailQuerySet, Refusal, Suppression, SuppressionReason
from notifications.rendering import preview


class DeadLetters(admin.SimpleListFilter):
    """What did not reach anybody and nobody has sent again."""

    title = "dead letters"
    parameter_name = "dead"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("1", "Not arrived, not sent again")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Mail]) -> QuerySet[Mail]:
        if self.value() != "1":
            return queryset
        return cast("MailQuerySet", queryset).dead()


class MailEventInline(TabularInline):
    model = MailEvent
    fields = ["at", "kind", "words"]
    readonly_fields = fields
    ordering = ["at"]
    can_delete = False
    max_num = 0
    verbose_name_plural = "What the sender told"


@admin.register(Mail)
class MailAdmin(ReadOnlyModelAdmin):
    list_display = ["created_at", "name", "to", "state", "attempts", "sent_at", "error_code"]
    list_filter = [DeadLetters, "state", "name"]
    inlines = [MailEventInline]
    actions = ["resend_dead"]
    actions_list = ["samples"]
    actions_detail = ["resend"]
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
                    "resends",
                    "purged_at",
                ]
            },
        ),
    ]

    def get_urls(self) -> list[Any]:
        guarded = self.admin_site.admin_view
        return [
            path("<uuid:pk>/preview/", guarded(self.preview), name="notifications_mail_preview"),
            path("samples/<slug:name>/", guarded(self.sample), name="notifications_mail_sample"),
            *super().get_urls(),
        ]

    def is_apt(self, act: str, found: Mail) -> bool:
        return not outbox.why_not_again(found) and not Mail.objects.filter(resends=found).exists()

    @act(
        "Send again",
        permission="notifications.resend_mail",
        explanation="Queues what it said once more, to the address that its reader has now. They may get it twice.",
        variant=ActionVariant.PRIMARY,
    )
    def resend(self, request: HttpRequest, mail: Mail, given: dict[str, Any]) -> str:
        again = outbox.resend(mail, actor=_actor(request), reason=given["reason"])
        return f"Queued again, to {again.to}."

    def has_resend_many_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("notifications.resend_many_mail")

    @admin.action(description="Send dead letters again", permissions=["resend_many"])
    def resend_dead(self, request: HttpRequest, queryset: MailQuerySet) -> HttpResponse | None:
        """Ask why, saying what would go and what would not, and then do it."""
        form = ReasonForm(request, None, request.POST if "reason" in request.POST else None)
        dead = list(queryset.dead().order_by("created_at")[: outbox.MANY])
        if form.is_valid():
            ids = [mail.pk for mail in dead]
            queued = outbox.resend_dead(ids, actor=_actor(request), reason=form.cleaned_data["reason"])
            messages.success(request, f"Queued again: {queued}.")
            return None
        why_not = {mail.pk: outbox.why_not_again(mail) for mail in dead}
        asked = {
            "form": form,
            "ids": [pk for pk, why in why_not.items() if not why],
            "names": sorted(Counter(mail.name for mail in dead if not why_not[mail.pk]).items()),
            "left_out": sorted(Counter(filter(None, why_not.values())).items()),
            "many": outbox.MANY,
            "opts": self.opts,
            "title": "Send dead letters again",
        }
        return render(request, "admin/mail_resend.html", self.admin_site.each_context(request) | asked)

    @action(description="Templates", url_path="samples", icon="mail")
    def samples(self, request: HttpRequest) -> HttpResponse:
        """Each mail with an example in it, and a button that sends that to whoever presses it."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        name, language = _chosen(request)
        may_try = request.user.has_perm("notifications.try_mail")
        if request.method == "POST":
            if not may_try:
                raise PermissionDenied
            sent = samples.send(name, actor=_actor(request))
            messages.success(request, f"Queued, to {sent.to}.")
            return redirect(f"{request.path}?name={name}&language={language}")
        shown = {
            "names": sorted(samples.SAMPLES),
            "name": name,
            "languages": settings.LANGUAGES,
            "language": language,
            "rendered": samples.show(name, language=language),
            "may_try": may_try,
            "opts": self.opts,
            "title": "Templates of mails",
        }
        return render(request, "admin/mail_samples.html", self.admin_site.each_context(request) | shown)

    def sample(self, request: HttpRequest, name: str) -> HttpResponse:
        """The HTML body of an example alone, for the frame."""
        if not self.has_view_permission(request) or name not in samples.SAMPLES:
            raise Http404
        return self._html(request, samples.show(name, language=_chosen(request)[1]).html)

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


@admin.register(MailEvent)
class MailEventAdmin(ReadOnlyModelAdmin):
    list_display = ["at", "kind", "mail", "words"]
    list_select_related = ["mail"]
    list_filter = ["kind"]
    search_fields = ["mail__id__exact", "mail__to__exact"]
    search_help_text = "The whole id or address of a mail"
    ordering = ["-id"]


class SuppressionForm(forms.ModelForm):
    class Meta:
        model = Suppression
        fields = ("email", "words")
        labels = {"words": "Reason"}
        help_texts = {"email": "", "words": "Why nothing more may be sent there."}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["words"].required = True

    def clean_email(self) -> str:
        return str(self.cleaned_data["email"]).casefold()


@admin.register(Suppression)
class SuppressionAdmin(ReadOnlyModelAdmin):
    """Rows come from bounces, complaints and staff; staff lift them."""

    list_display = ["created_at", "email", "reason", "words", "mail"]
    list_select_related = ["mail"]
    list_filter = ["reason"]
    search_fields = ["email__exact"]
    search_help_text = "The whole address"
    ordering = ["-id"]
    actions_detail = ["lift"]

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return bool(ModelAdmin.has_add_permission(self, request))

    def get_form(self, request: HttpRequest, obj: Suppression | None = None, **kwargs: Any) -> Any:
        return super().get_form(request, obj, **kwargs | ({} if obj else {"form": SuppressionForm}))

    def get_fields(self, request: HttpRequest, obj: Suppression | None = None) -> Any:
        return ["created_at", "email", "reason", "words", "mail"] if obj else ["email", "words"]

    def save_model(self, request: HttpRequest, obj: Suppression, form: Any, change: bool) -> None:
        obj.pk = suppressions.add(obj.email, SuppressionReason.STAFF, words=obj.words, actor=_actor(request)).pk

    @act(
        "Lift",
        permission="notifications.lift_suppression",
        explanation="Lets the address have all its mail again.",
        variant=ActionVariant.PRIMARY,
    )
    def lift(self, request: HttpRequest, row: Suppression, given: dict[str, Any]) -> str:
        suppressions.lift(row, actor=_actor(request), reason=given["reason"])
        return "Lifted."


def _chosen(request: HttpRequest) -> tuple[str, str]:
    name, language = request.GET.get("name", ""), request.GET.get("language", "")
    return (
        name if name in samples.SAMPLES else "welcome",
        language if language in dict(settings.LANGUAGES) else settings.MAIL_LANGUAGE,
    )


def _actor(request: HttpRequest) -> AbstractBaseUser:
    assert isinstance(request.user, AbstractBaseUser)
    return request.user
