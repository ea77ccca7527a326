"""Who may call. The default is the strictest: a signed-in person whose mailbox is verified."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rest_framework.permissions import BasePermission

from core.errors import EmailNotVerified, NotAuthenticated, PermissionDenied

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


class IsStaff(IsVerified):
    """A member of staff, in a session opened with the second factor where that is required."""

    groups: tuple[str, ...] = ()

    def has_permission(self, request: Request, view: APIView) -> bool:
        super().has_permission(request, view)
        user: Any = request.user
        if not getattr(request.auth, "has_staff_rights", False):
            raise PermissionDenied
        if self.groups and not user.is_superuser and not user.groups.filter(name__in=self.groups).exists():
            raise PermissionDenied
        return True


def staff(*groups: str) -> type[IsStaff]:
    """Staff of these groups, and superusers: `permission_classes = [staff("ops", "support")]`."""
    return type(f"Is{''.join(map(str.title, groups))}", (IsStaff,), {"groups": groups})
