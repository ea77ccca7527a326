from __future__ import annotations

from billing.admin import payments, subscriptions, wallets  # noqa: F401  registers them
