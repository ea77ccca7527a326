from __future__ import annotations

from django.db import migrations

from config.roles import entrust


class Migration(migrations.Migration):
    dependencies = [("config", "0014_entrust_sales_stops"), ("notifications", "0007_resending_many")]

    operations = [migrations.RunPython(entrust, migrations.RunPython.noop)]
