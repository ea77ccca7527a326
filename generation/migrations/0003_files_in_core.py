"""What files refer to is core's model now; the table and its keys are the same."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("core", "0002_stored_object"), ("generation", "0002_operations_and_blocked_terms")]

    operations = [
        migrations.SeparateDatabaseAndState(
            state_operations=[
                migrations.AlterField("photo", "file", models.OneToOneField(null=True, on_delete=django.db.models.deletion.PROTECT, related_name="photo", to="core.storedobject")),
                migrations.AlterField("asset", "file", models.OneToOneField(null=True, on_delete=django.db.models.deletion.PROTECT, related_name="asset", to="core.storedobject")),
                migrations.AlterField("asset", "thumbnail", models.OneToOneField(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name="thumbnail_of", to="core.storedobject")),
                migrations.DeleteModel("StoredObject"),
            ],
        ),
    ]
