"""The ops console's door: after the password the second factor, and the pages where staff look after theirs."""

from __future__ import annotations

from functools import partial
from typing import Any, cast

import segno
from django.contrib.auth import REDIRECT_FIELD_NAME, logout
from django.contrib.auth.views import PasswordChangeView
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.decorators import method_decorator
from django.utils.http import url_has_allowed_host_and_scheme, urlencode
from django.utils.safestring import SafeString, mark_safe
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from unfold.sites import UnfoldAdminSite

from accounts import mfa, sessions
from accounts.errors import OtpInvalid, PasswordWrong
from accounts.forms import CodeForm, ConsolePasswordForm, EnrolForm
from accounts.models import User
from core import context, ratelimit
from core.errors import Error

PASSED = "mfa_passed"
NEW_APP = "mfa_new_app"  # the secret of one that is being set up; a device exists only once a code has proved it

guarded = method_decorator([never_cache, sensitive_post_parameters()])


class Console(UnfoldAdminSite):  # type: ignore[misc]
    """Nobody is inside without the second factor, where it is required."""

    def has_permission(self, request: HttpRequest) -> bool:
        return self.has_password(request) and (
            not mfa.is_asked_of(_person(request)) or bool(request.session.get(PASSED))
        )

    def has_password(self, request: HttpRequest) -> bool:
        """Whether a member of staff has given their password: the first step."""
        return bool(super().has_permission(request))

    def login(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        if self.has_password(request) and not self.has_permission(request):
            return self._onwards(request, "admin:second_step")
        answer: HttpResponse = super().login(request, extra_context)
        return answer

    def password_change(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        view = PasswordChangeView.as_view(
            form_class=partial(ConsolePasswordForm, request=request),
            template_name=self.password_change_template or "registration/password_change_form.html",
            success_url=reverse("admin:password_change_done"),
            extra_context={**self.each_context(request), **(extra_context or {})},
        )
        try:
            return cast(HttpResponse, view(request))
        except PasswordWrong:  # changed by another request since the form was checked
            return redirect("admin:password_change")

    def extra_urls(self) -> list[URLPattern]:
        return [
            path("second-step/", self.second_step, name="second_step"),
            path("two-step/", self.admin_view(self.overview), name="mfa"),
            path("two-step/app/", self.enrol, name="mfa_enrol"),
        ]

    @guarded
    def second_step(self, request: HttpRequest) -> HttpResponse:
        """Ask for a code of the app, or a recovery code."""
        if "leave" in request.POST:
            logout(request)
        if not self.has_password(request):
            return self._onwards(request, "admin:login")
        if self.has_permission(request):
            return self._enter(request)
        user = _person(request)
        if not mfa.is_enrolled(user):
            return self._onwards(request, "admin:mfa_enrol")
        form = CodeForm(request.POST or None)
        if form.is_valid():
            try:
                _count_refusals(request, user, lambda: mfa.prove(user, form.cleaned_data["code"]))
            except Error as error:
                form.add_error("code", error.message)
            else:
                _let_in(request, user)
                return self._enter(request)
        return self._page(request, "admin/second_step.html", "Second step", form=form)

    @guarded
    def enrol(self, request: HttpRequest) -> HttpResponse:
        """Set up the app. Whoever has one already must be inside, and proves it once more."""
        if not self.has_password(request):
            return self._onwards(request, "admin:login")
        user = _person(request)
        is_enrolled = mfa.is_enrolled(user)
        if is_enrolled and not self.has_permission(request):
            return self._onwards(request, "admin:second_step")
        secret = request.session.setdefault(NEW_APP, mfa.new_secret())
        form = EnrolForm(request.POST or None, is_enrolled=is_enrolled)
        if form.is_valid():
            given = form.cleaned_data
            try:
                codes = _count_refusals(
                    request,
                    user,
                    lambda: mfa.enrol(user, secret=secret, code=given["code"], current=given.get("current", "")),
                )
            except Error as error:
                form.add_error("code", error.message)
            else:
                del request.session[NEW_APP]
                if not self.has_permission(request):
                    _let_in(request, user)
                return self._show(request, codes)
        uri = mfa.uri(user, secret)
        return self._page(
            request,
            "admin/mfa_enrol.html",
            "Set up two-step sign-in",
            form=form,
            is_enrolled=is_enrolled,
            secret=mfa.readable(secret),
            uri=uri,
            picture=_qr(uri),
        )

    @guarded
    def overview(self, request: HttpRequest) -> HttpResponse:
        """Whether one's second factor is set up, and new recovery codes for a code."""
        user = _person(request)
        is_enrolled = mfa.is_enrolled(user)
        form = CodeForm(request.POST or None)
        if is_enrolled and form.is_valid():
            code = form.cleaned_data["code"]
            try:
                return self._show(
                    request, _count_refusals(request, user, lambda: mfa.renew_recovery_codes(user, code=code))
                )
            except Error as error:
                form.add_error("code", error.message)
        return self._page(
            request,
            "admin/mfa.html",
            "Two-step sign-in",
            form=form,
            is_enrolled=is_enrolled,
            left=mfa.recovery_codes_left(user),
        )

    def _show(self, request: HttpRequest, codes: list[str]) -> HttpResponse:
        return self._page(request, "admin/mfa_codes.html", "Recovery codes", codes=codes, next=_next(request))

    def _page(self, request: HttpRequest, template: str, title: str, **values: Any) -> HttpResponse:
        return TemplateResponse(request, template, {**self.each_context(request), "title": title, **values})

    def _onwards(self, request: HttpRequest, name: str) -> HttpResponseRedirect:
        query = urlencode({REDIRECT_FIELD_NAME: _next(request)})
        return HttpResponseRedirect(f"{reverse(name)}?{query}")

    def _enter(self, request: HttpRequest) -> HttpResponseRedirect:
        return redirect(_next(request))


def _person(request: HttpRequest) -> User:
    assert isinstance(request.user, User)
    return request.user


def _next(request: HttpRequest) -> str:
    """Where the person was going, if that is within the console."""
    wanted = request.POST.get(REDIRECT_FIELD_NAME) or request.GET.get(REDIRECT_FIELD_NAME) or ""
    is_ours = url_has_allowed_host_and_scheme(
        wanted, allowed_hosts={request.get_host()}, require_https=request.is_secure()
    )
    return wanted if is_ours else reverse("admin:index")


def _count_refusals(request: HttpRequest, user: User, act: Any) -> Any:
    """Do what needs a code, counting wrong ones with all other failed sign-ins of the address.

    Raises: OtpInvalid, RateLimited, and what the act raises.
    """
    address = context.current().ip or "unknown"
    ratelimit.check(request, "failed_logins", address, count=False)
    try:
        return act()
    except OtpInvalid:
        ratelimit.usage(request, "failed_logins", address)
        sessions.note_console_login(user.email, None, reason="otp_invalid")
        raise


def _let_in(request: HttpRequest, user: User) -> None:
    request.session.cycle_key()
    request.session[PASSED] = True
    sessions.note_console_login(user.email, user)


def _qr(uri: str) -> SafeString:
    """The picture for the app's camera, as SVG in the page: nothing is fetched, and no file holds the secret."""
    code = segno.make_qr(uri, error="m")
    picture: str = code.svg_inline(scale=5, border=4, dark="#000", light="#fff", omitsize=True, svgclass=None)
    return mark_safe(picture)  # noqa: S308  segno draws paths from bits; no text of ours is in it
