"""The console's menu: what people do daily, by what they think of it; everything else is under All applications."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from django.urls import reverse

from accounts.models import User
from audit.models import Approval, AuditLog, Seal, Verification
from billing.models import (
    BookCheck,
    Break,
    Dispute,
    LedgerTransaction,
    Package,
    Payment,
    Plan,
    Refund,
    StaffGrant,
    Subscription,
    Wallet,
)  # fmt: skip
from calls.models import Call
from generation.models import Attempt, BlockedTerm, Generation, Operation, Report
from inbox.models import Delivery
from notifications.models import Mail
from store.models import Order, Product
from wearables.models import Import, Wearable

Entry = tuple[str, str, Any]
MENU: tuple[tuple[str, tuple[Entry, ...]], ...] = (
    (
        "Money",
        (
            ("Payments", "payments", Payment),
            ("Refunds", "undo", Refund),
            ("Disputes", "gavel", Dispute),
            ("Breaks", "error", Break),
            ("Subscriptions", "autorenew", Subscription),
            ("Wallets", "account_balance_wallet", Wallet),
            ("Staff grants", "redeem", StaffGrant),
            ("Ledger", "menu_book", LedgerTransaction),
            ("Approvals", "how_to_reg", Approval),
        ),
    ),
    (
        "Making",
        (
            ("Jobs", "image", Generation),
            ("Attempts", "sync", Attempt),
            ("Operations", "tune", Operation),
            ("Reports", "flag", Report),
            ("Blocked terms", "block", BlockedTerm),
        ),
    ),
    (
        "Selling",
        (
            ("Orders", "local_shipping", Order),
            ("Products", "inventory_2", Product),
            ("Packages", "sell", Package),
            ("Plans", "loyalty", Plan),
            ("Wearables", "checkroom", Wearable),
            ("Imports", "upload_file", Import),
        ),
    ),
    (
        "Traces",
        (
            ("Mail", "mail", Mail),
            ("Calls", "call", Call),
            ("Webhooks", "webhook", Delivery),
            ("Audit log", "policy", AuditLog),
            ("Seals", "verified", Seal),
            ("Proofs of the log", "fact_check", Verification),
            ("Checks of the books", "balance", BookCheck),
        ),
    ),
)


# Pages that are no model's list.
PAGES = (
    ("generation.view_attempt", "Making", "Providers", "speed", "console-providers"),
    ("billing.view_bookcheck", "Traces", "Invariants", "rule", "console-invariants"),
)


def navigation(request: HttpRequest) -> list[dict[str, Any]]:
    """Only what the person asking may look at."""
    top = [_item("Home", "home", reverse("admin:index"))]
    if request.user.has_perm("accounts.view_user"):
        top.append(_item("People", "group", _list(User)))
    groups: list[dict[str, Any]] = [
        {
            "title": title,
            "items": [_item(*entry[:2], _list(entry[2])) for entry in entries if _is_seen(entry[2], request)],
        }
        for title, entries in MENU
    ]
    for needed, title, name, icon, page in PAGES:
        if request.user.has_perm(needed):
            next(group for group in groups if group["title"] == title)["items"].append(_item(name, icon, reverse(page)))
    return [{"items": top}, *(group for group in groups if group["items"])]


def _item(title: str, icon: str, link: str) -> dict[str, Any]:
    return {"title": title, "icon": icon, "link": link}


def _list(model: Any) -> str:
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")


def _is_seen(model: Any, request: HttpRequest) -> bool:
    return admin.site.get_model_admin(model).has_view_permission(request)
