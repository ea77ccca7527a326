"""manage.py sync_plans: carry the plans to Stripe, by lookup key."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from billing import gateways, plans
from billing.errors import GatewayUnavailable
from billing.gateways.base import GatewayError
from billing.models import Plan


class Command(BaseCommand):
    help = "Make a price at Stripe for every plan that has none under its lookup key."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--dry-run", action="store_true", help="only say which plans have no price yet")

    def handle(self, *args: Any, **options: Any) -> None:
        for plan in Plan.objects.filter(retired_at=None).order_by("interval", "position", "pk"):
            if options["dry_run"]:
                self.stdout.write(f"{plan.lookup_key}: {plan.price_ref or 'no price yet'}")
                continue
            try:
                gateways.get("stripe")
                self.stdout.write(f"{plan.lookup_key}: {plans.sync(plan)}")
            except (GatewayError, GatewayUnavailable) as error:
                raise CommandError(f"{plan.lookup_key}: {error}") from error
