"""Atelier's own settings with the audit logs that others use as further apps."""

from __future__ import annotations

from config.settings import *  # noqa: F403
from config.settings import INSTALLED_APPS as OURS

INSTALLED_APPS = [*OURS, "auditlog", "simple_history", "pghistory", "bench.peers.customers"]
PGHISTORY_ADMIN_ALL_EVENTS = False
