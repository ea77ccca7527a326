from __future__ import annotations

from django.apps import AppConfig


class WearablesConfig(AppConfig):
    name = "wearables"
