"""The ops console's pages for generation."""

from __future__ import annotations

from generation.admin import avatars, catalogue, jobs, media, reports

__all__ = ["avatars", "catalogue", "jobs", "media", "reports"]
