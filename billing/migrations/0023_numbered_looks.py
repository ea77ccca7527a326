from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("billing", "0022_refunds_of_orders")]

    operations = [
        migrations.RunSQL("CREATE SEQUENCE billing_look_number", "DROP SEQUENCE billing_look_number"),
        # Looks of subscriptions were counted row by row; the numbers of before mean nothing now.
        migrations.RunSQL("UPDATE billing_subscription SET look_applied = 0", migrations.RunSQL.noop),
        migrations.RemoveField("subscription", "looks"),
        migrations.AlterField(
            "subscription",
            "look_applied",
            models.PositiveBigIntegerField(default=0, help_text="The latest look at the gateway that this row shows."),
        ),
        migrations.AddField(
            "dispute",
            "look_applied",
            models.PositiveBigIntegerField(default=0, help_text="The latest look at the gateway that moved it."),
        ),
    ]
