"""The dashboard's own reads, each a bounded number of queries; figures.py and activity.py hold what they count."""

from __future__ import annotations

import math
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings

from accounts import avatars as pictures
from billing import ledger, subscriptions, totals
from billing.models import Subscription
from billing.models.subscriptions import ENTITLED, SubscriptionState
from core import clock
from core.errors import Invalid, detail
from dashboard import figures
from dashboard.activity import Feed
from generation import avatar_limit, queries

TIMEFRAMES = {"7d": 7, "30d": 30, "90d": 90}
RECENT = 10
AVATARS_LEFT = 1  # as few as this, or fewer, are worth a warning
DAYS_LEFT = 7


def everything(viewer: Any) -> dict[str, Any]:
    """The person, their credits, subscription, avatars and jobs, and what happened last. Ten queries."""
    balance = ledger.balance(viewer.pk)
    spending = totals.of(viewer.pk)
    limit = avatar_limit.of(viewer)
    stats = queries.avatar_stats(viewer)
    return {
        "user": {
            "id": viewer.pk,
            "email": viewer.email,
            "first_name": viewer.first_name,
            "last_name": viewer.last_name,
            "avatar_url": pictures.link(viewer),
            "is_verified": viewer.is_verified,
            "created_at": viewer.created_at,
        },
        "credits": asdict(balance) | {"total_earned": spending.earned, "total_used": spending.used},
        "subscription": subscriptions.live_of(viewer),
        "avatars": stats | {"limit": limit.max_avatars, "remaining": limit.remaining},
        "content": figures.jobs(viewer),
        "recent_activity": Feed(viewer)[0:RECENT],
    }


def quick_stats(viewer: Any) -> dict[str, Any]:
    """The few numbers of a page's head. Six queries."""
    balance = ledger.balance(viewer.pk)
    spending = totals.of(viewer.pk)
    limit = avatar_limit.of(viewer)
    jobs = figures.jobs(viewer)
    current = subscriptions.live_of(viewer)
    is_active = current is not None and current.state in ENTITLED
    return {
        "credits": {
            "current": balance.balance,
            "total_earned": spending.earned,
            "total_used": spending.used,
        },
        "avatars": {"count": limit.current_count, "limit": limit.max_avatars},
        "content": {"generated": sum(jobs[name]["completed"] for name in figures.PLURALS.values())},
        "subscription": {
            "is_active": is_active,
            "plan": current.plan.code if current and is_active else None,
            "expires_at": current.period_end if current and is_active else None,
        },
    }


def analytics(viewer: Any, timeframe: str) -> dict[str, Any]:
    """Jobs and credits by the day, in UTC, today last and days without any among them. Two queries.

    Raises: Invalid for a timeframe that is not one of TIMEFRAMES.
    """
    if timeframe not in TIMEFRAMES:
        raise Invalid(details=[detail("invalid_choice", f"timeframe is one of {', '.join(TIMEFRAMES)}.", "timeframe")])
    today = clock.now().date()
    days = [today - timedelta(days=ago) for ago in reversed(range(TIMEFRAMES[timeframe]))]
    jobs, credits = figures.jobs_by_day(viewer, days), figures.credits_by_day(viewer, days)
    return {
        "timeframe": timeframe,
        "period": {"start": days[0], "end": today},
        "content": {"daily": jobs, "totals": figures.total(jobs)},
        "credits": {"daily": credits, "totals": figures.total(credits)},
    }


def limits(viewer: Any) -> dict[str, Any]:
    """What the person may still do, and what is about to end. Four queries."""
    balance = ledger.balance(viewer.pk)
    places = avatar_limit.of(viewer)
    current = subscriptions.live_of(viewer)
    return {
        "plan": current.plan.code if current and current.state in ENTITLED else None,
        "avatars": {
            "current": places.current_count,
            "max": places.max_avatars,
            "remaining": places.remaining,
            "warning": places.remaining <= AVATARS_LEFT,
        },
        "credits": {
            "available": balance.available,
            "held": balance.held,
            "debt": balance.debt,
            "warning": balance.available < settings.LOW_CREDIT_THRESHOLD,
        },
        "subscription": current and _ending(current),
    }


def _ending(current: Subscription) -> dict[str, Any]:
    ends_at: datetime | None = current.period_end
    days = None if ends_at is None else max(0, math.ceil((ends_at - clock.now()) / timedelta(days=1)))
    is_paid = current.state in (SubscriptionState.ACTIVE, SubscriptionState.TRIALING)
    renews = is_paid and not current.cancel_at_period_end
    return {
        "status": current.state,
        "expires_in_days": days,
        "warning": days is not None and days <= DAYS_LEFT and not renews,
        "cancel_at_period_end": current.cancel_at_period_end,
    }
