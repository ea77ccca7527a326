from __future__ import annotations

import uuid
from datetime import timedelta
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.auth import get_user_model
from django.core.exceptions import PermissionDenied, ValidationError
from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import path, reverse
from django.utils.html import format_html, format_html_join
from django.views.decorators.http import require_POST
from unfold.admin import StackedInline
from unfold.enums import ActionVariant
from unfold.views import ChangeList
from unfold.widgets import INPUT_CLASSES

from audit import approvals, extracts, sealing, search, verification
from audit.models import (
    Approval,
    ApprovalState,
    AuditDetail,
    AuditLog,
    DayTotal,
    Extract,
    ExtractState,
    Seal,
    Verification,
)
from core.admin import PreviewForm, ReadOnlyModelAdmin, act
from core.money import display

EXTRACT = "audit.take_extract"
PAGE = 50


class AuditDetailInline(StackedInline):
    model = AuditDetail
    exclude = ["salt"]
    can_delete = False
    max_num = 0


class SearchForm(forms.Form):
    """What the log can be searched by. A person may be named by their address."""

    user = forms.CharField(required=False, label="About (mail or id)")
    actor = forms.CharField(required=False, label="By (mail or id)")
    action = forms.CharField(required=False, label="Action")
    entity = forms.CharField(required=False, label="Entity (id, or type:id)")
    ip = forms.GenericIPAddressField(required=False, label="IP address")
    request = forms.CharField(required=False, label="Request id")
    since = forms.DateTimeField(required=False, label="From (UTC)")
    until = forms.DateTimeField(required=False, label="Until (UTC)")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for field in self.fields.values():
            field.widget.attrs["class"] = " ".join(INPUT_CLASSES)

    def clean_user(self) -> str:
        return self._person("user")

    def clean_actor(self) -> str:
        return self._person("actor")

    def _person(self, name: str) -> str:
        given: str = self.cleaned_data[name].strip()
        if "@" in given:
            found = get_user_model().objects.filter(email=given.lower()).values_list("pk", flat=True).first()
            if found is None:
                raise ValidationError("Nobody has this address.")
            return str(found)
        try:
            return str(uuid.UUID(given)) if given else ""
        except ValueError as error:
            raise ValidationError("Give an address or an id.") from error

    def clean(self) -> dict[str, Any]:
        found: dict[str, Any] = {name: value for name, value in self.cleaned_data.items() if value}
        kind, _, pk = found.get("entity", "").rpartition(":")
        if kind:
            found |= {"entity": pk, "entity_type": kind}
        if "".join(str(value) for value in found.values()).count("\0"):
            raise ValidationError("No such text is in the log.")
        return found

    def sought(self) -> dict[str, str]:
        """What is sought, as audit.search takes it; all text."""
        return {
            name: value.isoformat() if hasattr(value, "isoformat") else value
            for name, value in self.cleaned_data.items()
        }


class _Pages(Paginator):
    """Says how the page ends; the list looks at what comes next and counts nothing."""

    template_name = "admin/audit_pages.html"


class _Found(ChangeList):
    """A page of the log in the order of the indexes: `?before=<id>` is what follows that row."""

    def get_filters_params(self, params: Any = None) -> dict[str, Any]:
        return {}  # the form reads the address

    def get_queryset(self, request: HttpRequest, exclude_parameters: Any = None) -> QuerySet[AuditLog]:
        self.form = SearchForm(request.GET)
        self.before = request.GET.get("before", "")
        if not self.form.is_valid():
            return AuditLog.objects.none()
        found = search.rows(self.form.sought())
        last = AuditLog.objects.filter(pk=self.before[:19]).first() if self.before.isdecimal() else None
        return search.after(found, last) if last else found

    def get_results(self, request: HttpRequest) -> None:
        page = list(self.queryset[: PAGE + 1])
        self.result_list = page[:PAGE]
        self.next_id = page[PAGE - 1].pk if len(page) > PAGE else None
        self.result_count = self.full_result_count = len(self.result_list)
        self.show_full_result_count = self.show_admin_actions = self.can_show_all = self.multi_page = False
        self.paginator = _Pages(self.result_list, PAGE)

    def address(self, **changes: Any) -> str:
        return str(self.get_query_string(changes, ["e", "before"]))

    @property
    def older(self) -> str:
        return self.address(before=self.next_id) if self.next_id else ""

    @property
    def newest(self) -> str:
        return self.address() if self.before else ""


