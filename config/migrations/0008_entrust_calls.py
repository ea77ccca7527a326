from __future__ import annotations

from django.db import migrations

from config.roles import entrust


class Migration(migrations.Migration):
    dependencies = [("config", "0007_entrust_store")]

    operations = [migrations.RunPython(entrust, migrations.RunPython.noop)]
