"""The ops console's pages for generation."""

from __future__ import annotations

from generation.admin import catalogue, jobs, media

__all__ = ["catalogue", "jobs", "media"]
