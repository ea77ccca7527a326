"""People, sessions and verification links in the ops console."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from django import forms
from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin as DjangoGroupAdmin
from django.contrib.auth.models import Group
from django.core.exceptions import ValidationError
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django_otp.plugins.otp_static.models import StaticDevice
from django_otp.plugins.otp_totp.models import TOTPDevice
from unfold.enums import ActionVariant
from unfold.forms import UserCreationForm

from accounts import looks, mfa, staff, standing, verification
from accounts.emails import fold
from accounts.models import (
    EmailChange,
    EmailVerification,
    Erasure,
    Export,
    Look,
    PasswordReset,
    Session,
    User,
    UserStatus,
)
from core.admin import ModelAdmin, ReadOnlyModelAdmin, act

admin.site.unregister(Group)
for name, device in (("otp_static", StaticDevice), ("otp_totp", TOTPDevice)):
    import_module(f"django_otp.plugins.{name}.admin")  # registers it, and comes after us otherwise
    admin.site.unregister(device)  # its pages show secrets; accounts.mfa looks after it


@admin.register(Group)
class GroupAdmin(DjangoGroupAdmin, ModelAdmin):  # type: ignore[misc]
    """The staff groups and what they may do."""


class StaffCreationForm(UserCreationForm):
    usable_password = None  # nobody here signs in without one

    class Meta:
        model = User
        fields = ("email", "first_name", "last_name")

    def clean_email(self) -> str:
        try:
            return fold(self.cleaned_data["email"])
        except ValueError as error:
            raise ValidationError("Enter a valid email address.") from error


@admin.register(User)
class UserAdmin(ModelAdmin):
    """Customers register themselves: adding here makes staff. Passwords are nobody's to choose for another."""

    list_display = ["created_at", "email", "name", "status", "verified_at", "is_staff"]
    list_display_links = ["created_at", "email"]
    list_filter = ["status", "is_staff"]
    search_fields = ["email__startswith"]
    search_help_text = "The beginning of the e-mail address, or the whole id"
    ordering = ["-created_at"]
    filter_horizontal = ["groups"]
    customer = "pk"
    actions_detail = [
        "suspend",
        "reinstate",
        "look_as",
        {"title": "More", "items": ["vouch", "remind", "sign_out", "reset_mfa"]},
    ]
    add_fieldsets = [(None, {"fields": ["email", "first_name", "last_name", "password1", "password2"]})]
    fieldsets = [
        (
            None,
            {
                "fields": [
                    "everything",
                    "id",
                    "email",
                    "username",
                    "first_name",
                    "last_name",
                    "bio",
                    "locale",
                    "currency",
                ]
            },
        ),
        ("Standing", {"fields": ["status", "verified_at", "epoch", "created_at", "updated_at", "last_login"]}),
        ("Staff", {"fields": ["is_staff", "is_superuser", "groups"]}),
    ]

    @admin.display(description="balances, timeline, acts")
    def everything(self, user: User) -> str:
        page = reverse("console-customer", args=[user.pk])
        return format_html('<a href="{}" class="linked">Everything about this person</a>', page)

    @admin.display
    def name(self, user: User) -> str:
        return user.get_full_name()

    def get_form(self, request: HttpRequest, obj: User | None = None, change: bool = False, **kwargs: Any) -> Any:
        if obj is None:
            kwargs["form"] = StaffCreationForm
        return super().get_form(request, obj, change=change, **kwargs)

    def get_fieldsets(self, request: HttpRequest, obj: User | None = None) -> Any:
        return self.fieldsets if obj else self.add_fieldsets

    def get_readonly_fields(self, request: HttpRequest, obj: User | None = None) -> list[str]:
        if obj is None:
            return []
        shown = [name for _, options in self.fieldsets for name in options["fields"]]
        # Only a superuser makes staff, so that nobody can widen their own rights.
        may_edit = {*staff.EDITABLE, "groups"} if request.user.is_superuser else {"first_name", "last_name"}
        return [name for name in shown if name not in may_edit]

    def has_add_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.is_superuser)

    def has_delete_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        return False

    def get_search_results(self, request: HttpRequest, queryset: Any, search_term: str) -> tuple[Any, bool]:
        try:
            return queryset.filter(pk=search_term.strip()), False
        except ValidationError:
            found: tuple[Any, bool] = super().get_search_results(request, queryset, search_term.strip().casefold())
            return found

    def save_model(self, request: HttpRequest, obj: User, form: forms.ModelForm, change: bool) -> None:
        if not change:
            staff.create(obj, actor=_actor(request))
            return
        changes = {name: form.cleaned_data[name] for name in form.changed_data if name in staff.EDITABLE}
        if changes:
            staff.update(obj, changes, actor=_actor(request))

    def save_related(self, request: HttpRequest, form: forms.ModelForm, formsets: Any, change: bool) -> None:
        user: User = form.instance
        before = set(user.groups.values_list("name", flat=True))
        super().save_related(request, form, formsets, change)
        after = set(user.groups.values_list("name", flat=True))
        if before != after:
            staff.note_groups(user, before=before, after=after, actor=_actor(request))

    def is_apt(self, act: str, found: User) -> bool:
        match act:
            case "suspend":
                return found.status == UserStatus.ACTIVE
            case "reinstate":
                return found.status == UserStatus.SUSPENDED
            case "vouch" | "remind":
                return not found.is_verified
            case "reset-mfa":
                return found.is_staff and mfa.is_enrolled(found)
            case "look-as":
                return looks.may_be_looked_at(found)
        return True

    @act(
        "Suspend",
        permission="accounts.suspend_user",
        explanation="Shuts the person out at once. What they have ordered is finished as promised.",
        variant=ActionVariant.DANGER,
    )
    def suspend(self, request: HttpRequest, user: User, given: dict[str, Any]) -> str:
        standing.suspend(user, actor=_actor(request), reason=given["reason"])
        return "Suspended; all sessions are ended."

    @act(
        "Reinstate",
        permission="accounts.suspend_user",
        explanation="Lets the person sign in again.",
        variant=ActionVariant.PRIMARY,
    )
    def reinstate(self, request: HttpRequest, user: User, given: dict[str, Any]) -> str:
        standing.reinstate(user, actor=_actor(request), reason=given["reason"])
        return "Reinstated."

    @act(
        "Look as customer",
        permission=looks.LOOK,
        explanation="For a quarter of an hour you read what this person's own app shows, and can change nothing. The "
        "person sees in their activity that support looked, and the reason that you give here.",
        leads_to="console-look",
    )
    def look_as(self, request: HttpRequest, user: User, given: dict[str, Any]) -> str:
        looks.begin(user, actor=_actor(request), reason=given["reason"])
        return "You look as this person for a quarter of an hour."

    @act(
        "Verify the mailbox",
        permission="accounts.verify_user",
        explanation="Takes the address for proved by your word, with the sign-up credits if they are due.",
    )
    def vouch(self, request: HttpRequest, user: User, given: dict[str, Any]) -> str:
        standing.vouch(user, actor=_actor(request), reason=given["reason"])
        return "The mailbox counts as verified."

    @act(
        "Resend verification",
        permission="accounts.remind_user",
        explanation="At most one mail a minute and ten a day are sent.",
    )
    def remind(self, request: HttpRequest, user: User, given: dict[str, Any]) -> str:
        sent = verification.resend(user, reason=given["reason"])
        return "A mail is on its way." if sent else "No mail was due: verified, or written to a moment ago."

    @act(
        "End all sessions",
        permission="accounts.sign_out_user",
        explanation="Signs the person out everywhere, in the console too.",
    )
    def sign_out(self, request: HttpRequest, user: User, given: dict[str, Any]) -> str:
        standing.sign_out(user, actor=_actor(request), reason=given["reason"])
        return "All sessions are ended."

    @act(
        "Reset two-step sign-in",
        permission="accounts.reset_mfa_user",
        explanation="Removes the app and the recovery codes, ends all sessions and tells the person by mail.",
        variant=ActionVariant.DANGER,
    )
    def reset_mfa(self, request: HttpRequest, user: User, given: dict[str, Any]) -> str:
        standing.reset_mfa(user, actor=_actor(request), reason=given["reason"])
        return "Reset; the person sets up a new app at the next sign-in."


