"""An avatar, and another thumbnail for it."""

from __future__ import annotations

from typing import Any

from django.db import migrations

_XAI = {"kind": "avatar", "provider": "xai", "model": "grok-imagine-image-2.0", "needs_consent": False}
OPERATIONS = {
    "avatar": {
        **_XAI,
        "title": "Avatar",
        "limits": {
            "name": {"type": "text", "max_length": 100, "required": True},
            "description": {"type": "text", "min_length": 10, "max_length": 1000, "required": True},
            "style": {"type": "text", "max_length": 200},
            "content_category": {"type": "choice", "choices": ["sfw"]},
        },
        "base_price": 10,
        "is_default": True,
    },
    "avatar.thumbnail": {**_XAI, "title": "Another thumbnail for an avatar", "base_price": 5},
}


def seed(apps: Any, schema_editor: Any) -> None:
    for code, row in OPERATIONS.items():
        apps.get_model("generation", "Operation").objects.get_or_create(code=code, defaults=row)


class Migration(migrations.Migration):
    dependencies = [("generation", "0005_avatars")]

    operations = [migrations.RunPython(seed, migrations.RunPython.noop)]
