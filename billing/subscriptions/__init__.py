"""A person's subscription, from the first invoice to the end.

As with payments there is one door: whoever has news calls `refresh`, which asks the gateway, settles paid invoices as
payments, and then brings our row up to what the gateway says.
"""

from __future__ import annotations

from billing.subscriptions.changes import change
from billing.subscriptions.ending import cancel, reactivate
from billing.subscriptions.goods import deliver, grant_months
from billing.subscriptions.opening import GATEWAY, live_of, open_portal, start
from billing.subscriptions.refreshing import look_at, look_at_invoice, poll, refresh, tell_expiring

__all__ = [
    "GATEWAY",
    "cancel",
    "change",
    "deliver",
    "grant_months",
    "live_of",
    "look_at",
    "look_at_invoice",
    "open_portal",
    "poll",
    "reactivate",
    "refresh",
    "start",
    "tell_expiring",
]
