"""Who is calling: the bearer token, checked against its live session in one query."""

from __future__ import annotations

from django.contrib.auth.models import AnonymousUser
from rest_framework.authentication import BaseAuthentication
from rest_framework.request import Request

from accounts import sessions
from accounts.api import tokens
from accounts.errors import TokenInvalid
from accounts.models import Session, User
from core import context


class SignedInRequest(Request):
    """What a view gets that nobody reaches without a live session."""

    user: User
    auth: Session


class TokenAuthentication(BaseAuthentication):
    """`Authorization: Bearer <access token>`; `request.auth` is the live session.

    Raises: TokenInvalid, TokenExpired, SessionEnded, AccountSuspended.
    """

    def authenticate(self, request: Request) -> tuple[User, Session] | None:
        scheme, _, token = request.META.get("HTTP_AUTHORIZATION", "").partition(" ")
        if not scheme:
            return None
        if scheme.lower() != "bearer" or not token or " " in token:
            raise TokenInvalid("Send `Authorization: Bearer <access token>`.")
        claims = tokens.read("access", token)
        session = sessions.authenticate(
            session_id=claims.session_id, user_id=claims.user_id, epoch=claims.epoch, expires_at=claims.expires_at
        )
        context.set_actor(session.user_id)
        return session.user, session

    def authenticate_header(self, request: Request) -> str:
        return 'Bearer realm="api"'


class RefreshTokenCount(BaseAuthentication):
    """Names the session of the body's refresh token, so that refreshes are limited per session; signs nobody in."""

    def authenticate(self, request: Request) -> tuple[AnonymousUser, tokens.Claims] | None:
        given = request.data.get("refresh") if isinstance(request.data, dict) else None
        if not isinstance(given, str):
            return None
        try:
            return AnonymousUser(), tokens.read("refresh", given)
        except TokenInvalid:
            return None

    def authenticate_header(self, request: Request) -> str:
        return 'Bearer realm="api"'
