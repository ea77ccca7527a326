"""The books in the ops console: to be read, never to be changed."""

from __future__ import annotations

from django.contrib import admin
from unfold.admin import TabularInline

from billing.models import (
    BookCheck,
    CreditLot,
    Debt,
    Freeze,
    Hold,
    LedgerEntry,
    LedgerTransaction,
    PromoSpending,
    SignUpGrant,
    Wallet,
)
from core.admin import ReadOnlyModelAdmin


@admin.register(Wallet)
class WalletAdmin(ReadOnlyModelAdmin):
    list_display = ["created_at", "user", "kind", "unit", "balance", "held", "frozen", "available", "next_expiry_at"]
    list_display_links = ["created_at"]
    list_select_related = ["user"]
    list_filter = ["unit"]
    search_fields = ["id__exact", "user__id__exact", "user__email__startswith"]
    search_help_text = "A whole wallet or user id, or the beginning of the e-mail address"
    ordering = ["-id"]


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
    list_filter = ["state"]
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
    list_display_links = ["created_at"]
    list_select_related = ["user"]
    list_filter = ["unit", "is_blocking"]
    search_fields = ["cause__exact", "user__id__exact", "user__email__startswith"]
    search_help_text = "A whole cause or user id, or the beginning of the e-mail address"
    ordering = ["-id"]


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
