"""Billing's addresses, the one that is read most first."""

from __future__ import annotations

from billing.api.payments.urls import urlpatterns as payments
from billing.api.subscriptions.urls import urlpatterns as subscriptions
from billing.api.wallets.urls import urlpatterns as wallets

urlpatterns = [*wallets, *payments, *subscriptions]
