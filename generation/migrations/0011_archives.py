"""A zip of photos that a job works from."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('core', '0002_stored_object'),
        ('generation', '0010_reports'),
    ]

    operations = [
        migrations.AddField(
            model_name='generation',
            name='archive',
            field=models.OneToOneField(blank=True, help_text='A zip of photos that it works from, as it was put; gone a day after the end.', null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='core.storedobject'),
        ),
        migrations.AlterField(
            model_name='photo',
            name='purpose',
            field=models.CharField(choices=[('photo', 'A photo to work from'), ('model3d', 'A view of a thing, for a 3D model'), ('archive', 'A zip of such views')], db_default='photo', default='photo', max_length=10),
        ),
        migrations.AlterField(
            model_name='upload',
            name='purpose',
            field=models.CharField(choices=[('photo', 'A photo to work from'), ('model3d', 'A view of a thing, for a 3D model'), ('archive', 'A zip of such views')], max_length=10),
        ),
    ]
