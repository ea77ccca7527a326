"""django-import-export puts a catalogue into our table: `python import_export_wearables.py FILE`, told in JSON.

Run by an interpreter that holds bench/requirements-import-export.txt. As its manual begins: a ModelResource, the file
as a dataset, `import_data`. The model is our table as it stands, without the columns that PostgreSQL reckons.
"""

from __future__ import annotations

import json
import os
import sys
import time
import uuid
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import django
from django.conf import settings

where = urlsplit(os.environ["DATABASE_URL"])
settings.configure(
    DATABASES={
        "default": {
            "ENGINE": "django.db.backends.postgresql",
            "NAME": where.path.lstrip("/"),
            "USER": where.username or "postgres",
            "HOST": os.environ["DATABASE_HOST"],
            **{key.upper(): value[0] for key, value in parse_qs(where.query).items() if key in ("host", "user")},
        }
    },
    INSTALLED_APPS=["import_export"],
    USE_TZ=True,
)
django.setup()

import tablib  # noqa: E402  Django had to be set up first
from django.contrib.postgres.fields import ArrayField  # noqa: E402
from django.db import models  # noqa: E402
from import_export import fields, resources  # noqa: E402


class Wearable(models.Model):
    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    code = models.CharField(max_length=40, unique=True)
    category = models.CharField(max_length=60)
    name = models.CharField(max_length=200)
    description = models.CharField(max_length=2000, blank=True)
    subcategory = models.CharField(max_length=60, default="")
    image_url = models.CharField(max_length=500, default="")
    tags = ArrayField(models.CharField(max_length=40), default=list)
    style = models.CharField(max_length=40, default="")
    color = models.CharField(max_length=40, default="")
    material = models.CharField(max_length=40, default="")
    season = models.CharField(max_length=40, default="")
    occasion = models.CharField(max_length=40, default="")
    size = models.CharField(max_length=20, default="")
    fit = models.CharField(max_length=20, default="")
    is_active = models.BooleanField(default=True)
    sort_order = models.PositiveIntegerField(default=0)

    class Meta:
        app_label = "peer"
        managed = False
        db_table = "wearables_wearable"

    def __str__(self) -> str:
        return self.name


class WearableResource(resources.ModelResource):
    code = fields.Field(column_name="ID", attribute="code")
    category = fields.Field(column_name="Category", attribute="category")
    name = fields.Field(column_name="Wearable Item", attribute="name")
    description = fields.Field(column_name="Description", attribute="description")

    class Meta:
        model = Wearable
        import_id_fields = ("code",)
        fields = ("code", "category", "name", "description")


began = time.perf_counter()
dataset = tablib.Dataset().load(Path(sys.argv[1]).read_text(encoding="utf-8"), format="csv")
result = WearableResource().import_data(dataset, dry_run=False)
took_s = time.perf_counter() - began
print(json.dumps({"took_s": took_s, "totals": result.totals, "errors": len(result.error_rows)}))
