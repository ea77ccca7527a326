"""The books in the ops console: to be read, never to be changed."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.db.models.functions import Now
from django.http import HttpRequest
from unfold.admin import TabularInline
from unfold.enums import ActionVariant
from unfold.widgets import UnfoldAdminIntegerFieldWidget

from audit.models import Approval
from billing import rehearsal, staff_grants, staff_refunds
from billing.models import (
    BookCheck,
    CreditLot,
    Debt,
    Freeze,
    Hold,
    LedgerEntry,
    LedgerTransaction,
    PromoSpending,
    SalesStop,
    SignUpGrant,
    StaffGrant,
    UserWalletKind,
    Wallet,
)
from core.admin import PreviewForm, ReadOnlyModelAdmin, act, only
from core.errors import NotFound
from core.ids import new_id


class GrantForm(PreviewForm):
    amount = forms.IntegerField(
        label="Credits", min_value=1, max_value=100_000, widget=UnfoldAdminIntegerFieldWidget(attrs={"min": 1})
    )
    # Sent twice, the form gives once.
    grant_id = forms.UUIDField(initial=new_id, widget=forms.HiddenInput)
    field_order = ["amount", "reason"]


class WaiverForm(PreviewForm):
    request_id = forms.UUIDField(initial=new_id, widget=forms.HiddenInput)


def _give(wallet: Wallet, given: dict[str, Any]) -> StaffGrant | Approval:
    if wallet.user_id is None:
        raise NotFound("Our own wallets get no credits.")
    return staff_grants.give(
        grant_id=given["grant_id"],
        user_id=wallet.user_id,
        amount=given["amount"],
        reason=given["reason"],
        actor=given["actor"],
    )


def _waive(debt: Debt, given: dict[str, Any]) -> Debt | Approval:
    return staff_refunds.waive(
        request_id=given["request_id"], debt_id=debt.pk, reason=given["reason"], actor=given["actor"]
    )


def _void(grant: StaffGrant, given: dict[str, Any]) -> StaffGrant:
    return staff_grants.void(grant.pk, actor=given["actor"], reason=given["reason"])


@admin.register(Wallet)
class WalletAdmin(ReadOnlyModelAdmin):
    list_display = ["created_at", "user", "kind", "unit", "balance", "held", "frozen", "available", "next_expiry_at"]
    list_display_links = ["created_at"]
    list_select_related = ["user"]
    list_filter = ["unit"]
    search_fields = ["id__exact", "user__id__exact", "user__email__startswith"]
    search_help_text = "A whole wallet or user id, or the beginning of the e-mail address"
    ordering = ["-id"]
    actions_detail = ["give"]

    def is_apt(self, act: str, found: Wallet) -> bool:
        return found.user_id is not None and found.kind == UserWalletKind.CREDITS

    @act(
        "Give credits",
        permission="billing.give_staffgrant",
        explanation="Within the day's limits they are there at once; beyond, a colleague has to approve.",
        form=GrantForm,
        preview=lambda wallet, given: rehearsal.of(lambda: _give(wallet, given), customer_id=wallet.user_id),
        variant=ActionVariant.PRIMARY,
    )
    def give(self, request: HttpRequest, wallet: Wallet, given: dict[str, Any]) -> str:
        done = _give(wallet, given)
        if isinstance(done, StaffGrant):
            return f"{done.amount} credits are given."
        return "This is beyond what you may give alone today: it waits for a colleague's approval."


class LedgerEntryInline(TabularInline):
    model = LedgerEntry
    fields = ["id", "wallet", "amount", "balance_after"]
    readonly_fields = fields
    can_delete = False
    max_num = 0


@admin.register(LedgerTransaction)
class LedgerTransactionAdmin(ReadOnlyModelAdmin):
    list_display = ["created_at", "kind", "key", "unit", "subject_type", "subject_id", "actor"]
    list_select_related = ["actor"]
    list_filter = ["kind", "unit"]
    search_fields = ["key__exact", "subject_id__exact", "id__exact"]
    search_help_text = "A whole key, or the id of a subject or transaction"
    ordering = ["-id"]
    inlines = [LedgerEntryInline]


@admin.register(LedgerEntry)
class LedgerEntryAdmin(ReadOnlyModelAdmin):
    list_display = ["id", "transaction", "wallet", "amount", "balance_after"]
    list_select_related = ["transaction", "wallet"]
    search_fields = ["wallet_id__exact", "transaction_id__exact"]
    search_help_text = "The whole id of a wallet or transaction"
    ordering = ["-id"]


@admin.register(Hold)
class HoldAdmin(ReadOnlyModelAdmin):
    list_display = ["created_at", "state", "key", "amount", "captured", "subject_type", "subject_id", "alarm_at"]
    list_filter = [
        "state",
        only("past its alarm", "due", "late", lambda rows: rows.filter(state=Hold.State.OPEN, alarm_at__lt=Now())),
    ]
    search_fields = ["key__exact", "subject_id__exact", "wallet_id__exact"]
    search_help_text = "A whole key, or the id of a subject or wallet"
    ordering = ["-id"]


@admin.register(CreditLot)
class CreditLotAdmin(ReadOnlyModelAdmin):
    list_display = ["created_at", "category", "amount", "remaining", "frozen", "expires_at", "source_type", "source_id"]
    list_filter = ["category"]
    search_fields = ["wallet_id__exact", "source_id__exact"]
    search_help_text = "The whole id of a wallet or source"
    ordering = ["-id"]


@admin.register(Freeze)
class FreezeAdmin(ReadOnlyModelAdmin):
    list_display = ["created_at", "state", "key", "amount", "wanted", "subject_type", "subject_id"]
    list_filter = ["state"]
    search_fields = ["key__exact", "subject_id__exact", "wallet_id__exact"]
    search_help_text = "A whole key, or the id of a subject or wallet"
    ordering = ["-id"]


@admin.register(Debt)
class DebtAdmin(ReadOnlyModelAdmin):
    list_display = ["created_at", "user", "unit", "amount", "remaining", "waived", "is_blocking", "cause"]
    actions_detail = ["waive"]
    list_display_links = ["created_at"]
    list_select_related = ["user"]
    list_filter = ["unit", "is_blocking"]
    search_fields = ["cause__exact", "user__id__exact", "user__email__startswith"]
    search_help_text = "A whole cause or user id, or the beginning of the e-mail address"
    ordering = ["-id"]

    def is_apt(self, act: str, found: Debt) -> bool:
        return found.remaining > 0

    @act(
        "Waive",
        permission="billing.waive_debt",
        explanation="Gives up what remains; beyond the day's limits a colleague has to approve.",
        form=WaiverForm,
        preview=lambda debt, given: rehearsal.of(lambda: _waive(debt, given), customer_id=debt.user_id),
        variant=ActionVariant.DANGER,
    )
    def waive(self, request: HttpRequest, debt: Debt, given: dict[str, Any]) -> str:
        done = _waive(debt, given)
        return "Waived." if isinstance(done, Debt) else "This waits for a colleague's approval."


@admin.register(SignUpGrant)
class SignUpGrantAdmin(ReadOnlyModelAdmin):
    list_display = ["created_at", "user", "outcome", "amount"]
    list_display_links = ["created_at"]
    list_select_related = ["user"]
    list_filter = ["outcome"]
    search_fields = ["user__id__exact", "user__email__startswith"]
    search_help_text = "A whole user id, or the beginning of the e-mail address"
    ordering = ["-id"]
    exclude = ["mailbox_hash"]


@admin.register(PromoSpending)
class PromoSpendingAdmin(ReadOnlyModelAdmin):
    list_display = ["day", "scope", "amount"]
    ordering = ["-day", "scope"]


@admin.register(BookCheck)
class BookCheckAdmin(ReadOnlyModelAdmin):
    list_display = ["began_at", "is_clean", "since", "took_ms"]
    list_filter = ["is_clean"]
    ordering = ["-began_at"]


@admin.register(SalesStop)
class SalesStopAdmin(ReadOnlyModelAdmin):
    """Set and cleared on the page of the invariants."""

    list_display = ["created_at", "name", "actor", "reason"]
    list_select_related = ["actor"]
    ordering = ["name"]


@admin.register(StaffGrant)
class StaffGrantAdmin(ReadOnlyModelAdmin):
    list_display = ["created_at", "user", "amount", "actor", "approval", "reason", "voided_at"]
    list_display_links = ["created_at"]
    list_select_related = ["user", "actor", "approval"]
    search_fields = ["id__exact", "user__id__exact", "user__email__startswith", "actor__email__startswith"]
    search_help_text = "A whole grant or user id, or the beginning of an e-mail address"
    ordering = ["-created_at"]
    actions_detail = ["void"]

    def is_apt(self, act: str, found: StaffGrant) -> bool:
        return found.voided_at is None

    @act(
        "Void",
        permission="billing.void_staffgrant",
        explanation="Ends what is left of it. What is held for an open job goes when the job gives it back.",
        form=PreviewForm,
        preview=lambda grant, given: rehearsal.of(lambda: _void(grant, given), customer_id=grant.user_id),
        variant=ActionVariant.DANGER,
    )
    def void(self, request: HttpRequest, grant: StaffGrant, given: dict[str, Any]) -> str:
        return f"Voided; {_void(grant, given).ended} credits went."
