"""What is sold beside headshots: pictures, films at two providers, 3D models."""

from __future__ import annotations

from typing import Any

from django.db import migrations

NAME = {"type": "text", "max_length": 120}
OPERATIONS = {
    "image": {
        "kind": "image",
        "title": "Picture",
        "provider": "xai",
        "model": "grok-imagine-image-2.0",
        "limits": {
            "name": NAME,
            "prompt": {"type": "text", "min_length": 5, "max_length": 2000, "required": True},
            "size": {
                "type": "choice",
                "choices": ["256x256", "512x512", "1024x1024", "1920x1080", "2048x2048"],
                "default": "1024x1024",
            },
            "quality": {"type": "choice", "choices": ["standard", "hd", "premium"], "default": "standard"},
            "count": {"type": "integer", "min": 1, "max": 4, "default": 1},
            "optimize_prompt": {"type": "boolean", "default": False},
        },
        "needs_consent": False,
        "base_price": 5,
        "multipliers": {
            "quality": {"choices": {"standard": "1", "hd": "1.5", "premium": "2"}},
            "size": {"choices": {"1920x1080": "1.5", "2048x2048": "2"}},
            "count": {"each": True},
        },
        "is_default": True,
    },
    "video.xai": {
        "kind": "video",
        "title": "Film, 3 to 30 seconds",
        "provider": "xai",
        "model": "grok-imagine-video",
        "limits": {
            "name": NAME,
            "prompt": {"type": "text", "min_length": 5, "max_length": 2000, "required": "without_picture"},
            "duration": {"type": "integer", "min": 3, "max": 30, "default": 6},
            "style": {"type": "choice", "choices": ["natural", "cinematic", "artistic"], "default": "natural"},
            "aspect_ratio": {"type": "choice", "choices": ["16:9", "9:16", "1:1", "4:3", "3:4", "3:2", "2:3"]},
            "with_audio": {"type": "boolean", "default": True},
            "optimize_prompt": {"type": "boolean", "default": False},
        },
        "photos_max": 1,
        "base_price": 15,
        "multipliers": {"duration": {"per": 6}},
        "is_default": True,
    },
    "video.kie": {
        "kind": "video",
        "title": "Film of 5 or 8 seconds",
        "provider": "kie",
        "model": "runway",
        "limits": {
            "name": NAME,
            "prompt": {"type": "text", "min_length": 10, "max_length": 1800, "required": True},
            "triggers": {
                "type": "choices",
                "choices": ["soap", "sponge", "ice", "water", "honey", "cubes", "petals", "pages"],
                "max": 3,
            },
            "duration": {"type": "choice", "choices": [5, 8], "default": 5},
            "quality": {"type": "choice", "choices": ["720p", "1080p"], "default": "720p"},
            "aspect_ratio": {"type": "choice", "choices": ["16:9", "4:3", "1:1", "3:4", "9:16"], "default": "16:9"},
            "water_mark": {"type": "text", "max_length": 100},
        },
        "photos_max": 1,
        "base_price": 20,
        "multipliers": {
            "duration": {"with": "quality", "table": {"5": {"720p": "1", "1080p": "1.25"}, "8": {"720p": "1.5"}}}
        },
    },
    "model3d": {
        "kind": "model3d",
        "title": "3D model from photos",
        "provider": "photogrammetry",
        "model": "pycolmap",
        "limits": {"name": NAME},
        "photos_min": 8,
        "photos_max": 200,
        "needs_consent": False,
        "base_price": 40,
        "is_default": True,
    },
}


def seed(apps: Any, schema_editor: Any) -> None:
    for code, row in OPERATIONS.items():
        apps.get_model("generation", "Operation").objects.get_or_create(code=code, defaults=row)


class Migration(migrations.Migration):
    dependencies = [("generation", "0007_uploads")]

    operations = [migrations.RunPython(seed, migrations.RunPython.noop)]
