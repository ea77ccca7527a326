"""Subscriptions in the ops console: to be read; what changes them are their own functions."""

from __future__ import annotations

from django.contrib import admin

from billing.admin.payments import money
from billing.models import GatewayCustomer, Subscription, SubscriptionChange, SubscriptionInvoice
from core.admin import ReadOnlyModelAdmin


@admin.register(GatewayCustomer)
class GatewayCustomerAdmin(ReadOnlyModelAdmin):
    list_display = ["created_at", "user", "gateway", "ref"]
    list_select_related = ["user"]
    search_fields = ["ref__exact", "user__id__exact", "user__email__startswith"]
    search_help_text = "The gateway's whole id, a whole user id, or the beginning of the e-mail address"
    ordering = ["-id"]


@admin.register(Subscription)
class SubscriptionAdmin(ReadOnlyModelAdmin):
    list_display = [
        "created_at",
        "user",
        "plan",
        "state",
        "period_end",
        "cancel_at_period_end",
        "next_plan",
        "next_check_at",
    ]
    list_select_related = ["user", "plan", "next_plan"]
    list_filter = ["state", "cancel_at_period_end"]
    exclude = ["secret"]
    search_fields = ["id__exact", "ref__exact", "user__id__exact", "user__email__startswith"]
    search_help_text = "A whole subscription or user id, the gateway's, or the beginning of the e-mail address"
    ordering = ["-created_at", "-id"]


@admin.register(SubscriptionChange)
class SubscriptionChangeAdmin(ReadOnlyModelAdmin):
    list_display = ["created_at", "subscription", "old_plan", "new_plan", "credits", "state", "error_message"]
    list_select_related = ["subscription", "old_plan", "new_plan"]
    search_fields = ["subscription__id__exact"]
    search_help_text = "A whole subscription id"
    ordering = ["-id"]


@admin.register(SubscriptionInvoice)
class SubscriptionInvoiceAdmin(ReadOnlyModelAdmin):
    list_display = [
        "created_at",
        "ref",
        "subscription",
        "reason",
        "status",
        money("amount", "Amount"),
        "plan",
        "months",
        "paid_at",
    ]
    list_select_related = ["subscription", "plan"]
    list_filter = ["status", "reason"]
    search_fields = ["ref__exact", "subscription__id__exact", "payment__id__exact"]
    search_help_text = "The gateway's whole id, or a whole subscription or payment id"
    ordering = ["-created_at", "-id"]
