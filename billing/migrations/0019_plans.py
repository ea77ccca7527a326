"""The plans that an installation begins with."""

from __future__ import annotations

from typing import Any

from django.db import migrations
from django.db.migrations.state import StateApps

from core.ids import new_id

# code, name, a month and a year in cents, credits a month, avatars
PLANS = (
    ("starter", "Starter", 999, 9_999, 100, 3),
    ("pro", "Pro", 2_999, 29_999, 500, 10),
    ("enterprise", "Enterprise", 9_999, 99_999, 2_000, 50),
)


def seed(apps: StateApps, schema_editor: Any) -> None:
    plan: Any = apps.get_model("billing", "Plan")
    plan.objects.bulk_create(
        [
            plan(
                id=new_id(),
                code=code,
                interval=interval,
                name=name,
                amount=amount,
                currency="USD",
                credits=credits,
                max_avatars=avatars,
                position=position,
            )
            for position, (code, name, monthly, yearly, credits, avatars) in enumerate(PLANS)
            for interval, amount in (("month", monthly), ("year", yearly))
        ],
        ignore_conflicts=True,
    )


class Migration(migrations.Migration):
    dependencies = [("billing", "0018_subscriptions")]
    operations = [migrations.RunPython(seed, migrations.RunPython.noop)]
