from __future__ import annotations

from billing.admin import payments, wallets  # noqa: F401  registers them
