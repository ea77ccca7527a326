"""The providers, one line each."""

from __future__ import annotations

from django.utils.module_loading import import_string

from generation.providers.base import Provider

REGISTRY: dict[str, str] = {
    "kie": "generation.providers.kie.Kie",
    "magic-hour": "generation.providers.magic_hour.MagicHour",
    "photogrammetry": "generation.providers.photogrammetry.Photogrammetry",
    "xai": "generation.providers.xai.Xai",
}


def get(code: str) -> Provider:
    """The provider of that name.

    Raises: KeyError.
    """
    provider: Provider = import_string(REGISTRY[code])()
    return provider


def is_configured(code: str) -> bool:
    """Whether the provider exists and has its keys."""
    return code in REGISTRY and get(code).is_configured
