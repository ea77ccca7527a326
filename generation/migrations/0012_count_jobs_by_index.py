from django.contrib.postgres.operations import AddIndexConcurrently, RemoveIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    atomic = False

    dependencies = [
        ('generation', '0011_archives'),
    ]

    operations = [
        AddIndexConcurrently(
            model_name='generation',
            index=models.Index(
                fields=['user', '-created_at', '-id'],
                include=['kind', 'state', 'deleted_at'], name='generation_job_newest',
            ),
        ),
        RemoveIndexConcurrently(model_name='generation', name='generation_job_list'),
    ]
