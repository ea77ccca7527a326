"""Beside the previous release: each index is built without a lock, and only then is the one it replaces dropped."""

from django.contrib.postgres.operations import AddIndexConcurrently, RemoveIndexConcurrently
from django.db import migrations, models


def _index(model, name, *fields):
    return AddIndexConcurrently(model, models.Index(fields=[*fields], name=name))


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("audit", "0006_staff_acts")]
    operations = [
        _index("auditlog", "audit_of_entity", "entity_id", "at", "id"),
        RemoveIndexConcurrently("auditlog", "audit_entity"),
        _index("auditlog", "audit_of_user", "user_id", "at", "id"),
        RemoveIndexConcurrently("auditlog", "audit_user"),
        _index("auditlog", "audit_of_actor", "actor_id", "at", "id"),
        RemoveIndexConcurrently("auditlog", "audit_actor"),
        _index("auditlog", "audit_of_action", "action", "at", "id"),
        RemoveIndexConcurrently("auditlog", "audit_action"),
        _index("auditdetail", "audit_detail_of_ip", "ip", "log"),
        RemoveIndexConcurrently("auditdetail", "audit_detail_ip"),
    ]
