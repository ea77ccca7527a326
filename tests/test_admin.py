"""The ops console knows every model, and the books cannot be edited in it."""

from __future__ import annotations

import pytest
from django.apps import apps
from django.contrib import admin
from django.test import Client, RequestFactory
from django.urls import reverse

from accounts.models import User
from audit.models import AuditLog
from core import context
from tests.people import PASSWORD

OURS = ("core", "audit", "inbox", "notifications", "accounts", "billing", "generation")
READ_ONLY = {
    "audit.auditlog",
    "audit.auditdetail",
    "inbox.delivery",
    "billing.wallet",
    "billing.ledgertransaction",
    "billing.ledgerentry",
    "billing.hold",
    "billing.creditlot",
    "billing.debt",
    "billing.payment",
    "generation.attempt",
}


def models() -> list[type]:
    return [model for app in OURS for model in apps.get_app_config(app).get_models()]


@pytest.fixture
def boss(db: None) -> User:
    return User.objects.create_superuser("boss@example.test", PASSWORD)


def test_every_model_is_registered() -> None:
    assert [m.__name__ for m in models() if not admin.site.is_registered(m)] == []


@pytest.mark.parametrize("label", sorted(READ_ONLY))
def test_the_books_are_read_only_even_for_superusers(boss: User, label: str) -> None:
    model_admin = admin.site.get_model_admin(apps.get_model(label))
    request = RequestFactory().get("/admin/")
    request.user = boss

    assert not model_admin.has_add_permission(request)
    assert not model_admin.has_change_permission(request)
    assert not model_admin.has_delete_permission(request)
    assert model_admin.has_view_permission(request)


@pytest.mark.parametrize("label", sorted(m._meta.label_lower for m in models()))
def test_every_list_opens(boss: User, label: str) -> None:
    client = Client()
    client.force_login(boss)
    app, name = label.split(".")

    response = client.get(reverse(f"admin:{app}_{name}_changelist"))

    assert response.status_code == 200


def test_the_console_is_closed_to_everybody_else(alice: User) -> None:
    client = Client()
    assert client.get("/admin/").status_code == 302
    client.force_login(alice)
    assert client.get("/admin/", follow=False).status_code == 302


def test_what_staff_do_in_the_console_is_theirs(boss: User) -> None:
    client = Client()
    client.force_login(boss)

    term = {"term": "forbidden thing", "category": "adult", "is_enabled": "on"}

    response = client.post(reverse("admin:generation_blockedterm_add"), term)

    assert response.status_code == 302
    row = AuditLog.objects.get(entity_type="blockedterm")
    assert (row.source, row.actor_id) == ("ADMIN", boss.pk)
    assert context.current().actor_id is None