def _actor(request: HttpRequest) -> User:
    assert isinstance(request.user, User)
    return request.user


@admin.register(Session)
class SessionAdmin(ReadOnlyModelAdmin):
    list_display = ["created_at", "user", "ip", "user_agent", "last_seen_at", "expires_at", "ended_at", "end_reason"]
    list_select_related = ["user"]
    list_filter = ["end_reason", "remember"]
    search_fields = ["user__email__startswith", "ip__exact"]
    ordering = ["-created_at"]


@admin.register(EmailVerification, EmailChange, PasswordReset)
class MailedLinkAdmin(ReadOnlyModelAdmin):
    list_display = ["created_at", "user", "email", "expires_at", "used_at"]
    list_select_related = ["user"]
    search_fields = ["email__exact"]
    ordering = ["-id"]
    exclude = ["token_hash"]


@admin.register(Erasure)
class ErasureAdmin(ReadOnlyModelAdmin):
    list_display = ["created_at", "user_id", "waits_for", "tries", "next_at", "anonymised_at", "finished_at"]
    search_fields = ["user__id__exact"]
    ordering = ["-created_at"]


@admin.register(Export)
class ExportAdmin(ReadOnlyModelAdmin):
    """That there is one, not what is in it: the file is its owner's."""

    list_display = ["created_at", "user", "state", "bytes", "tries", "ready_at", "expires_at"]
    list_select_related = ["user"]
    list_filter = ["state"]
    search_fields = ["user__email__exact"]
    ordering = ["-id"]
    exclude = ["file"]


@admin.register(Look)
class LookAdmin(ReadOnlyModelAdmin):
    list_display = ["created_at", "user", "actor", "reason", "ends_at"]
    list_select_related = ["user", "actor"]
    search_fields = ["user__id__exact", "user__email__startswith"]
    search_help_text = "A whole user id, or the beginning of the e-mail address"
    ordering = ["-id"]
