"""Four kinds more, and what their jobs need: a queue, stages, what was made besides files."""

import django.core.validators
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('generation', '0003_files_in_core'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.RemoveIndex(
            model_name='generation',
            name='generation_job_due',
        ),
        migrations.AddField(
            model_name='attempt',
            name='made',
            field=models.JSONField(blank=True, db_default=models.Value({}, models.JSONField()), default=dict),
        ),
        migrations.AddField(
            model_name='attempt',
            name='stage',
            field=models.PositiveSmallIntegerField(db_default=1, default=1),
        ),
        migrations.AddField(
            model_name='generation',
            name='data',
            field=models.JSONField(blank=True, db_default=models.Value({}, models.JSONField()), default=dict),
        ),
        migrations.AddField(
            model_name='generation',
            name='queue',
            field=models.CharField(db_default='providers', default='providers', max_length=20),
        ),
        migrations.AddField(
            model_name='generation',
            name='stage',
            field=models.PositiveSmallIntegerField(db_default=1, default=1),
        ),
        migrations.AlterField(
            model_name='attempt',
            name='outcome',
            field=models.CharField(choices=[('pending', 'The call is being made'), ('not_started', 'The provider surely did not start'), ('unknown', 'The provider may have started'), ('running', 'The provider works'), ('succeeded', 'Made and used'), ('failed', 'The provider refused or failed'), ('abandoned', 'We ended first')], default='pending', max_length=12),
        ),
        migrations.AlterField(
            model_name='generation',
            name='kind',
            field=models.CharField(choices=[('headshot', 'Headshot'), ('image', 'Image'), ('video', 'Video'), ('avatar', 'Avatar'), ('model3d', '3D model')], max_length=20),
        ),
        migrations.AlterField(
            model_name='operation',
            name='code',
            field=models.CharField(max_length=40, unique=True, validators=[django.core.validators.RegexValidator('\\A[a-z0-9_-]+(\\.[a-z0-9_-]+)*\\Z', 'Small letters, digits, - and _, parted by dots.')]),
        ),
        migrations.AlterField(
            model_name='operation',
            name='kind',
            field=models.CharField(choices=[('headshot', 'Headshot'), ('image', 'Image'), ('video', 'Video'), ('avatar', 'Avatar'), ('model3d', '3D model')], max_length=20),
        ),
        migrations.AddIndex(
            model_name='generation',
            index=models.Index(condition=models.Q(('state__in', ['queued', 'submitting', 'running', 'storing'])), fields=['queue', 'state', 'next_at'], name='generation_job_work'),
        ),
        migrations.AddConstraint(
            model_name='generation',
            constraint=models.CheckConstraint(condition=models.Q(('stage__gte', 1)), name='generation_generation_stage'),
        ),
    ]
