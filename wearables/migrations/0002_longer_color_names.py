from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('wearables', '0001_catalogue'),
    ]

    operations = [
        migrations.AlterField(
            model_name='customization',
            name='color_name',
            field=models.CharField(blank=True, max_length=60),
        ),
    ]
