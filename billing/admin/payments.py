"""Payments and what came of them in the ops console: to be read; money moves only through its own functions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django import forms
from django.contrib import admin
from django.http import HttpRequest
from unfold.admin import TabularInline
from unfold.enums import ActionVariant
from unfold.widgets import UnfoldAdminTextInputWidget, UnfoldBooleanWidget

from audit.models import Approval
from billing import rehearsal, staff_refunds
from billing.models import (
    Break,
    BreakKind,
    Dispute,
    GatewayCursor,
    Payment,
    PaymentAttempt,
    PaymentStart,
    Refund,
)
from core.admin import BornFilter, MoneyField, PreviewForm, ReadOnlyModelAdmin, act, row_of
from core.ids import new_id
from core.money import display, major


def money(field: str, title: str) -> Any:
    """A column that shows a field of minor units as people read money."""

    @admin.display(description=title, ordering=field)
    def column(row: Any) -> str:
        amount = getattr(row, field)
        return "" if amount is None or not row.currency else display(amount, row.currency)

    return column


class RefundForm(PreviewForm):
    amount = MoneyField(label="Amount")
    keeps_credits = forms.BooleanField(
        label="Goodwill: the customer keeps what was bought", required=False, widget=UnfoldBooleanWidget
    )
    reference = forms.CharField(
        label="Reference, if you have paid it back by hand",
        required=False,
        max_length=100,
        widget=UnfoldAdminTextInputWidget,
    )
    # Sent twice, the form refunds once.
    request_id = forms.UUIDField(initial=new_id, widget=forms.HiddenInput)
    field_order = ["amount", "keeps_credits", "reference", "reason"]

    def __init__(self, request: HttpRequest, object_id: Any = None, **kwargs: Any) -> None:
        super().__init__(request, object_id, **kwargs)
        if payment := row_of(Payment, object_id):
            self.fields["amount"].currency = payment.currency
            self.fields["amount"].label = f"Amount, in {payment.currency}"
            self.fields["amount"].help_text = f"At most {major(payment.room, payment.currency)}."


def _refund(payment: Payment, given: dict[str, Any]) -> dict[str, Any]:
    return {
        "request_id": given["request_id"],
        "payment_id": payment.pk,
        "amount": given["amount"],
        "reason": given["reason"],
        "actor": given["actor"],
        "keeps_credits": given["keeps_credits"],
        "reference": given["reference"].strip(),
    }


def _preview_refund(payment: Payment, given: dict[str, Any]) -> list[str]:
    return rehearsal.of(lambda: staff_refunds.decide(**_refund(payment, given)), customer_id=payment.user_id)


def _break(row: Break, given: dict[str, Any]) -> dict[str, Any]:
    return {"break_id": row.pk, "reason": given["reason"], "actor": given["actor"]}


def _previews_break(act: Callable[..., Any]) -> Callable[[Break, dict[str, Any]], list[str]]:
    def preview(row: Break, given: dict[str, Any]) -> list[str]:
        customer_id = row.payment.user_id if row.payment else None
        return rehearsal.of(lambda: act(**_break(row, given)), customer_id=customer_id)

    return preview


def _said(done: Refund | Approval) -> str:
    if isinstance(done, Approval):
        return "This waits for a colleague's approval."
    return f"The refund is {done.state}."


class _Rows(TabularInline):
    can_delete = False
    max_num = 0
    show_change_link = True


class StartInline(_Rows):
    model = PaymentStart
    fields = ["n", "reference", "ref", money("amount", "Amount"), "created_at"]
    readonly_fields = fields


class AttemptInline(_Rows):
    model = PaymentAttempt
    fields = [
        *("ref", "state", "counts", money("amount", "Amount"), money("refunded", "Refunded")),
        *("method", "error_message", "tried_at"),
    ]
    readonly_fields = fields
    fk_name = "payment"


class RefundInline(_Rows):
    model = Refund
    fields = ["ref", "state", "origin", money("amount", "Amount"), "reason", "error_message", "created_at"]
    readonly_fields = fields
    fk_name = "payment"


class DisputeInline(_Rows):
    model = Dispute
    fields = ["ref", "state", "phase", money("amount", "Amount"), "reason_code", "respond_by", "created_at"]
    readonly_fields = fields
    fk_name = "payment"


AMOUNTS = {
    "amount": "Price",
    "received": "Received",
    "refunded": "Refunded",
    "refunding": "On its way back",
    "lost": "Lost in disputes",
    "forgiven": "Refunded as goodwill",
}


@admin.register(Payment)
class PaymentAdmin(ReadOnlyModelAdmin):
    list_display = [
        "created_at",
        "user",
        "title",
        "gateway",
        money("amount", "Price"),
        "state",
        money("received", "Received"),
        money("refunded", "Refunded"),
        "fulfilment",
        "next_at",
    ]
    list_select_related = ["user"]
    list_filter = ["state", ("created_at", BornFilter), "gateway", "fulfilment", "currency"]
    search_fields = ["id__exact", "user__id__exact", "user__email__startswith", "starts__ref__exact"]
    search_help_text = "A whole payment, user or gateway order id, or the beginning of the e-mail address"
    ordering = ["-created_at", "-id"]
    readonly_fields = _SHOWN = [money(field, title) for field, title in AMOUNTS.items()]
    fieldsets = [
        (None, {"fields": ["state", "user", "title", *_SHOWN, "gateway", "created_at"]}),
        ("What it buys", {"fields": ["item", "credits", "fulfilment", "granted", "taken"]}),
        ("On its way", {"fields": ["failure_code", "failure_message", "settled_at", "expires_at", "next_at", "looks"]}),
        ("How it began", {"fields": ["flow", "return_url", "currency", "superseded_by", "fulfils", "wallet_kind"]}),
    ]
    inlines = [StartInline, AttemptInline, RefundInline, DisputeInline]
    actions_detail = ["refund"]

    def is_apt(self, act: str, found: Payment) -> bool:
        return found.room > 0

    @act(
        "Refund",
        permission="billing.refund_payment",
        explanation="Within the day's limits it is sent at once; beyond them, and whenever you have paid it back by "
        "hand and give that payment's reference, a colleague has to approve.",
        form=RefundForm,
        preview=_preview_refund,
        variant=ActionVariant.DANGER,
    )
    def refund(self, request: HttpRequest, payment: Payment, given: dict[str, Any]) -> str:
        return _said(staff_refunds.refund(**_refund(payment, given)))


@admin.register(PaymentStart)
class PaymentStartAdmin(ReadOnlyModelAdmin):
    list_display = ["created_at", "reference", "gateway", "ref", money("amount", "Amount")]
    exclude = ["secret"]
    search_fields = ["reference__exact", "ref__exact"]
    search_help_text = "Our whole reference, or the gateway's id"
    ordering = ["-id"]


@admin.register(PaymentAttempt)
class PaymentAttemptAdmin(ReadOnlyModelAdmin):
    list_display = [
        "created_at",
        "ref",
        "gateway",
        "state",
        "counts",
        money("amount", "Amount"),
        "method",
        "error_code",
        "error_message",
    ]
    list_filter = ["state", "counts", "gateway"]
    search_fields = ["ref__exact", "payment__id__exact"]
    search_help_text = "The gateway's whole id, or a payment's"
    ordering = ["-created_at", "-id"]


@admin.register(Refund)
class RefundAdmin(ReadOnlyModelAdmin):
    list_display = [
        "created_at",
        "payment",
        "origin",
        "method",
        "state",
        money("amount", "Amount"),
        "keeps_credits",
        "reason",
        "actor",
        "tries",
        "next_at",
        "error_message",
    ]
    list_select_related = ["payment", "actor"]
    list_filter = ["state", "origin", "gateway"]
    search_fields = ["id__exact", "ref__exact", "payment__id__exact"]
    search_help_text = "A whole refund or payment id, or the gateway's"
    ordering = ["-created_at", "-id"]


@admin.register(Dispute)
class DisputeAdmin(ReadOnlyModelAdmin):
    list_display = ["created_at", "payment", "ref", "state", "phase", money("amount", "Amount"), "respond_by"]
    list_select_related = ["payment"]
    list_filter = ["state", "phase", "gateway"]
    search_fields = ["ref__exact", "payment__id__exact"]
    search_help_text = "The gateway's whole id, or a payment's"
    ordering = ["-created_at", "-id"]


class OpenBreaks(admin.SimpleListFilter):
    """Open ones unless asked otherwise: this list is work to be done."""

    title = "state"
    parameter_name = "is"

    def lookups(self, request: Any, model_admin: Any) -> list[tuple[str, str]]:
        return [("resolved", "Resolved"), ("all", "All")]

    def choices(self, changelist: Any) -> Any:
        yield {
            "selected": self.value() is None,
            "query_string": changelist.get_query_string(remove=[self.parameter_name]),
            "display": "Open",
        }
        for value, title in self.lookup_choices:
            yield {
                "selected": self.value() == value,
                "query_string": changelist.get_query_string({self.parameter_name: value}),
                "display": title,
            }

    def queryset(self, request: Any, queryset: Any) -> Any:
        if self.value() == "all":
            return queryset
        return queryset.filter(resolved_at__isnull=self.value() is None)


@admin.register(Break)
class BreakAdmin(ReadOnlyModelAdmin):
    list_display = ["created_at", "kind", "gateway", "payment", money("amount", "At stake"), "resolution"]
    list_select_related = ["payment"]
    list_filter = [OpenBreaks, "kind", "gateway"]
    search_fields = ["cause__exact", "payment__id__exact"]
    search_help_text = "A whole cause or payment id"
    ordering = ["-created_at", "-id"]
    customer = "payment.user_id"
    actions_detail = ["refund", "credit_in_part", "dismiss"]

    def is_apt(self, act: str, found: Break) -> bool:
        if found.resolved_at is not None:
            return False
        if act == "refund":
            return found.kind in staff_refunds.OF_A_PAYMENT
        return act != "credit-in-part" or found.kind == BreakKind.UNDERPAID

    @act(
        "Refund",
        permission="billing.resolve_break",
        explanation="Sends back the amount at stake; beyond the day's limits a colleague has to approve.",
        form=PreviewForm,
        preview=_previews_break(staff_refunds.decide_break),
        variant=ActionVariant.DANGER,
    )
    def refund(self, request: HttpRequest, row: Break, given: dict[str, Any]) -> str:
        return _said(staff_refunds.refund_break(**_break(row, given)))

    @act(
        "Credit in part",
        permission="billing.resolve_break",
        explanation="What has come becomes the price, and that part of the goods is given, rounded down.",
        form=PreviewForm,
        preview=_previews_break(staff_refunds.credit_in_part),
        variant=ActionVariant.PRIMARY,
    )
    def credit_in_part(self, request: HttpRequest, row: Break, given: dict[str, Any]) -> str:
        payment = staff_refunds.credit_in_part(**_break(row, given))
        return f"Given: {display(payment.granted, payment.unit)}."

    @act("Dismiss", permission="billing.resolve_break", explanation="Closes it without an act. Say what was done.")
    def dismiss(self, request: HttpRequest, row: Break, given: dict[str, Any]) -> str:
        staff_refunds.dismiss(break_id=row.pk, reason=given["reason"], actor=request.user)
        return "Dismissed."


@admin.register(GatewayCursor)
class GatewayCursorAdmin(ReadOnlyModelAdmin):
    list_display = ["gateway", "resource", "next_at", "deep_at", "failures", "error"]
    ordering = ["gateway", "resource"]
