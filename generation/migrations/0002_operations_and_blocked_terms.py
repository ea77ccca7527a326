"""The first operation, and a modest block list for staff to widen."""

from __future__ import annotations

from typing import Any

from django.db import migrations

HEADSHOT = {
    "kind": "headshot",
    "title": "Professional headshot",
    "provider": "magic-hour",
    "model": "ai-headshot-generator",
    "limits": {
        "name": {"type": "text", "max_length": 120},
        "style_prompt": {"type": "text", "max_length": 1000},
    },
    "photos_min": 1,
    "photos_max": 1,
    "needs_consent": True,
    "base_price": 50,
    "is_default": True,
}

TERMS = {
    "adult": [
        "nude",
        "nudes",
        "nudity",
        "naked",
        "nsfw",
        "porn",
        "porno",
        "pornographic",
        "pornography",
        "hentai",
        "topless",
        "undressed",
        "genitals",
        "erotic",
        "sex act",
        "sexually explicit",
    ],
    "minors": ["child porn", "underage porn", "lolicon", "shotacon", "jailbait"],
    "violence": ["beheading", "decapitated", "dismembered", "gory"],
    "hate": ["swastika", "nazi salute", "ku klux klan", "white power"],
    "self_harm": ["commit suicide", "self harm", "cutting myself"],
    "deception": ["deepfake", "fake passport", "fake id", "counterfeit passport"],
}


def seed(apps: Any, schema_editor: Any) -> None:
    apps.get_model("generation", "Operation").objects.get_or_create(code="headshot", defaults=HEADSHOT)
    blocked = apps.get_model("generation", "BlockedTerm")
    blocked.objects.bulk_create(
        [blocked(term=term, category=category) for category, terms in TERMS.items() for term in terms],
        ignore_conflicts=True,
    )


class Migration(migrations.Migration):
    dependencies = [("generation", "0001_jobs")]

    operations = [migrations.RunPython(seed, migrations.RunPython.noop)]
