"""A chat costs us less than a hundredth of a cent."""

from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('generation', '0008_pictures_films_and_models'),
    ]

    operations = [
        migrations.AlterField(
            model_name='attempt',
            name='provider_cost',
            field=models.DecimalField(blank=True, decimal_places=6, max_digits=16, null=True),
        ),
    ]
