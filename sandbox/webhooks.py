"""Webhooks to PUBLIC_URL: signed as the provider signs, retried as it retries (its day made 15 minutes), all logged."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from sandbox import outbound
from sandbox.agenda import Agenda
from sandbox.livekit import tokens as livekit_tokens
from sandbox.settings import Settings
from sandbox.state import Doc, Store
from sandbox.tokens import new_id

LOG_LENGTH = 5000
GIVE_UP_AFTER_S = 900
LONGEST_WAIT_S = 60


def razorpay_signature(secret: str, body: bytes) -> str:
    """Source: providers' page "Validate webhooks": no timestamp, the raw body alone."""
    return hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


def stripe_signature(secret: str, timestamp: int, body: bytes) -> str:
    """Source: Stripe's webhook guide: `<timestamp>.<raw body>`."""
    return hmac.new(secret.encode(), f"{timestamp}.".encode() + body, hashlib.sha256).hexdigest()


def monnify_signature(secret: str, body: bytes) -> str:
    """Source: Monnify's sample value, which is HMAC-SHA512 over the raw body whatever the prose around it says."""
    return hmac.new(secret.encode(), body, hashlib.sha512).hexdigest()


def magic_hour_signature(secret: str, timestamp: int, body: bytes) -> str:
    """Source: Magic Hour webhook guide: `<timestamp>.<raw body>`."""
    return hmac.new(secret.encode(), f"{timestamp}.".encode() + body, hashlib.sha256).hexdigest()


def kie_signature(secret: str, task_id: str, timestamp: int) -> str:
    """Source: KIE's webhook page: base64 over `<task id>.<timestamp>`; the body is not signed."""
    return base64.b64encode(hmac.digest(secret.encode(), f"{task_id}.{timestamp}".encode(), "sha256")).decode()


@dataclass(frozen=True)
class Endpoint:
    path: str
    timeout_s: float
    sign: Callable[[Settings, bytes, str], Mapping[str, str]]


def _razorpay_headers(settings: Settings, body: bytes, event_id: str) -> Mapping[str, str]:
    return {
        "X-Razorpay-Signature": razorpay_signature(settings.razorpay_webhook_secret, body),
        "x-razorpay-event-id": event_id,
    }


def _stripe_headers(settings: Settings, body: bytes, event_id: str) -> Mapping[str, str]:
    timestamp = int(time.time())
    signature = stripe_signature(settings.stripe_webhook_secret, timestamp, body)
    return {"Stripe-Signature": f"t={timestamp},v1={signature}"}


def _monnify_headers(settings: Settings, body: bytes, event_id: str) -> Mapping[str, str]:
    return {"monnify-signature": monnify_signature(settings.monnify_secret_key, body)}


def _magic_hour_headers(settings: Settings, body: bytes, event_id: str) -> Mapping[str, str]:
    timestamp = int(time.time())
    return {
        "magic-hour-event-timestamp": str(timestamp),
        "magic-hour-event-signature": magic_hour_signature(settings.magic_hour_webhook_secret, timestamp, body),
    }


def _kie_headers(settings: Settings, body: bytes, event_id: str) -> Mapping[str, str]:
    if not settings.kie_webhook_secret:
        return {}
    timestamp = int(time.time())
    signature = kie_signature(settings.kie_webhook_secret, json.loads(body)["data"]["task_id"], timestamp)
    return {"X-Webhook-Timestamp": str(timestamp), "X-Webhook-Signature": signature}


def _livekit_headers(settings: Settings, body: bytes, event_id: str) -> Mapping[str, str]:
    """Source: LiveKit's server SDK: a token without a scheme, good for five minutes."""
    claims = {"iss": settings.livekit_api_key, "exp": int(time.time()) + 300, "sha256": livekit_tokens.body_hash(body)}
    signed = livekit_tokens.sign(settings.livekit_api_secret, claims)
    return {"Authorization": signed, "Content-Type": "application/webhook+json", "User-Agent": "LiveKit"}


ENDPOINTS = {
    "razorpay": Endpoint("/api/v1/webhooks/razorpay", 5, _razorpay_headers),
    "stripe": Endpoint("/api/v1/webhooks/stripe", 10, _stripe_headers),
    "monnify": Endpoint("/api/v1/webhooks/monnify", 10, _monnify_headers),
    "magic-hour": Endpoint("/api/v1/webhooks/magic-hour", 10, _magic_hour_headers),
    "livekit": Endpoint("/api/v1/webhooks/livekit", 10, _livekit_headers),
    "kie": Endpoint("/api/v1/webhooks/kie", 15, _kie_headers),  # or wherever the task wants its callback
}


