"""The catalogue and its imports in the ops console: plan, look at the difference, apply, roll back, export."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from unfold.decorators import action
from unfold.widgets import UnfoldAdminFileFieldWidget

from core.admin import ModelAdmin, ReadOnlyModelAdmin, act
from core.errors import Error
from wearables import catalogue, exports, imports
from wearables.models import Customization, Former, Import, ImportState, Selection, Wearable

IMPORT = "wearables.apply_import"


@admin.register(Wearable)
class WearableAdmin(ModelAdmin):
    list_display = ["code", "name", "category", "style", "color", "has_image", "is_active", "sort_order", "updated_at"]
    list_filter = ["is_active", "has_image"]
    search_fields = ["code__exact", "words__contains"]
    ordering = ["code"]
    readonly_fields = ["has_image", "words", "origin", "created_at", "updated_at"]
    actions_list = ["export"]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return [*self.readonly_fields, *(["code"] if obj else [])]

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def get_search_results(self, request: HttpRequest, queryset: Any, search_term: str) -> Any:
        """Codes are as they are; words are kept in small letters."""
        if Wearable.objects.filter(code=search_term.strip()).exists():
            return queryset.filter(code=search_term.strip()), False
        return (queryset.filter(words__contains=search_term.strip().lower()) if search_term else queryset), False

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        catalogue.save(obj, changed=form.changed_data, actor=request.user)

    @action(description="Export as CSV", url_path="export", icon="download")
    def export(self, request: HttpRequest) -> StreamingHttpResponse:
        if not self.has_view_permission(request):
            raise PermissionDenied
        headers = {"Content-Disposition": 'attachment; filename="wearables.csv"'}
        return StreamingHttpResponse(exports.csv_lines(), content_type="text/csv; charset=utf-8", headers=headers)


class PlanForm(forms.Form):
    file = forms.FileField(
        label="CSV file",
        widget=UnfoldAdminFileFieldWidget,
        help_text="ID, Category, Wearable Item, and any other field. What it would do is shown before it is done.",
    )


@admin.register(Import)
class ImportAdmin(ReadOnlyModelAdmin):
    list_display = ["created_at", "filename", "state", "figures", "actor", "applied_at", "rolled_back_at"]
    list_select_related = ["actor"]
    list_filter = ["state"]
    ordering = ["-created_at"]
    fields = [
        "filename",
        "state",
        "actor",
        "created_at",
        "applied_at",
        "rolled_back_at",
        "sha256",
        "figures",
        "differences",
        "errors",
        "duplicates",
    ]
    readonly_fields = fields
    actions_list = ["plan"]
    actions_detail = ["apply", "roll_back"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Import]:
        found: QuerySet[Import] = super().get_queryset(request)
        return found.defer("content")

    def is_apt(self, act: str, found: Import) -> bool:
        return found.state == (ImportState.PLANNED if act == "apply" else ImportState.APPLIED)

    @action(description="Plan an import", url_path="plan", icon="upload_file")
    def plan(self, request: HttpRequest) -> HttpResponse:
        if not request.user.has_perm(IMPORT):
            raise PermissionDenied
        form = PlanForm(request.POST or None, request.FILES or None)
        if form.is_valid():
            given = form.cleaned_data["file"]
            try:
                if given.size > imports.PLAN_MAX_BYTES:
                    raise imports.too_large()
                made = imports.plan(content=given.read(), filename=given.name, actor=request.user)
            except Error as error:
                form.add_error("file", error.message)
            else:
                messages.success(request, "Planned, nothing is changed yet: look at it, then apply it.")
                return redirect(reverse("admin:wearables_import_change", args=[made.pk]))
        shown = self.admin_site.each_context(request) | {"form": form, "opts": self.opts, "title": "Plan an import"}
        return render(request, "admin/wearables_plan.html", shown)

    @act("Apply", permission=IMPORT, explanation="Does what is shown here. It can be taken back until the next one.")
    def apply(self, request: HttpRequest, made: Import, given: dict[str, Any]) -> str:
        imports.apply(import_id=made.pk, actor=request.user, reason=given["reason"])
        return "Applied."

    @act(
        "Roll back",
        permission=IMPORT,
        explanation="Changed items become what they were, new ones are switched off. What was edited since stays.",
    )
    def roll_back(self, request: HttpRequest, made: Import, given: dict[str, Any]) -> str:
        done = imports.roll_back(import_id=made.pk, actor=request.user, reason=given["reason"])
        return ", ".join(f"{count} {what.replace('_', ' ')}" for what, count in done.items()) + "."

    @admin.display(description="figures")
    def figures(self, made: Import) -> str:
        names = ("rows", "new", "changed", "same", "bad", "repeated")
        return ", ".join(f"{made.report.get(name, 0)} {name}" for name in names)

    @admin.display(description="what changes (the first of it)")
    def differences(self, made: Import) -> str:
        return _lines(
            f"{told['code']} {told['name']}: "
            + "; ".join(f"{field}: {old!s} → {new!s}" for field, (old, new) in told["changed"].items())
            for told in made.report.get("differences", [])
        )

    @admin.display(description="lines left out (the first of them)")
    def errors(self, made: Import) -> str:
        return _lines(f"line {told['line']} {told['code']}: {told['reason']}" for told in _first(made, "errors"))

    @admin.display(description="repeated (the first of them)")
    def duplicates(self, made: Import) -> str:
        return _lines(
            f"line {told['line']}: {told['code']} stands again in line {told['won']}, which counts"
            for told in _first(made, "duplicates")
        )


def _first(made: Import, what: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = made.report.get(what, [])
    return found[:100]


def _lines(lines: Any) -> str:
    told = format_html_join("", "<li>{}</li>", ((line,) for line in lines))
    return format_html("<ul>{}</ul>", told) if told else "-"


@admin.register(Former)
class FormerAdmin(ReadOnlyModelAdmin):
    list_display = ["of_import", "wearable"]
    list_select_related = ["of_import", "wearable"]
    search_fields = ["wearable__code__exact"]
    ordering = ["-id"]


@admin.register(Selection)
class SelectionAdmin(ReadOnlyModelAdmin):
    list_display = ["created_at", "user", "wearable"]
    list_select_related = ["user", "wearable"]
    search_fields = ["user__email__exact", "wearable__code__exact"]
    ordering = ["-id"]


@admin.register(Customization)
class CustomizationAdmin(ReadOnlyModelAdmin):
    list_display = ["created_at", "user", "name", "wearable", "updated_at"]
    list_select_related = ["user", "wearable"]
    search_fields = ["id__exact", "user__email__exact"]
    ordering = ["-id"]
