"""Generation's tables, a file per aggregate."""

from __future__ import annotations

from generation.models.avatars import Avatar, AvatarStatus
from generation.models.jobs import (
    OPEN,
    TERMINAL,
    TRANSITIONS,
    Asset,
    Attempt,
    Consent,
    Generation,
    JobPhoto,
    Outcome,
    State,
)
from generation.models.moderation import BlockedTerm, Category, Report, ReportReason, ReportStatus
from generation.models.operations import Kind, Operation
from generation.models.photos import Photo, Purpose, Upload

__all__ = [
    "OPEN",
    "TERMINAL",
    "TRANSITIONS",
    "Asset",
    "Attempt",
    "Avatar",
    "AvatarStatus",
    "BlockedTerm",
    "Category",
    "Consent",
    "Generation",
    "JobPhoto",
    "Kind",
    "Operation",
    "Outcome",
    "Photo",
    "Purpose",
    "Report",
    "ReportReason",
    "ReportStatus",
    "State",
    "Upload",
]
