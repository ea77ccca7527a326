"""Tables of the accounts app."""

from __future__ import annotations

from accounts.models.sessions import Session
from accounts.models.users import User, UserManager, UserStatus
from accounts.models.verification import EmailVerification

__all__ = ["EmailVerification", "Session", "User", "UserManager", "UserStatus"]
