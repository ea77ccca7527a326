"""A person's figures, told by the apps that keep them."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.utils.module_loading import import_string

from accounts.models import User


def of(user: User) -> dict[str, dict[str, Any]]:
    """The sections of users/me/statistics: each app of settings.ACCOUNT_STATISTICS adds fields to them."""
    found: dict[str, dict[str, Any]] = {
        "usage": {"member_since": user.created_at},
        "account": {"member_since": user.created_at},
    }
    for path in settings.ACCOUNT_STATISTICS:
        for section, fields in import_string(path)(user=user).items():
            found.setdefault(section, {}).update(fields)
    usage = found["usage"]
    made, spent = found["generations"]["completed"], found["credits"]["total_spent"]
    usage["average_credits_per_generation"] = round(spent / made, 2) if made else None
    return found
