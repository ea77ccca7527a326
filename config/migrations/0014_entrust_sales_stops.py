from __future__ import annotations

from django.db import migrations

from config.roles import entrust


class Migration(migrations.Migration):
    dependencies = [("config", "0013_entrust_looks")]

    operations = [migrations.RunPython(entrust, migrations.RunPython.noop)]
