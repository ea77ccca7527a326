import core.ids
import django.contrib.postgres.fields
import django.contrib.postgres.indexes
import django.core.validators
import django.db.models.deletion
import django.db.models.functions.datetime
import django.db.models.functions.text
import wearables.models
from django.conf import settings
from django.contrib.postgres.operations import TrigramExtension
from django.db import migrations, models


class Migration(migrations.Migration):

    initial = True

    dependencies = [
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        TrigramExtension(),
        migrations.CreateModel(
            name='Import',
            fields=[
                ('id', models.UUIDField(default=core.ids.new_id, editable=False, primary_key=True, serialize=False)),
                ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False)),
                ('filename', models.CharField(max_length=200)),
                ('sha256', models.CharField(max_length=64)),
                ('state', models.CharField(choices=[('planned', 'Planned'), ('applied', 'Applied'), ('rolled_back', 'Rolled Back'), ('discarded', 'discarded for a newer plan')], max_length=20)),
                ('report', models.JSONField(default=dict)),
                ('content', models.BinaryField(null=True)),
                ('applied_at', models.DateTimeField(null=True)),
                ('rolled_back_at', models.DateTimeField(null=True)),
                ('actor', models.ForeignKey(null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL)),
            ],
            options={
                'permissions': (('apply_import', 'Can plan, apply and roll back imports'),),
            },
        ),
        migrations.CreateModel(
            name='Wearable',
            fields=[
                ('id', models.UUIDField(default=core.ids.new_id, editable=False, primary_key=True, serialize=False)),
                ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False)),
                ('code', models.CharField(max_length=40, unique=True)),
                ('category', models.CharField(max_length=60)),
                ('subcategory', models.CharField(blank=True, max_length=60)),
                ('name', models.CharField(max_length=200)),
                ('description', models.CharField(blank=True, max_length=2000)),
                ('image_url', models.CharField(blank=True, max_length=500, validators=[django.core.validators.RegexValidator('\\Ahttps?://\\S+\\Z', 'An http or https address.')])),
                ('has_image', models.GeneratedField(db_persist=True, expression=models.Q(('image_url', ''), _negated=True), output_field=models.BooleanField())),
                ('tags', django.contrib.postgres.fields.ArrayField(base_field=models.CharField(max_length=40), blank=True, default=list, size=20)),
                ('style', models.CharField(blank=True, max_length=40)),
                ('color', models.CharField(blank=True, max_length=40)),
                ('material', models.CharField(blank=True, max_length=40)),
                ('season', models.CharField(blank=True, max_length=40)),
                ('occasion', models.CharField(blank=True, max_length=40)),
                ('size', models.CharField(blank=True, max_length=20)),
                ('fit', models.CharField(blank=True, max_length=20)),
                ('is_active', models.BooleanField(db_default=True, default=True)),
                ('sort_order', models.PositiveIntegerField(db_default=0, default=0, help_text='Smaller ones come first.')),
                ('updated_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False)),
                ('words', models.GeneratedField(db_persist=True, expression=django.db.models.functions.text.Lower(django.db.models.functions.text.Concat('name', models.Value(' '), 'category', models.Value(' '), 'subcategory', models.Value(' '), 'style', models.Value(' '), 'color', models.Value(' '), 'material')), output_field=models.TextField())),
                ('origin', models.ForeignKey(blank=True, db_index=False, editable=False, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='wearables.import')),
            ],
        ),
        migrations.CreateModel(
            name='Selection',
            fields=[
                ('id', models.UUIDField(default=core.ids.new_id, editable=False, primary_key=True, serialize=False)),
                ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False)),
                ('user', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='+', to=settings.AUTH_USER_MODEL)),
                ('wearable', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='wearables.wearable')),
            ],
        ),
        migrations.CreateModel(
            name='Former',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('was', models.JSONField()),
                ('of_import', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='former', to='wearables.import')),
                ('wearable', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='+', to='wearables.wearable')),
            ],
        ),
        migrations.CreateModel(
            name='Customization',
            fields=[
                ('id', models.UUIDField(default=core.ids.new_id, editable=False, primary_key=True, serialize=False)),
                ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False)),
                ('name', models.CharField(max_length=100, validators=[django.core.validators.MinLengthValidator(1)])),
                ('primary_color', models.CharField(blank=True, max_length=7)),
                ('secondary_color', models.CharField(blank=True, max_length=7)),
                ('color_name', models.CharField(blank=True, max_length=40)),
                ('size', models.CharField(blank=True, choices=[('XS', 'Xs'), ('S', 'S'), ('M', 'M'), ('L', 'L'), ('XL', 'Xl'), ('XXL', 'Xxl')], max_length=3)),
                ('fit', models.CharField(blank=True, choices=[('SLIM', 'Slim'), ('REGULAR', 'Regular'), ('LOOSE', 'Loose')], max_length=7)),
                ('attributes', models.JSONField(blank=True, default=dict)),
                ('updated_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False)),
                ('user', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='+', to=settings.AUTH_USER_MODEL)),
                ('wearable', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='wearables.wearable')),
            ],
        ),
        migrations.AddIndex(
            model_name='import',
            index=models.Index(fields=['-created_at'], name='wearables_import_newest'),
        ),
        migrations.AddIndex(
            model_name='wearable',
            index=models.Index(condition=models.Q(('is_active', True)), fields=['sort_order', 'id'], name='wearables_order'),
        ),
        migrations.AddIndex(
            model_name='wearable',
            index=models.Index(condition=models.Q(('is_active', True)), fields=['category', 'sort_order', 'id'], name='wearables_category'),
        ),
        migrations.AddIndex(
            model_name='wearable',
            index=models.Index(condition=models.Q(('origin__isnull', False)), fields=['origin'], name='wearables_origin'),
        ),
        migrations.AddIndex(
            model_name='wearable',
            index=django.contrib.postgres.indexes.GinIndex(wearables.models.Words(models.F('words')), name='wearables_words'),
        ),
        migrations.AddIndex(
            model_name='wearable',
            index=django.contrib.postgres.indexes.GinIndex(fields=['words'], name='wearables_trigrams', opclasses=['gin_trgm_ops']),
        ),
        migrations.AddConstraint(
            model_name='wearable',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('code', ''), _negated=True), models.Q(('category', ''), _negated=True), models.Q(('name', ''), _negated=True)), name='wearables_named'),
        ),
        migrations.AddConstraint(
            model_name='selection',
            constraint=models.UniqueConstraint(fields=('user', 'wearable'), name='wearables_selected_once'),
        ),
        migrations.AddConstraint(
            model_name='former',
            constraint=models.UniqueConstraint(fields=('of_import', 'wearable'), name='wearables_former_once'),
        ),
        migrations.AddIndex(
            model_name='customization',
            index=models.Index(fields=['user', '-created_at', '-id'], name='wearables_custom_list'),
        ),
    ]
