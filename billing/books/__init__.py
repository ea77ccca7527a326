"""Proof that the books balance: every invariant as one query that names the rows which break it.

Higher apps add theirs by settings.BOOK_CHECKS, dotted paths of functions that return `Check`s.
"""

from __future__ import annotations

from billing.books.checks import Check, Finding, Report, all_checks, run
from billing.books.watch import check_due

__all__ = ["Check", "Finding", "Report", "all_checks", "check_due", "run"]
