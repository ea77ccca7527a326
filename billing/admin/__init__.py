"""Billing in the ops console."""

from __future__ import annotations

from billing.admin import wallets

__all__ = ["wallets"]
