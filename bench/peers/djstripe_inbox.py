"""dj-stripe's inbox from behind: `prepare`, `handle <number>` or `check`, answered with one line of JSON.

Run by an interpreter that holds bench/requirements-djstripe.txt. `handle` does what its manual has a task do: load the
stored trigger by its id, and process it.
"""

from __future__ import annotations

import json
import os
import sys
import time
import uuid
from typing import Any

import django

django.setup()

from django.conf import settings  # noqa: E402  Django had to be set up first
from django.core.management import call_command  # noqa: E402
from django.db import connection  # noqa: E402
from djstripe.enums import APIKeyType, WebhookEndpointValidation  # noqa: E402
from djstripe.models import Account, APIKey, WebhookEndpoint, WebhookEventTrigger  # noqa: E402


def prepare() -> dict[str, Any]:
    call_command("migrate", verbosity=0, run_syncdb=True)
    # Known beforehand, else each event would have it asked for at Stripe.
    account = Account.objects.create(id="acct_bench", livemode=True, stripe_data={})
    APIKey.objects.create(
        id="key_bench",
        type=APIKeyType.secret,
        secret=settings.STRIPE_SECRET_KEY,
        livemode=True,
        djstripe_owner_account=account,
    )
    WebhookEndpoint.objects.create(
        djstripe_owner_account=account,
        id="we_bench",
        secret=os.environ["WEBHOOK_SECRET"],
        url="https://atelier.example/stripe/",
        status="enabled",
        livemode=True,
        api_version="2026-10-28.endive",
        enabled_events=["*"],
        djstripe_uuid=uuid.UUID(int=1),
        djstripe_validation_method=WebhookEndpointValidation.verify_signature,
        stripe_data={},
    )
    return {}


def handle(many: int) -> dict[str, Any]:
    waiting = WebhookEventTrigger.objects.filter(valid=True, processed=False).order_by("id")
    ids = list(waiting.values_list("id", flat=True)[:many])
    began = time.perf_counter()
    for pk in ids:
        WebhookEventTrigger.objects.get(pk=pk).process()
    return {"done": len(ids), "took_s": time.perf_counter() - began}


def check() -> dict[str, Any]:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*), count(DISTINCT body), count(*) FILTER (WHERE exception <> ''),"
            " count(*) FILTER (WHERE processed) FROM djstripe_webhookeventtrigger WHERE valid"
        )
        stored, distinct, spoilt, handled = cursor.fetchone()
    return {"stored": stored, "distinct": distinct, "spoilt": spoilt, "handled": handled}


if __name__ == "__main__":
    done = {"prepare": prepare, "check": check}.get(sys.argv[1])
    print(json.dumps(done() if done else handle(int(sys.argv[2]))))
