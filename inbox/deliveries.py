"""Take a webhook in, and later let its handler look. Verification is the provider's, rules are the handler's."""

from __future__ import annotations

import enum
import hashlib
import time
import uuid
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

import orjson
import structlog
from django.conf import settings
from django.db import connection, transaction
from django.db.models.functions import Now
from django.utils.module_loading import import_string

import audit
from audit.models import AuditLog
from core import context, http, jobs
from core.ids import new_id
from core.killpoints import reach
from inbox.errors import WebhookInvalid, WebhookUnknown
from inbox.models import Delivery

log = structlog.get_logger("inbox")

LEASE = timedelta(seconds=60)
BATCH = 50
UNMATCHED_FOR = timedelta(minutes=10)
MAX_ATTEMPTS = 8
KEEP = timedelta(days=90)
# A token of ours in the address that a provider calls: verifiers see it among the headers, handlers in the event.
ECHO = "x-callback-token"
# Where a handler finds the events of a body that is a list of them.
LIST = "events of a list"
_KEPT_HEADERS = (
    *("content-type", "user-agent", "x-razorpay-event-id", "stripe-signature", "magic-hour-event-timestamp"),
    *("x-webhook-timestamp", ECHO),
)


class Verdict(enum.Enum):
    """What a provider's verifier says of a body."""

    VALID = "valid"
    STALE = "stale"  # validly signed, outside the time tolerance: kept as a hint
    INVALID = "invalid"
    NOT_CONFIGURED = "not_configured"


class Outcome(enum.Enum):
    """What a handler says after it looked."""

    PROCESSED = "processed"
    IGNORED = "ignored"
    UNMATCHED = "unmatched"  # about an id we do not know (yet): the webhook can beat our own commit


Verify = Callable[..., Verdict]
Handle = Callable[..., Outcome]


def receive(provider: str, headers: Mapping[str, str], body: bytes, *, token: str = "") -> bool:
    """Verify and store a body once; the handler runs later, in a worker. Returns whether it is new.

    Idempotent: the same body again only counts.
    Raises: WebhookUnknown without such a provider or its secret, WebhookInvalid for a bad signature or body.
    Enqueues: inbox.handle.
    """
    paths = settings.INBOX_HANDLERS.get(provider)
    if paths is None:
        raise WebhookUnknown
    verify: Verify = import_string(paths["verify"])
    headers = {name: value for name, value in headers.items() if name.lower() != ECHO} | {ECHO: token}
    verdict = verify(headers, body, now=int(time.time()))
    if verdict is Verdict.NOT_CONFIGURED:
        raise WebhookUnknown
    if verdict is Verdict.INVALID:
        log.warning("webhook_refused", provider=provider, bytes=len(body))
        raise WebhookInvalid
    event = _parse(body)
    if event is None:
        raise WebhookInvalid("The body is signed, but it is neither a JSON object nor a list.")
    with transaction.atomic():
        row_id, is_new = _store(provider, headers, body, event, is_stale=verdict is Verdict.STALE)
        if is_new:
            audit.record(
                "webhook.received",
                ("delivery", row_id),
                new={"provider": provider, "type": _event_type(event)},
            )
            jobs.wake("inbox.handle")
    reach("inbox.stored")
    return is_new


def _parse(body: bytes) -> dict[str, Any] | None:
    try:
        event = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    if isinstance(event, list) and event:
        return {LIST: event}
    return event if isinstance(event, dict) else None


def _event_type(event: dict[str, Any]) -> str:
    given = str(event.get("event") or event.get("type") or event.get("eventType") or "")[:80]
    return "".join(c for c in given if c.isprintable())  # PostgreSQL takes no NUL, staff no escape codes


def _store(
    provider: str, headers: Mapping[str, str], body: bytes, event: dict[str, Any], *, is_stale: bool
) -> tuple[uuid.UUID, bool]:
    kept = {name.lower(): value[:200] for name, value in headers.items() if value and name.lower() in _KEPT_HEADERS}
    row_id = new_id()
    with connection.cursor() as cursor:
        cursor.execute(
            """
            INSERT INTO inbox_delivery AS d (id, provider, sha256, event_type, headers, body, is_stale, times_received,
                                             state, attempts, note)
            VALUES (%s, %s, %s, %s, %s, %s, %s, 1, 'received', 0, '')
            ON CONFLICT ON CONSTRAINT delivery_stored_once DO UPDATE SET times_received = d.times_received + 1
            RETURNING id
            """,
            [
                row_id,
                provider,
                hashlib.sha256(body).digest(),
                _event_type(event),
                orjson.dumps(kept).decode(),
                body,
                is_stale,
            ],
        )
        (stored_id,) = cursor.fetchone()
    return stored_id, stored_id == row_id