@admin.register(AuditLog)
class AuditLogAdmin(ReadOnlyModelAdmin):
    list_display = ["at", "action", "entity_type", "entity_id", "user_id", "actor_id", "source", "request_id"]
    sortable_by = ()
    inlines = [AuditDetailInline]
    exclude = ["detail_hash"]
    list_before_template = "admin/audit_search.html"

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return _Found

    def get_urls(self) -> Any:
        take = self.admin_site.admin_view(require_POST(self.take))
        return [path("take", take, name="audit_auditlog_take"), *super().get_urls()]

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> Any:
        more = {"may_take": request.user.has_perm(EXTRACT), "formats": Extract.Format.choices}
        return super().changelist_view(request, (extra_context or {}) | more)

    def take(self, request: HttpRequest) -> HttpResponse:
        """Ask for a file of what is being looked at."""
        if not (request.user.has_perm(EXTRACT) and self.has_view_permission(request)):
            raise PermissionDenied
        form = SearchForm(request.POST)
        if not form.is_valid() or request.POST.get("format") not in Extract.Format.values:
            messages.error(request, "That cannot be searched for.")
            return redirect("admin:audit_auditlog_changelist")
        made = extracts.request(
            sought=form.sought(),
            format=request.POST["format"],
            has_details=request.user.has_perm("audit.view_auditdetail"),
            requester=request.user,
        )
        messages.success(request, "It is being written; this page tells how far it is.")
        return redirect("admin:audit_extract_change", made.pk)


