from __future__ import annotations

from django.apps import AppConfig
from django.contrib.admin import apps as admin


class AccountsConfig(AppConfig):
    name = "accounts"
    verbose_name = "Accounts"
    default = True

    def ready(self) -> None:
        from accounts import checks  # noqa: F401  (registers the system checks)


class ConsoleConfig(admin.AdminConfig):
    """Django's admin with our site, which asks staff for their second factor."""

    default = False
    default_site = "accounts.console.Console"
