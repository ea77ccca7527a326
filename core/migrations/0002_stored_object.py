"""Files have a row here. The table was generation's; it stays as it is, and only Django's own picture of it moves."""

import core.ids
import core.models
import django.db.models.expressions
import django.db.models.functions.datetime
from datetime import timedelta
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("core", "0001_initial"), ("generation", "0001_jobs")]

    operations = [
        migrations.SeparateDatabaseAndState(
            state_operations=[
                migrations.CreateModel(
                    name="StoredObject",
                    fields=[
                        ("id", models.UUIDField(default=core.ids.new_id, editable=False, primary_key=True, serialize=False)),
                        ("created_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False)),
                        ("key", models.CharField(max_length=255, unique=True)),
                        ("expires_at", models.DateTimeField(blank=True, db_default=django.db.models.expressions.CombinedExpression(django.db.models.functions.datetime.Now(), "+", models.Value(timedelta(days=1))), null=True)),
                    ],
                    options={
                        "db_table": "generation_storedobject",
                        "indexes": [models.Index(condition=models.Q(("expires_at__isnull", False)), fields=["expires_at"], name="generation_object_expiry")],
                    },
                ),
            ],
        ),
    ]
