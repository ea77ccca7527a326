"""What staff see first: what waits for them, then how the time has been. Only what each of them may look at."""

from __future__ import annotations

import contextlib
from typing import Any

from django.core.cache import cache
from django.http import HttpRequest
from django.utils.text import slugify

from billing import sales
from core import clock, sql
from dashboard.console import work
from dashboard.console.charts import CHARTS, SPANS, Chart, Span

# A figure of the past minutes need not be of this second, and many people look.
KEPT_S = {"24h": 60, "7d": 300, "30d": 600, "90d": 1800}
COUNTED_FOR_S = 3  # each statement: figures must not be what makes the database slower


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
        "charts": _charts(request, span),
    }


def _charts(request: HttpRequest, span: Span) -> list[Chart]:
    """Those that the person asking may see, as they were kept, else counted now. One statement more than theirs."""
    seen = {title: function for title, needed, function in CHARTS if request.user.has_perm(needed)}
    charts = {title: _kept(title, span) for title in seen}
    missing = [title for title, chart in charts.items() if chart is None]
    while missing:
        try:
            with sql.each_within(COUNTED_FOR_S):
                while missing:
                    charts[missing[0]] = _keep(seen[missing[0]](span, clock.now()), span)
                    del missing[0]
        except sql.TookTooLong:
            title = missing.pop(0)
            charts[title] = _keep(
                Chart(title, note="More than can be counted while you wait. Choose a shorter time."), span
            )
    return [chart for chart in charts.values() if chart]


def _kept(title: str, span: Span) -> Chart | None:
    try:
        kept: Chart | None = cache.get(f"console:{slugify(title)}:{span.code}")
        return kept
    except Exception:  # Redis is away, or a release ago drew it otherwise: then it is counted
        return None


def _keep(chart: Chart, span: Span) -> Chart:
    with contextlib.suppress(Exception):
        cache.set(f"console:{slugify(chart.title)}:{span.code}", chart, KEPT_S[span.code])
    return chart
