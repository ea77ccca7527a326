"""The pages' views: each asks one of the modules beside it."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.views.decorators.http import require_safe

from accounts import looks
from accounts.models import User
from billing import sales
from core.errors import NotFound
from core.errors import PermissionDenied as Refused
from dashboard.console import customer as customers
from dashboard.console import invariants as rules
from dashboard.console import looking, scoreboard, search
from dashboard.console.charts import SPANS

REASON = 500  # characters, as everywhere that staff say why


def find(request: HttpRequest) -> HttpResponse:
    """The page that is meant, or the list of those that may be."""
    text = request.GET.get("q", "")
    hits = search.find(request, text)
    if len(hits) == 1:
        return redirect(hits[0].url)
    return _page(request, "console/find.html", "Search", hits=hits, text=text)


def invariants(request: HttpRequest) -> HttpResponse:
    if not request.user.has_perm("billing.view_bookcheck"):
        raise PermissionDenied
    if request.method == "POST":
        return _stop_sales(request)
    shown = {"may_stop": request.user.has_perm(sales.STOP), "stopped": sales.standing().stop, **rules.page()}
    return _page(request, "console/invariants.html", "Invariants", **shown)


def _stop_sales(request: HttpRequest) -> HttpResponse:
    """Have an invariant stop sales, or let them go on."""
    name, reason = request.POST.get("name", ""), request.POST.get("reason", "").replace("\0", "").strip()
    if not reason or len(reason) > REASON:
        messages.error(request, f"Say why, in at most {REASON} characters.")
        return redirect("console-invariants")
    try:
        if "clear" in request.POST:
            sales.may_not_stop(name, actor=request.user, reason=reason)
            messages.success(request, f"“{name}” does not stop sales.")
        else:
            sales.may_stop(name, actor=request.user, reason=reason)
            messages.success(request, f"“{name}” stops sales while it is broken.")
    except NotFound as error:
        raise Http404 from error
    except Refused as error:
        raise PermissionDenied from error
    return redirect("console-invariants")


def providers(request: HttpRequest) -> HttpResponse:
    if not request.user.has_perm("generation.view_attempt"):
        raise PermissionDenied
    span = SPANS.get(request.GET.get("span", ""), SPANS["24h"])
    shown = {"span": span, "spans": SPANS.values(), "providers": scoreboard.of(span)}
    return _page(request, "console/providers.html", "Providers", **shown)


def customer(request: HttpRequest, pk: UUID) -> HttpResponse:
    if not request.user.has_perm("accounts.view_user"):
        raise PermissionDenied
    person = User.objects.filter(pk=pk).first()
    if person is None:
        raise Http404
    before = request.GET.get("before", "")
    return _page(request, "console/customer.html", person.email, **customers.page(request, person, before=before))


@require_safe
def look(request: HttpRequest, pk: UUID, code: str = "account") -> HttpResponse:
    """A page of what a customer sees, while the person asking has said why they look."""
    if not request.user.has_perm(looks.LOOK):
        raise PermissionDenied
    found = looks.live(pk, actor=request.user)
    if found is None:
        messages.warning(request, "That look is over; begin another one, if you have to.")
        return redirect("console-customer", pk)
    section = looking.SECTIONS.get(code)
    if section is None:
        raise Http404
    if not request.user.has_perms(section.needed):
        raise PermissionDenied
    asked = request.GET.get("page", "")
    page = max(1, int(asked)) if asked.isdecimal() and len(asked) < 9 else 1
    looks.note(found, section=section.code)
    answer = looking.read(found, section, page=page)
    values = {"look": found, "section": section, "sections": looking.sections(request.user), "answer": answer}
    return _page(request, "console/look.html", f"{found.user.email}: {section.title}", **values, number=page)


def _page(request: HttpRequest, template: str, title: str, **values: Any) -> HttpResponse:
    return TemplateResponse(request, template, {**admin.site.each_context(request), "title": title, **values})
