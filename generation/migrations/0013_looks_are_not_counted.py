"""Looks at a provider are not counted any more. The column stays for the previous release, which still writes it."""

from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("generation", "0012_count_jobs_by_index")]

    operations = [
        migrations.AlterField("attempt", "polls", models.PositiveIntegerField(default=0, db_default=0)),
        migrations.SeparateDatabaseAndState(state_operations=[migrations.RemoveField("attempt", "polls")]),
    ]
