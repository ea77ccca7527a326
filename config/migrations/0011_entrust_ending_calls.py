from __future__ import annotations

from django.db import migrations

from config.roles import entrust


class Migration(migrations.Migration):
    dependencies = [("config", "0010_entrust_audit")]

    operations = [migrations.RunPython(entrust, migrations.RunPython.noop)]
