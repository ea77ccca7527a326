"""The payments' invariants: every sum of money and every grant that a payment tells of is in the ledger, once."""

from __future__ import annotations

from billing.books.checks import Check

CHECKS: tuple[Check, ...] = ()
