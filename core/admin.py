"""The base of every admin page: made for big tables, and read-only where the books are."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any, cast
from urllib.parse import urlsplit
from uuid import UUID

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.utils import unquote
from django.contrib.admin.widgets import ForeignKeyRawIdWidget
from django.core.exceptions import PermissionDenied, ValidationError
from django.core.paginator import Paginator
from django.db import models
from django.db.models.constants import LOOKUP_SEP
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.functional import cached_property
from django.utils.html import format_html, format_html_join
from django.utils.http import url_has_allowed_host_and_scheme
from unfold.admin import ModelAdmin as UnfoldModelAdmin
from unfold.decorators import action
from unfold.enums import ActionVariant
from unfold.forms import BaseDialogForm
from unfold.widgets import UnfoldAdminTextareaWidget, UnfoldAdminTextInputWidget

from core import context, sql
from core.errors import Error
from core.ids import highest_id, lowest_id
from core.models import IdempotencyKey, StoredObject, Tally
from core.money import EXPONENTS, major, typed

COUNTED_UP_TO = 10_000
FOUND_UP_TO = 1_000
RECENT = 500
READS_FOR_S = 8
CLOCKS_DIFFER = timedelta(days=1)


class BoundedPaginator(Paginator):
    """Counts only so far: what comes after it is found by searching and filtering, not by turning pages."""

    @cached_property
    def count(self) -> int:
        rows = self.object_list
        return rows.order_by()[:COUNTED_UP_TO].count() if isinstance(rows, models.QuerySet) else super().count


class RecentValuesFilter(admin.AllValuesFieldListFilter):
    """The values that the newest rows have: asking for all there are would read the whole table."""

    def __init__(self, field: Any, request: HttpRequest, params: Any, model: Any, *rest: Any, **more: Any) -> None:
        super().__init__(field, request, params, model, *rest, **more)
        newest = model._default_manager.order_by("-pk").values(field.name)[:RECENT]
        self.lookup_choices: Any = sorted({row[field.name] for row in newest if row[field.name]})


class BornFilter(admin.DateFieldListFilter):
    """When rows were made. Their ids are of that time, too, give or take another machine's clock: so a list in the
    order of its ids finds them by that index."""

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        found: Any = super().queryset(request, queryset)
        since, until = (self._moment(name) for name in (self.lookup_kwarg_since, self.lookup_kwarg_until))
        if since is not None:
            found = found.filter(pk__gte=lowest_id(since - CLOCKS_DIFFER))
        if until is not None:
            found = found.filter(pk__lte=highest_id(until + CLOCKS_DIFFER))
        return found

    def _moment(self, name: str) -> datetime | None:
        given: Any = self.used_parameters.get(name)
        moment = forms.DateTimeField().clean(given[-1]) if given else None
        return moment if moment is None or timezone.is_aware(moment) else timezone.make_aware(moment)


class ModelAdmin(UnfoldModelAdmin):
    """Lists without exact counts of big tables, searches by index, foreign keys without drop-downs."""

    paginator = BoundedPaginator
    show_full_result_count = False
    list_per_page = 50
    warn_unsaved_form = True
    customer = "user_id"  # the way to whose a row is, if it is anybody's

    def get_actions_detail(self, request: HttpRequest, object_id: Any) -> Any:
        found = self.get_object(request, str(object_id)) if self.actions_detail else None
        return [] if found is None else self.buttons(request, found)

    def buttons(self, request: HttpRequest, found: Any) -> list[Any]:
        """The object's acts that make sense now, and that the person asking may do."""
        return [
            button
            for button in super().get_actions_detail(request, found.pk)
            if request.user.has_perm(button.method.permission) and self.is_apt(button.method.url_path, found)
        ]

    def is_apt(self, act: str, found: Any) -> bool:
        """Whether the button makes sense for the object as it is now; its act decides for itself all the same."""
        return True

    def customer_of(self, found: Any) -> UUID | None:
        """Whose it is: what staff do to it is on record as done on their behalf."""
        for name in self.customer.split("."):
            found = getattr(found, name, None)
        return cast("UUID | None", found)

    def get_list_filter(self, request: HttpRequest) -> list[Any]:
        return [(name, RecentValuesFilter) if self._is_free(name) else name for name in self.list_filter]

    def _is_free(self, name: Any) -> bool:
        if not isinstance(name, str):
            return False
        field = self.opts.get_field(name)
        return isinstance(field, models.CharField) and not field.choices

    def get_search_results(self, request: HttpRequest, queryset: Any, search_term: str) -> tuple[Any, bool]:
        """What any of the fields says, each looked up by itself: an OR over several tables would read them whole."""
        term = search_term.strip()
        if not term:
            return queryset, False
        each = [self._search_one(field, term) for field in self.get_search_fields(request)]
        first, *others = [found.order_by().values("pk")[:FOUND_UP_TO] for found in each if found is not None] or [
            queryset.none().values("pk")
        ]
        return queryset.filter(pk__in=first.union(*others) if others else first), False

    def _search_one(self, field: str, term: str) -> Any:
        lookup = field if LOOKUP_SEP in field else f"{field}__icontains"
        found = self.model._default_manager
        try:
            found = found.filter(**{lookup: term})
            found.query.sql_with_params()
        except (ValidationError, ValueError):
            return None  # a word is no UUID, nor an address of the network
        return found

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        """The list, unless a filter that no index serves would read a big table for too long."""
        try:
            with sql.each_within(READS_FOR_S):
                answer: Any = super().changelist_view(request, extra_context)
                return answer.render() if hasattr(answer, "render") else answer  # type: ignore[no-any-return]
        except sql.TookTooLong:
            if not request.GET:
                raise
        messages.warning(request, "That would have read too much. Search for an id, or narrow it by date or state.")
        return redirect(request.path)

    def get_autocomplete_fields(self, request: HttpRequest) -> Any:
        return self.autocomplete_fields

    def formfield_for_foreignkey(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        if db_field.name not in self.get_autocomplete_fields(request) and "widget" not in kwargs:
            kwargs["widget"] = ForeignKeyRawIdWidget(db_field.remote_field, self.admin_site)
        return super().formfield_for_foreignkey(db_field, request, **kwargs)


def only(title: str, parameter: str, value: str, narrow: Callable[[Any], Any]) -> type[admin.SimpleListFilter]:
    """A filter with one choice besides everything: the rows that `narrow` leaves."""

    class Only(admin.SimpleListFilter):
        def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
            return [(value, "Yes")]

        def queryset(self, request: HttpRequest, queryset: Any) -> Any:
            return narrow(queryset) if self.value() == value else queryset

    Only.title = title
    Only.parameter_name = parameter
    return Only


class ReasonForm(BaseDialogForm):
    """What every act of staff asks."""

    reason = forms.CharField(max_length=500, widget=UnfoldAdminTextareaWidget(attrs={"rows": 3}))


class MoneyField(forms.CharField):
    """An amount that staff read and type in the currency's major unit; what it begins with and what comes of it are in
    the minor unit."""

    currency = ""  # the form's to say, before the field is cleaned

    def __init__(self, **kwargs: Any) -> None:
        widget = UnfoldAdminTextInputWidget(attrs={"inputmode": "decimal"})
        super().__init__(**{"max_length": 20, "widget": widget} | kwargs)

    def prepare_value(self, value: Any) -> Any:
        return major(value, self.currency) if isinstance(value, int) and self.currency else value

    def clean(self, value: Any) -> Any:
        text = super().clean(value)
        if self.currency not in EXPONENTS:
            raise ValidationError("Say in which currency.")
        try:
            return typed(text, self.currency)
        except ValueError as error:
            raise ValidationError(str(error)) from error

    def has_changed(self, initial: Any, data: Any) -> bool:
        try:
            return bool(self.clean(data) != initial)
        except ValidationError:
            return True


class PreviewForm(ReasonForm):
    """Sent once it shows what would happen, and only sent again, with nothing else in it, does that happen."""

    seen = forms.CharField(required=False, widget=forms.HiddenInput)
    shown: Sequence[str] = ()

    def is_seen(self, lines: Sequence[str]) -> bool:
        """Whether the person has been shown just this; if not, the form shows it now."""
        told = "; ".join(lines)
        if self.cleaned_data["seen"] == told:
            return True
        self.data: Any = self.data.copy()
        self.data["seen"] = told
        self.shown = lines
        return False

    def render_before_template(self) -> str:
        if not self.shown:
            return ""
        told = format_html_join("", "<li>{}</li>", [(line,) for line in self.shown])
        return format_html(
            "<ul class='mb-3'>{}</ul><p class='mb-3'>Nothing is done yet. Confirm for just this.</p>", told
        )


def act(
    title: str,
    *,
    permission: str,
    explanation: str,
    form: type[ReasonForm] = ReasonForm,
    preview: Callable[[Any, dict[str, Any]], Sequence[str]] | None = None,
    variant: ActionVariant = ActionVariant.DEFAULT,
    icon: str | None = None,
    leads_to: str = "",
) -> Callable[[Callable[..., str]], Any]:
    """A button on an object's page, for `actions_detail`: it asks in a dialog, and the form's POST does it.

    The method gets the request, the object and the form's values, the actor among them, calls one topic function and
    answers what to tell.
    With `preview` and a PreviewForm, what it answers for the object and those values has to be seen first. `leads_to`
    names the page about the object that comes next, if not the one where the dialog was opened.
    """

    def declare(method: Callable[..., str]) -> Any:
        dialog = {"title": title, "description": explanation, "form_class": form, "form_submit_text": title}

        @functools.wraps(method)
        def run(self: ModelAdmin, request: HttpRequest, asked: ReasonForm, object_id: str) -> HttpResponse:
            found = self.get_object(request, unquote(object_id))
            if found is None or not self.has_view_permission(request, found):
                raise Http404
            given = asked.cleaned_data | {"actor": request.user}
            try:
                if preview and isinstance(asked, PreviewForm) and not asked.is_seen(preview(found, given)):
                    return _dialog(request, asked, dialog)
                with context.use(on_behalf_of_id=self.customer_of(found)):
                    said = method(self, request, found, given)
            except Error as error:
                asked.add_error("reason", error.message)
                return _dialog(request, asked, dialog)
            messages.success(request, said)
            site = f"{self.admin_site.name}:{self.opts.app_label}_{self.opts.model_name}"
            if self.get_object(request, unquote(object_id)) is None:  # the act was to remove it
                page = reverse(f"{site}_changelist")
            else:
                page = (not leads_to and _page_of(request)) or reverse(leads_to or f"{site}_change", args=[object_id])
            # The dialog is fetched by htmx, which is told to load the page anew; without it this is a plain redirect.
            if "HX-Request" in request.headers:
                return HttpResponse(status=204, headers={"HX-Redirect": page})
            return redirect(page)

        button = action(
            description=title,
            url_path=method.__name__.replace("_", "-"),
            variant=variant,
            icon=icon,
            dialog=dialog,
        )(run)

        # unfold's own way to ask for a named permission looks into the database whenever settings are checked.
        @functools.wraps(button)
        def guarded(self: ModelAdmin, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
            if not request.user.has_perm(permission):
                raise PermissionDenied
            answer: HttpResponse = button(self, request, *args, **kwargs)
            return answer

        guarded.permission = permission  # type: ignore[attr-defined]
        return guarded

    return declare


def _dialog(request: HttpRequest, asked: ReasonForm, dialog: dict[str, Any]) -> HttpResponse:
    """The dialog once more. Its button says whether it does what is shown, or only shows it anew."""
    is_shown = isinstance(asked, PreviewForm) and asked.shown and not asked.errors
    title = f"Confirm: {dialog['title']}" if is_shown else dialog["title"]
    return render(request, "unfold/helpers/dialog.html", {"dialog": dialog, "form": asked, "form_submit_text": title})


def _page_of(request: HttpRequest) -> str:
    """The page in the browser on which the dialog was opened: the object's own, or another of the console's."""
    shown = request.headers.get("HX-Current-URL", "")
    ours = url_has_allowed_host_and_scheme(shown, {request.get_host()}) and urlsplit(shown).path.startswith("/admin/")
    return urlsplit(shown)._replace(scheme="", netloc="").geturl() if ours else ""


def row_of(model: type[models.Model], object_id: Any) -> Any:
    """The row that a dialog is about, if there is one; the act answers for itself when there is none."""
    try:
        return model._default_manager.filter(pk=object_id).first()
    except (ValidationError, ValueError):
        return None


class ReadOnlyModelAdmin(ModelAdmin):
    """Nobody adds, changes or deletes here, superusers included."""

    def has_add_permission(self, request: HttpRequest, obj: models.Model | None = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: models.Model | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: models.Model | None = None) -> bool:
        return False


@admin.register(IdempotencyKey)
class IdempotencyKeyAdmin(ReadOnlyModelAdmin):
    list_display = ["created_at", "method", "route", "status", "user"]
    list_select_related = ["user"]
    list_filter = ["method", "status"]
    exclude = ["body", "fingerprint"]


@admin.register(StoredObject)
class StoredObjectAdmin(ReadOnlyModelAdmin):
    list_display = ["created_at", "key", "expires_at"]
    search_fields = ["key__exact"]
    ordering = ["-id"]


@admin.register(Tally)
class TallyAdmin(ReadOnlyModelAdmin):
    list_display = ["name", "labels", "n"]
    search_fields = ["name__exact"]
    ordering = ["-id"]
