"""The three staff groups exist from the first day; each app grants them its own acts."""

from __future__ import annotations

from typing import Any

from django.db import migrations

GROUPS = ("support", "finance", "ops")


def seed(apps: Any, schema_editor: Any) -> None:
    group = apps.get_model("auth", "Group")
    for name in GROUPS:
        group.objects.get_or_create(name=name)


class Migration(migrations.Migration):
    dependencies = [("accounts", "0001_initial"), ("auth", "0012_alter_user_first_name_max_length")]

    operations = [migrations.RunPython(seed, migrations.RunPython.noop)]
