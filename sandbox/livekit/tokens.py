"""LiveKit's tokens: JWT signed by HS256, by hand as far as they are used here."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from typing import Any

LEEWAY_S = 60


def sign(secret: str, claims: dict[str, Any]) -> str:
    head = _encoded(json.dumps({"alg": "HS256", "typ": "JWT"}).encode())
    signed = f"{head}.{_encoded(json.dumps(claims).encode())}"
    return f"{signed}.{_encoded(hmac.digest(secret.encode(), signed.encode(), 'sha256'))}"


def read(secret: str, key: str, token: str) -> dict[str, Any] | None:
    """The claims of a token that is validly signed, of that key and not over; else None."""
    try:
        head, body, signature = token.split(".")
        good = hmac.digest(secret.encode(), f"{head}.{body}".encode(), "sha256")
        if json.loads(_decoded(head))["alg"] != "HS256" or not hmac.compare_digest(_decoded(signature), good):
            return None
        claims = json.loads(_decoded(body))
        now = time.time()
        in_time = claims.get("nbf", 0) <= now + LEEWAY_S and claims["exp"] >= now - LEEWAY_S
    except (ValueError, KeyError, TypeError):
        return None
    return claims if in_time and claims.get("iss") == key else None


def body_hash(body: bytes) -> str:
    """Source: LiveKit's server SDK: standard base64 of the raw digest."""
    return base64.b64encode(hashlib.sha256(body).digest()).decode()


def _encoded(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _decoded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
