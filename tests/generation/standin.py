"""A provider that is configured and never called."""

from django.conf import settings

from generation.providers.magic_hour import MagicHour


class Standin(MagicHour):
    code = "xai"

    @property
    def is_configured(self) -> bool:
        return bool(settings.XAI_API_KEY)