class Webhooks:
    def __init__(self, settings: Settings, store: Store, agenda: Agenda) -> None:
        self.settings, self.store, self.agenda = settings, store, agenda
        self.in_flight = asyncio.Semaphore(64)
        agenda.actions["webhooks.attempt"] = self.attempt

    def is_delivering(self, provider: str) -> bool:
        switches = self.store.get("switches", "webhooks") or {}
        return bool(switches.get(provider, switches.get("*", True)))

    def deliver(self, wanted: bool, provider: str | None = None) -> None:
        """Switch sending on or off, for all providers or one. What is switched off is dropped for good, as if lost."""
        switches = (self.store.get("switches", "webhooks") or {}) if provider else {}
        self.store.put("switches", "webhooks", switches | {provider or "*": wanted})

    def send(
        self, provider: str, event: str, body: Doc, *, subject: str, copies: int = 1, url: str | None = None
    ) -> list[str]:
        """Log and queue one event; duplicates are the same bytes and the same event id, as a provider repeats them."""
        raw = json.dumps(body, separators=(",", ":"), ensure_ascii=False)
        event_id = new_id("", 14)
        ids = []
        with self.store.transaction():
            for _ in range(copies):
                delivery: Doc = {
                    "id": new_id("dlv_"),
                    "provider": provider,
                    "event": event,
                    "event_id": event_id,
                    "subject": subject,
                    "url": url or self.settings.public_url + ENDPOINTS[provider].path,
                    "state": "pending" if self.is_delivering(provider) else "dropped",
                    "body": raw,
                    "attempts": [],
                    "created_at": time.time(),
                }
                self.store.put("delivery", delivery["id"], delivery, parent=subject)
                if delivery["state"] == "pending":
                    self.agenda.after(0, "webhooks.attempt", delivery["id"])
                ids.append(delivery["id"])
            self.store.trim("delivery", LOG_LENGTH)
        return ids

    def resend(self, delivery: Doc, times: int = 1) -> list[str]:
        """Send a logged event again, byte for byte and at once, whatever became of it."""
        ids = []
        with self.store.transaction():
            for _ in range(times):
                again = delivery | {"id": new_id("dlv_"), "state": "pending", "attempts": [], "created_at": time.time()}
                self.store.put("delivery", again["id"], again, parent=again["subject"])
                self.agenda.after(0, "webhooks.attempt", again["id"])
                ids.append(again["id"])
        return ids

    async def settled(self, ids: list[str], timeout_s: float = 20) -> None:
        """Wait until the first attempt of each has been made."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            deliveries = [self.store.get("delivery", id) for id in ids]
            if all(not delivery or delivery["attempts"] or delivery["state"] != "pending" for delivery in deliveries):
                return
            await asyncio.sleep(0.01)

    async def attempt(self, id: str) -> None:
        """Post one delivery; on anything but a 2xx, come back later, each time after twice as long."""
        delivery = self.store.get("delivery", id)
        if delivery is None or delivery["state"] != "pending":
            return
        if delivery["attempts"] and not self.is_delivering(delivery["provider"]):
            self.store.put("delivery", id, delivery | {"state": "dropped"})
            return
        async with self.in_flight:
            outcome = await self._post(delivery)
        delivery["attempts"].append(outcome)
        age_s = time.time() - delivery["created_at"]
        if 200 <= (outcome["status"] or 0) < 300:
            delivery["state"] = "delivered"
        elif age_s > GIVE_UP_AFTER_S:
            delivery["state"] = "given_up"
        with self.store.transaction():
            self.store.put("delivery", id, delivery)
            if delivery["state"] == "pending":
                wait_s = min(LONGEST_WAIT_S, self.settings.webhook_retry_s * 2 ** (len(delivery["attempts"]) - 1))
                self.agenda.after(wait_s, "webhooks.attempt", id)

    async def _post(self, delivery: Doc) -> dict[str, Any]:
        endpoint = ENDPOINTS[delivery["provider"]]
        body = delivery["body"].encode()
        headers = {"Content-Type": "application/json", "User-Agent": "sandbox"}
        headers |= endpoint.sign(self.settings, body, delivery["event_id"])
        outcome: dict[str, Any] = {"at": time.time(), "status": None, "error": None, "headers": headers}
        try:
            answer = await outbound.request(
                "POST", delivery["url"], headers=headers, body=body, timeout_s=endpoint.timeout_s
            )
            outcome |= {"status": answer.status, "answer": answer.body[:500].decode(errors="replace")}
        except outbound.RequestFailed as error:
            outcome["error"] = str(error)
        return outcome