@admin.register(Extract)
class ExtractAdmin(ReadOnlyModelAdmin):
    list_display = ["created_at", "requester", "format", "state", "progress", "bytes", "expires_at"]
    list_select_related = ["requester"]
    ordering = ["-created_at"]
    fields = [
        *("requester", "created_at", "format", "has_details", "sought", "state", "progress", "bytes"),
        *("ready_at", "expires_at", "download"),
    ]
    readonly_fields = fields

    def get_queryset(self, request: HttpRequest) -> QuerySet[Extract]:
        """Each sees their own, superusers all: whoever may take less would else fetch another's."""
        found: QuerySet[Extract] = super().get_queryset(request)
        return found if request.user.is_superuser else found.filter(requester_id=request.user.pk)

    def get_urls(self) -> Any:
        fetch = self.admin_site.admin_view(self.fetch)
        return [path("<path:object_id>/fetch", fetch, name="audit_extract_fetch"), *super().get_urls()]

    def fetch(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """To the file, by a link made for it."""
        found = self.get_object(request, object_id)
        if not request.user.has_perm(EXTRACT):
            raise PermissionDenied
        if found is None or found.state != ExtractState.READY:
            raise Http404
        return redirect(extracts.link(found.pk, actor=request.user))

    @admin.display(description="progress")
    def progress(self, extract: Extract) -> str:
        if extract.total is None:
            return "waiting"
        share = 100 if extract.state != ExtractState.PREPARING or not extract.total else (
            min(99, extract.done * 100 // extract.total)
        )  # fmt: skip
        return f"{extract.done:,} of {extract.total:,} rows, {share} %"

    @admin.display(description="file")
    def download(self, extract: Extract) -> str:
        if extract.state != ExtractState.READY:
            return "not there" if extract.state != ExtractState.PREPARING else "not yet: reload this page"
        target = reverse("admin:audit_extract_fetch", args=[extract.pk])
        return format_html('<a class="text-primary-600" href="{}">Download</a>', target)


@admin.register(Verification)
class VerificationAdmin(ReadOnlyModelAdmin):
    list_display = ["created_at", "requester", "verdict", "seals", "rows", "heads", "problems", "done_at"]
    list_select_related = ["requester"]
    ordering = ["-created_at"]
    fields = ["created_at", "requester", "done_at", "verdict", "figures", "findings"]
    readonly_fields = fields
    list_before_template = "admin/audit_standing.html"

    def get_urls(self) -> Any:
        verify = self.admin_site.admin_view(require_POST(self.verify))
        return [path("verify", verify, name="audit_verification_verify"), *super().get_urls()]

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> Any:
        standing = sealing.standing()
        more = {"standing": standing, "lag": timedelta(seconds=round(standing.lag_s)) if standing else None}
        return super().changelist_view(request, (extra_context or {}) | more)

    def verify(self, request: HttpRequest) -> HttpResponse:
        """Have a worker look through the whole log."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        made = verification.request(requester=request.user)
        messages.success(request, "The log is being verified; the verdict will stand here.")
        return redirect("admin:audit_verification_change", made.pk)

    @admin.display(description="verdict")
    def verdict(self, found: Verification) -> str:
        return {None: "being looked at", True: "as it was sealed", False: "NOT AS IT WAS SEALED"}[found.is_clean]

    @admin.display(description="seals")
    def seals(self, found: Verification) -> Any:
        return found.report.get("seals")

    @admin.display(description="rows")
    def rows(self, found: Verification) -> Any:
        return found.report.get("rows")

    @admin.display(description="heads in the storage")
    def heads(self, found: Verification) -> Any:
        return found.report.get("heads")

    @admin.display(description="problems")
    def problems(self, found: Verification) -> Any:
        return found.report.get("problems")

    @admin.display(description="figures")
    def figures(self, found: Verification) -> str:
        told = (f"{name} {value}" for name, value in found.report.items() if name != "findings")
        return ", ".join(told) or "-"

    @admin.display(description="findings")
    def findings(self, found: Verification) -> str:
        lines = [(f"{one['what']}: {one['problem']}",) for one in found.report.get("findings", [])[:100]]
        return format_html("<ul>{}</ul>", format_html_join("", "<li>{}</li>", lines)) if lines else "-"


@admin.register(AuditDetail)
class AuditDetailAdmin(ReadOnlyModelAdmin):
    list_display = ["log_id", "ip", "user_agent"]
    search_fields = ["ip__exact"]
    ordering = ["-log_id"]
    exclude = ["salt"]


@admin.register(Seal)
class SealAdmin(ReadOnlyModelAdmin):
    list_display = ["number", "at", "until_at", "rows", "shown_hash"]
    exclude = ["previous", "content", "hash", "members", "leaves"]
    readonly_fields = ["shown_hash"]
    ordering = ["-number"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Seal]:
        seals: QuerySet[Seal] = super().get_queryset(request)
        return seals.defer("members", "leaves")

    @admin.display(description="hash")
    def shown_hash(self, seal: Seal) -> str:
        return bytes(seal.hash).hex()


@admin.register(Approval)
class ApprovalAdmin(ReadOnlyModelAdmin):
    list_display = ["created_at", "summary", "state", "requester", "approver", "expires_at"]
    list_display_links = ["created_at", "summary"]
    list_select_related = ["requester", "approver"]
    list_filter = ["state"]
    search_fields = ["id__exact", "customer__id__exact", "requester__email__startswith"]
    search_help_text = "A whole id of an approval or a customer, or the beginning of the requester's address"
    ordering = ["-created_at"]
    customer = "customer_id"
    fieldsets = [
        (None, {"fields": ["summary", "requester", "customer", "at_stake", "reason", "state", "expires_at"]}),
        ("What was decided", {"fields": ["approver", "decision_reason", "decided_at", "executed_at"]}),
        ("To the letter", {"fields": ["created_at", "act", "payload"]}),
    ]
    readonly_fields = ["at_stake"]
    actions_detail = ["approve", "refuse"]

    def is_apt(self, act: str, found: Approval) -> bool:
        return found.state == ApprovalState.PENDING

    @admin.display(description="at stake")
    def at_stake(self, approval: Approval) -> str:
        return display(approval.amount, approval.unit) if approval.amount else "-"

    @act(
        "Approve",
        permission="audit.decide_approval",
        explanation="It is done at once, in your name beside the requester's.",
        form=PreviewForm,
        preview=lambda approval, given: approvals.rehearse(
            approval.pk, approver=given["actor"], reason=given["reason"]
        ),
        variant=ActionVariant.PRIMARY,
    )
    def approve(self, request: HttpRequest, approval: Approval, given: dict[str, Any]) -> str:
        approvals.approve(approval.pk, approver=request.user, reason=given["reason"])
        return f"Approved and done: {approval.summary}"

    @act("Refuse", permission="audit.decide_approval", explanation="It will not be done.")
    def refuse(self, request: HttpRequest, approval: Approval, given: dict[str, Any]) -> str:
        approvals.refuse(approval.pk, approver=request.user, reason=given["reason"])
        return "Refused."


@admin.register(DayTotal)
class DayTotalAdmin(ReadOnlyModelAdmin):
    list_display = ["day", "scope", "total"]
    search_fields = ["scope__exact"]
    ordering = ["-day", "scope"]

    @admin.display(description="moved")
    def total(self, row: DayTotal) -> str:
        return display(row.amount, row.unit)
