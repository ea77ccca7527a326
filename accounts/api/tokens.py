"""The two kinds of token: what is in them, and that one is never taken for the other."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, Literal

from django.conf import settings
from rest_framework_simplejwt.backends import TokenBackend
from rest_framework_simplejwt.exceptions import TokenBackendError

from accounts import sessions
from accounts.errors import TokenInvalid
from accounts.models import Session
from core import clock

AUDIENCE = "atelier"  # another program's token is refused even where the secret is shared by mistake
# Whether a token has run out is for the database's clock to say, in `sessions`: web machines' clocks may differ.
ANY_TIME = timedelta(days=365_000)
Kind = Literal["access", "refresh"]


@dataclass(frozen=True, slots=True)
class Claims:
    """What a token of ours says, once its signature and kind are checked."""

    kind: Kind
    session_id: uuid.UUID
    user_id: uuid.UUID
    epoch: int
    rotation: int
    expires_at: datetime


@lru_cache(maxsize=8)
def _backend(algorithm: str, secret: str) -> TokenBackend:
    # simplejwt allows exactly this one algorithm, whatever the token's header names.
    return TokenBackend(algorithm, signing_key=secret, audience=AUDIENCE, leeway=ANY_TIME)


def _signer(kind: Kind) -> TokenBackend:
    secret = settings.JWT_SECRET if kind == "access" else settings.JWT_REFRESH_SECRET
    return _backend(settings.JWT_ALGORITHM, secret)


def _make(kind: Kind, session: Session, valid_for: timedelta) -> str:
    now = clock.now()
    claims = {
        "typ": kind,
        "sid": str(session.pk),
        "sub": str(session.user_id),
        "epo": session.user.epoch,
        "rot": session.rotation,
        "jti": uuid.uuid4().hex,
        "iat": now,
        "exp": now + valid_for,
    }
    return _signer(kind).encode(claims)


def pair(session: Session) -> dict[str, Any]:
    """A fresh access and refresh token of the session, and how many seconds the access token lives."""
    return {
        "access": _make("access", session, timedelta(minutes=settings.ACCESS_TOKEN_MINUTES)),
        "refresh": _make("refresh", session, sessions.lifetime(remember=session.remember)),
        "expires_in": settings.ACCESS_TOKEN_MINUTES * 60,
    }


def read(kind: Kind, token: str) -> Claims:
    """Check that a token is ours and say what is in it, whether or not it has run out.

    Raises: TokenInvalid for anything but a token of this kind.
    """
    return _verified(kind, token, _signer(kind))


@lru_cache(maxsize=4096)  # a client sends the same token for minutes; its signature and its words do not change
def _verified(kind: Kind, token: str, signer: TokenBackend) -> Claims:
    try:
        found = signer.decode(token)  # type: ignore[arg-type]  # it takes the text
    except TokenBackendError as error:
        raise TokenInvalid from error
    # The secrets differ, so the signature has told the kinds apart already; the type is the second lock.
    if found.get("typ") != kind:
        raise TokenInvalid
    try:
        return Claims(
            kind=kind,
            session_id=uuid.UUID(found["sid"]),
            user_id=uuid.UUID(found["sub"]),
            epoch=int(found["epo"]),
            rotation=int(found["rot"]),
            expires_at=datetime.fromtimestamp(int(found["exp"]), UTC),
        )
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError, OSError) as error:
        raise TokenInvalid from error
