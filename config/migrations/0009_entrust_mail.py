from __future__ import annotations

from django.db import migrations

from config.roles import entrust


class Migration(migrations.Migration):
    dependencies = [("config", "0008_entrust_calls"), ("notifications", "0003_tracking")]

    operations = [migrations.RunPython(entrust, migrations.RunPython.noop)]
