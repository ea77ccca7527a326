"""Tables of the accounts app."""

from __future__ import annotations

from accounts.models.exports import Export, ExportState
from accounts.models.leaving import Erasure
from accounts.models.links import EmailChange, EmailVerification, MailedLink, PasswordReset
from accounts.models.looks import Look
from accounts.models.sessions import EndReason, Session
from accounts.models.users import User, UserManager, UserStatus

__all__ = [
    "EmailChange",
    "EmailVerification",
    "EndReason",
    "Erasure",
    "Export",
    "ExportState",
    "Look",
    "MailedLink",
    "PasswordReset",
    "Session",
    "User",
    "UserManager",
    "UserStatus",
]
