from __future__ import annotations

from billing.admin import payments, prices, subscriptions, wallets  # noqa: F401  registers them