def handle_due() -> int:
    """Claim a batch of due deliveries and let each one's handler look. Returns how many.

    Idempotent: a handler only looks; a lapsed lease is claimed again.
    """
    token = new_id()
    with connection.cursor() as cursor:
        cursor.execute(
            """
            UPDATE inbox_delivery
            SET lease_token = %s, next_at = statement_timestamp() + %s::interval, attempts = attempts + 1
            WHERE id IN (
                SELECT id FROM inbox_delivery
                WHERE state IN ('received', 'failed') AND next_at <= statement_timestamp()
                ORDER BY next_at LIMIT %s FOR UPDATE SKIP LOCKED
            )
            """,
            [token, f"{LEASE.total_seconds()} seconds", BATCH],
        )
    claimed = list(Delivery.objects.filter(lease_token=token, state__in=["received", "failed"]))
    for delivery in claimed:
        _handle(delivery, token)
    if len(claimed) == BATCH:
        jobs.wake("inbox.handle")
    return len(claimed)


def _handle(delivery: Delivery, token: uuid.UUID) -> None:
    try:
        handle: Handle = import_string(settings.INBOX_HANDLERS[delivery.provider]["handle"])
        outcome = handle(_event(delivery), stale=delivery.is_stale)
    except Exception as error:
        log.exception("webhook_failed", delivery=str(delivery.pk), provider=delivery.provider)
        _again(delivery, token, f"{type(error).__name__}: {error}"[:500], dead=delivery.attempts >= MAX_ATTEMPTS)
        return
    reach("inbox.handled")
    if outcome is Outcome.UNMATCHED:
        young = Delivery.objects.filter(pk=delivery.pk, created_at__gt=Now() - UNMATCHED_FOR).exists()
        if young:
            _again(delivery, token, "about nothing we know yet", dead=False)
            return
        outcome = Outcome.IGNORED
    Delivery.objects.filter(pk=delivery.pk, lease_token=token).update(
        state=outcome.value, handled_at=Now(), next_at=None, lease_token=None
    )


def _event(delivery: Delivery) -> dict[str, Any]:
    """The body, and what its address carried, which nothing in the body can claim."""
    event = _parse(bytes(delivery.body)) or {}
    event.pop(ECHO, None)
    return event | ({ECHO: delivery.headers[ECHO]} if ECHO in delivery.headers else {})


def _again(delivery: Delivery, token: uuid.UUID, note: str, *, dead: bool) -> None:
    wait = timedelta(seconds=min(2**delivery.attempts, 120))
    Delivery.objects.filter(pk=delivery.pk, lease_token=token).update(
        state=Delivery.State.DEAD if dead else Delivery.State.FAILED,
        next_at=None if dead else Now() + wait,
        note=note,
        lease_token=None,
    )


def rehearse(delivery: Delivery) -> list[str]:
    """What handling it now would change, in the words of the audit log; usually nothing.

    The handler looks at the provider as it always does, but may change nothing there, and what it wrote here is rolled
    back: the one place where a provider is asked inside a transaction.
    """
    request_id = f"rehearsal:{new_id().hex}"
    handle: Handle = import_string(settings.INBOX_HANDLERS[delivery.provider]["handle"])
    with context.use(request_id=request_id), http.looking_only(), transaction.atomic():
        try:
            with transaction.atomic():
                outcome = handle(_event(delivery), stale=delivery.is_stale).value
        except Exception as error:
            outcome = f"fails: {type(error).__name__}: {error}"[:300]
        told = [
            f"{action} of {entity_type} {entity_id}: {orjson.dumps(new or {}, default=str).decode()[:300]}"
            for action, entity_type, entity_id, new in AuditLog.objects.filter(request_id=request_id)
            .order_by("id")
            .values_list("action", "entity_type", "entity_id", "new")
        ]
        transaction.set_rollback(True)
    return [*(told or ["Nothing in the books or on record would change."]), f"Its handler would say: {outcome}."]


@audit.writes("delivery")
def replay(delivery_id: uuid.UUID, *, actor: Any, reason: str) -> Delivery:
    """Have it handled again, as if it had just come.

    Idempotent: a handler only looks.
    Locks: the delivery.
    Enqueues: inbox.handle.
    """
    with transaction.atomic():
        delivery: Delivery = Delivery.objects.select_for_update(of=("self",), no_key=True).get(pk=delivery_id)
        former = delivery.state
        Delivery.objects.filter(pk=delivery.pk).update(
            state=Delivery.State.RECEIVED, attempts=0, next_at=Now(), handled_at=None, lease_token=None, note=""
        )
        audit.record(
            "webhook.replayed",
            ("delivery", delivery.pk),
            old={"state": former},
            new={"state": Delivery.State.RECEIVED},
            metadata={"reason": reason},
            actor_id=actor.pk,
        )
        jobs.wake("inbox.handle")
    delivery.refresh_from_db()
    return delivery


def purge() -> int:
    """Drop bodies older than 90 days. Returns how many rows went."""
    return Delivery.objects.filter(created_at__lt=Now() - KEEP).delete()[0]
