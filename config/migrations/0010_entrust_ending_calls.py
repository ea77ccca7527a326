from __future__ import annotations

from django.db import migrations

from config.roles import entrust


class Migration(migrations.Migration):
    dependencies = [("config", "0009_entrust_mail")]

    operations = [migrations.RunPython(entrust, migrations.RunPython.noop)]
