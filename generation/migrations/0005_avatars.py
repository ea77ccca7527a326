"""Avatars, and the jobs that make them or work from them."""
import core.ids
import django.db.models.deletion
import django.db.models.functions.datetime
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('generation', '0004_kinds_queues_stages'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name='Avatar',
            fields=[
                ('id', models.UUIDField(default=core.ids.new_id, editable=False, primary_key=True, serialize=False)),
                ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False)),
                ('name', models.CharField(max_length=100)),
                ('description', models.CharField(max_length=1000)),
                ('style', models.CharField(blank=True, max_length=200)),
                ('content_category', models.CharField(default='sfw', max_length=10)),
                ('profile', models.JSONField(blank=True, default=dict, help_text='See profiles.SCHEMA; empty until it is ready.')),
                ('updated_at', models.DateTimeField(auto_now=True)),
                ('deleted_at', models.DateTimeField(blank=True, null=True)),
                ('generation', models.OneToOneField(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='generation.generation')),
                ('thumbnail', models.OneToOneField(blank=True, help_text='Null: not ready.', null=True, on_delete=django.db.models.deletion.PROTECT, related_name='face_of', to='generation.asset')),
                ('user', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL)),
            ],
        ),
        migrations.AddField(
            model_name='generation',
            name='avatar',
            field=models.ForeignKey(blank=True, db_index=False, help_text='The one that it makes, or that is to be in what it makes.', null=True, on_delete=django.db.models.deletion.PROTECT, related_name='generations', to='generation.avatar'),
        ),
        migrations.AddIndex(
            model_name='generation',
            index=models.Index(condition=models.Q(('avatar__isnull', False)), fields=['avatar', '-created_at', '-id'], name='generation_job_of_avatar'),
        ),
        migrations.AddIndex(
            model_name='avatar',
            index=models.Index(fields=['user', '-created_at', '-id'], name='generation_avatar_list'),
        ),
        migrations.AddConstraint(
            model_name='avatar',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('thumbnail', None), ('profile', {})), models.Q(('thumbnail__isnull', False), models.Q(('profile', {}), _negated=True)), _connector='OR'), name='generation_avatar_whole'),
        ),
    ]
