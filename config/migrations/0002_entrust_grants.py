from __future__ import annotations

from django.db import migrations

from config.roles import entrust


class Migration(migrations.Migration):
    dependencies = [("config", "0001_entrust_staff")]

    operations = [migrations.RunPython(entrust, migrations.RunPython.noop)]
