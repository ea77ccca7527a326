"""Who may call. The default is the strictest: a signed-in person whose mailbox is verified."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rest_framework.permissions import BasePermission

from core.errors import EmailNotVerified, NotAuthenticated

if TYPE_CHECKING:
    from rest_framework.request import Request
    from rest_framework.views import APIView


class Public(BasePermission):
    """Anybody."""


class IsSignedIn(BasePermission):
    """A signed-in person, verified or not."""

    def has_permission(self, request: Request, view: APIView) -> bool:
        if not request.user.is_authenticated:
            raise NotAuthenticated
        return True


class IsVerified(IsSignedIn):
    """A signed-in person whose mailbox is verified: whatever spends, buys or uploads."""

    def has_permission(self, request: Request, view: APIView) -> bool:
        super().has_permission(request, view)
        if not getattr(request.user, "is_verified", False):
            raise EmailNotVerified
        return True
