"""Atelier's own settings with Django's own admin: no theme, no base of ours, every default."""

from __future__ import annotations

from config.settings import *  # noqa: F403
from config.settings import INSTALLED_APPS as OURS

CONSOLE = {"unfold.apps.BasicAppConfig", "accounts.apps.ConsoleConfig"}
INSTALLED_APPS = ["django.contrib.admin.apps.SimpleAdminConfig", *(app for app in OURS if app not in CONSOLE)]
ROOT_URLCONF = "bench.peers.stock_admin"
SILENCED_SYSTEM_CHECKS = ["admin.E408", "admin.E409", "admin.E410"]  # ours go by other names
