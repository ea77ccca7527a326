from django.contrib.postgres.operations import AddIndexConcurrently, RemoveIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    atomic = False

    dependencies = [
        ('generation', '0016_unmade_jobs'),
    ]

    operations = [
        AddIndexConcurrently(
            model_name='generation',
            index=models.Index(
                condition=models.Q(('finished_at__isnull', False)), fields=['finished_at'], name='generation_job_ended'
            ),
        ),
        RemoveIndexConcurrently(model_name='generation', name='generation_job_finished'),
    ]
