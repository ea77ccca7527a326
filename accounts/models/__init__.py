"""Tables of the accounts app."""

from __future__ import annotations

from accounts.models.sessions import EndReason, Session
from accounts.models.users import User, UserManager, UserStatus
from accounts.models.verification import EmailVerification

__all__ = ["EmailVerification", "EndReason", "Session", "User", "UserManager", "UserStatus"]
