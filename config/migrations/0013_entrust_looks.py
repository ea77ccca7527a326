from __future__ import annotations

from django.db import migrations

from config.roles import entrust


class Migration(migrations.Migration):
    dependencies = [("config", "0012_entrust_console")]

    operations = [migrations.RunPython(entrust, migrations.RunPython.noop)]
