"""Looking as a customer: who may, what it shows, that it changes nothing, and that the customer is told."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.db.models.functions import Now
from django.test import Client
from django.urls import reverse

from accounts import looks
from accounts.models import Look, User
from audit.models import AuditLog
from core import context
from core.errors import PermissionDenied
from core.ids import new_id
from dashboard.console import looking
from tests import books
from tests.generation.material import fund, order
from tests.people import api, make_staff, make_user
from tests.test_texts import MARKUP

pytestmark = pytest.mark.django_db
REASON = {"reason": "Ticket 12: the picture is missing.", "_form_submitted": "True"}


def browser(person: User) -> Client:
    client = Client()
    client.force_login(person)
    return client


def begin(client: Client, person: User) -> Any:
    return client.post(reverse("admin:accounts_user_look_as", args=[person.pk]), REASON)


def page(person: User, code: str = "account") -> str:
    return reverse("console-look", args=[person.pk, code])


def test_support_reads_what_the_customers_own_app_shows(alice: User, support: User) -> None:
    fund(alice, 200)
    order(alice)
    client = browser(support)

    led = begin(client, alice)

    assert led["Location"] == reverse("console-look", args=[alice.pk])
    for section in looking.SECTIONS.values():
        shown = client.get(page(alice, section.code))
        assert shown.status_code == 200, section.code
        assert shown.context["answer"].status == 200, (section.code, shown.content)
    balance = client.get(page(alice, "balance")).content.decode()
    own = api(alice).get("/api/v1/credits/explain").json()
    assert str(own["available"]) in balance
    jobs = client.get(page(alice, "jobs")).content.decode()
    assert api(alice).get("/api/v1/generations").json()["results"][0]["id"] in jobs
    books.check()


def test_it_is_told_to_the_customer_and_to_the_log(alice: User, support: User) -> None:
    client = browser(support)
    begin(client, alice)
    client.get(page(alice, "limits"))

    [told] = [one for one in api(alice).get("/api/v1/dashboard/activity").json()["results"] if one["type"] == "look"]
    assert (told["title"], told["description"]) == ("Support looked at your account", REASON["reason"])
    assert support.email not in str(told)
    rows = AuditLog.objects.filter(entity_type="look").order_by("id")
    assert [(row.action, row.actor_id, row.on_behalf_of_id, row.user_id) for row in rows] == [
        (action, support.pk, alice.pk, alice.pk) for action in ("look.begun", "look.shown")
    ]
    assert rows[1].metadata == {"section": "limits"}
    staffs = client.get(reverse("console-customer", args=[alice.pk])).context["events"]
    assert [event.title for event in staffs if event.label == "audit.auditlog"] == ["look.begun"]


def test_a_look_ends_and_is_of_one_person_for_one_person(alice: User, bob: User, support: User) -> None:
    client, colleague = browser(support), browser(make_staff("finance"))
    begin(client, alice)

    assert client.get(page(alice)).status_code == 200
    assert client.get(page(bob)).status_code == 302
    assert colleague.get(page(alice)).status_code == 302
    Look.objects.update(ends_at=Now() - timedelta(seconds=1))
    over = client.get(page(alice))
    assert (over.status_code, over["Location"]) == (302, reverse("console-customer", args=[alice.pk]))
    assert not AuditLog.objects.filter(action="look.shown", metadata__section="x").exists()


def test_nobody_looks_as_staff_nor_as_who_has_become_it(alice: User, support: User, finance: User) -> None:
    client = browser(support)
    for person in (finance, support, User.objects.create_superuser("root@example.test", "correct horse battery 9")):
        begin(client, person)
        with pytest.raises(PermissionDenied):
            looks.begin(person, actor=support, reason="Why not.")
    assert not Look.objects.exists()

    begin(client, alice)
    User.objects.filter(pk=alice.pk).update(is_staff=True)
    assert client.get(page(alice)).status_code == 302
    User.objects.filter(pk=alice.pk).update(is_staff=False, status="deleting")
    assert client.get(page(alice)).status_code == 302


def test_a_look_shows_no_more_than_the_lists_do(alice: User) -> None:
    finance = make_staff("finance")
    client = browser(finance)
    begin(client, alice)

    assert client.get(page(alice, "payments")).status_code == 200
    assert client.get(page(alice, "photos")).status_code == 403
    assert client.get(page(alice, "sessions")).status_code == 403
    assert client.get(page(alice, "nonsense")).status_code == 404
    codes = {section.code for section in client.get(page(alice)).context["sections"]}
    assert {"photos", "sessions", "avatars"}.isdisjoint(codes)
    finance.groups.clear()
    assert client.get(page(alice)).status_code == 403


def test_the_database_refuses_what_would_write(alice: User, support: User, monkeypatch: Any) -> None:
    look = looks.begin(alice, actor=support, reason="To see.")

    def write(*_: Any, **__: Any) -> Any:
        assert context.current().on_behalf_of_id == alice.pk
        User.objects.filter(pk=alice.pk).update(first_name="Changed")

    monkeypatch.setattr("accounts.api.me.serializers.UserSerializer", write)
    assert looking.read(look, looking.SECTIONS["account"]).status == 500
    with connection.cursor() as cursor:
        cursor.execute("SHOW transaction_read_only")
        assert cursor.fetchone() == ("off",)
    client = browser(support)
    for method in (client.post, client.put, client.patch, client.delete):
        assert method(page(alice)).status_code == 405
    alice.refresh_from_db()
    assert alice.first_name == "Alice"


def test_nothing_that_opens_something_is_shown() -> None:
    told = looking.tell(
        {
            "client": {"client_secret": "pi_1_secret_2"},
            "url": "https://files.example.com/signed",
            "results": [{"livekit": {"token": "x"}, "thumbnail_url": "https://files.example.com/small"}],
            "amount": 49_900,
            "currency": "INR",
        }
    )

    assert told == {
        "facts": [
            ("results", {"items_of": [{"facts": [("thumbnail url", {"picture": "https://files.example.com/small"})]}]}),
            ("amount", {"text": "₹499.00"}),
            ("currency", {"text": "INR"}),
        ]
    }


def test_a_suspended_or_unverified_customer_sees_what_they_would(support: User, unverified: User) -> None:
    client = browser(support)
    begin(client, unverified)

    refused = client.get(page(unverified, "payments"))

    assert (refused.status_code, refused.context["answer"].status) == (200, 403)
    assert "email_not_verified" in refused.content.decode()
    for nonsense in ("0", "x", "9" * 40, "-1", "1&role=staff"):
        assert client.get(f"{page(unverified, 'history')}?page={nonsense}").status_code == 200
    assert client.get(page(make_user(first_name=MARKUP))).status_code == 302
    assert client.get(reverse("console-look", args=[new_id()])).status_code == 302
