"""What staff see first: what waits for them, then how the time has been. Only what each of them may look at."""

from __future__ import annotations

from typing import Any

from django.core.cache import cache
from django.http import HttpRequest

from billing import sales
from core import clock
from dashboard.console import work
from dashboard.console.charts import CHARTS, SPANS, Chart, Span

# A figure of the past minutes need not be of this second, and many people look.
KEPT_S = {"24h": 60, "7d": 300, "30d": 600, "90d": 1800}


def show(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """The home's part of its page; unfold asks for it."""
    span = SPANS.get(request.GET.get("span", ""), SPANS["24h"])
    waiting = work.waiting(request)
    books = sales.standing()
    broken = work.broken(request, books.broken)
    if broken is not None:
        waiting.insert(0, broken)
    return context | {
        "title": "Home",
        "waiting": [line for line in waiting if line.count],
        "stopped": books.stop,
        "quiet": [line for line in waiting if not line.count],
        "span": span,
        "spans": SPANS.values(),
        "charts": [_chart(function, span) for needed, function in CHARTS if request.user.has_perm(needed)],
    }


def _chart(function: Any, span: Span) -> Chart:
    key = f"console:{function.__name__}:{span.code}"
    try:
        kept: Chart | None = cache.get(key)
    except Exception:  # Redis is away, or a release ago drew it otherwise: then it is counted
        kept = None
    if kept is None:
        kept = function(span, clock.now())
        _keep(key, kept, span)
    return kept


def _keep(key: str, chart: Chart, span: Span) -> None:
    try:
        cache.set(key, chart, KEPT_S[span.code])
    except Exception:
        return
