"""Every rule of the books: what it says, when it was last asked, what broke it, and its query for who wants to dig."""

from __future__ import annotations

import re
from typing import Any

from billing import books
from billing.models import BookCheck, SalesStop

_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f-]{27}")


def page() -> dict[str, Any]:
    """The rules, broken ones first, with what the newest check found and whether they stop sales. Three queries."""
    newest = BookCheck.objects.order_by("-began_at").first()
    full = newest if newest and newest.since is None else _newest_full()
    found: dict[str, list[dict[str, str]]] = {}
    for finding in newest.findings if newest else ():
        named = _ID.search(finding["row"])
        found.setdefault(finding["check"], []).append(finding | {"id": named[0] if named else finding["row"]})
    stops = {row.name: row for row in SalesStop.objects.select_related("actor")}
    rules = [
        {
            "name": check.name,
            "rule": check.rule,
            "sql": check.sql.strip(),
            "asked": full if check.is_full_only else newest,
            "findings": found.get(check.name, []),
            "stop": stops.get(check.name),
        }
        for check in books.all_checks()
    ]
    return {"newest": newest, "full": full, "rules": sorted(rules, key=lambda rule: not rule["findings"])}


def _newest_full() -> BookCheck | None:
    return BookCheck.objects.filter(since=None).order_by("-began_at").first()
