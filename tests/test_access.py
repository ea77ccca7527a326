"""Who may call what, walked from the schema: an operation without an expectation here fails."""

from __future__ import annotations

import re
import uuid
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.db.models.functions import Now
from drf_spectacular.generators import SchemaGenerator
from rest_framework.response import Response
from rest_framework.test import APIRequestFactory

from accounts.api import tokens
from accounts.models import Session, User
from billing import payments, subscriptions
from billing.models import Payment, Subscription, Wallet
from calls.models import Call
from core.api.permissions import staff
from core.api.views import ViewSet
from core.errors import Error
from generation.models import Avatar, Generation, Photo
from store.models import Order
from tests import books
from tests.calls import given as calls
from tests.generation.material import avatar_of, fund, order, photo_of
from tests.people import PASSWORD, api, make_staff, make_user, open_session
from tests.store.material import placed
from wearables import customizations, selections
from wearables.models import Customization, Selection, Wearable

PUBLIC = {
    "auth_register",
    "auth_login",
    "auth_refresh",
    "auth_verify_email",
    "auth_forgot_password",
    "auth_reset_password",
    "auth_confirm_email",
    "credits_packages",
    "payments_pricing",
    "subscriptions_plans",
    "generations_operations",
    "wearables_list",
    "wearables_categories",
    "wearables_retrieve",
    "products_list",
    "products_retrieve",
    "webhooks_receive",
}
SIGNED_IN = {
    "auth_logout",
    "auth_resend_verification",
    "auth_change_password",
    "auth_change_email",
    "users_me_retrieve",
    "users_me_update",
    "users_me_partial_update",
    "users_me_destroy",
    "users_me_delete",
    "users_notifications_retrieve",
    "users_notifications_partial_update",
    "users_statistics",
    "users_export_create",
    "users_export_retrieve",
    "users_sessions_list",
    "users_sessions_destroy_all",
    "users_sessions_destroy",
    "credits_balance",
    "credits_history",
    "credits_explain",
    "wallets_list",
    "wallets_retrieve",
    "wallets_entries",
    "wearables_selections_list",
    "wearables_selections_add",
    "wearables_selections_replace",
    "wearables_selections_remove",
    "wearables_customizations_list",
    "wearables_customizations_create",
    "wearables_customizations_retrieve",
    "wearables_customizations_update",
    "wearables_customizations_delete",
    "dashboard_retrieve",
    "dashboard_quick_stats",
    "dashboard_analytics",
    "dashboard_activity",
    "dashboard_limits",
}

# Things that are nobody's: anybody may look at one.
PUBLIC_THINGS = {"wearables_retrieve", "products_retrieve"}

# Operations of staff alone → the groups whose people may call them, besides superusers.
STAFF: dict[str, set[str]] = {
    "products_create": {"ops"},
    "products_update": {"ops"},
    "products_partial_update": {"ops"},
    "products_delete": {"ops"},
    "orders_status": {"ops", "support"},
}
# Whoever calls these is nobody afterwards.
FAREWELLS = {"users_me_destroy"}


def operations() -> list[tuple[str, str, str]]:
    schema: Any = SchemaGenerator().get_schema(request=None, public=True)
    return sorted(
        (operation["operationId"], method, path)
        for path, methods in schema["paths"].items()
        for method, operation in methods.items()
    )


def ask(client: Any, method: str, path: str) -> Any:
    url = re.sub(r"\{[^}]+\}", str(uuid.uuid4()), path)
    return getattr(client, method)(url, {} if method != "get" else None, format="json")


@pytest.mark.django_db
def test_each_operation_asks_for_what_it_should(settings: Any) -> None:
    settings.RATELIMIT_ENABLE = False
    unverified = make_user("new@example.com", verified=False)
    wrong = []
    seen = set()
    for name, method, path in operations():
        seen.add(name)
        anonymous = ask(api(), method, path).status_code
        as_unverified = ask(api(unverified), method, path)
        if name in FAREWELLS:
            unverified = make_user(verified=False)
        body = as_unverified.json() if as_unverified.content else None
        code = body.get("error") if isinstance(body, dict) else None
        if name in STAFF:
            good = anonymous == 401 and code == "email_not_verified"
        elif name in PUBLIC:
            good = code not in ("not_authenticated", "email_not_verified") or name == "auth_refresh"
        elif name in SIGNED_IN:
            good = anonymous == 401 and code not in ("not_authenticated", "email_not_verified")
        else:
            good = anonymous == 401 and code == "email_not_verified"
        if not good:
            wrong.append((name, anonymous, as_unverified.status_code, code))

    assert wrong == []
    assert (PUBLIC | SIGNED_IN | STAFF.keys()) - seen == set()


def refused(client: Any, method: str, path: str) -> bool:
    return bool(ask(client, method, path).status_code == 403)


@pytest.mark.django_db
def test_each_operation_of_staff_is_for_its_groups_and_their_second_factor(settings: Any) -> None:
    settings.RATELIMIT_ENABLE = False
    settings.MFA_REQUIRED = True
    people = {name: make_staff(name) for name in ("support", "finance", "ops")}
    customer = make_user("customer@example.com")
    wrong = []
    for name, method, path in operations():
        if name not in STAFF:
            continue
        for group, person in people.items():
            if refused(api(person), method, path) != (group not in STAFF[name]):
                wrong.append((name, group))
            if not refused(api(person, has_mfa=False), method, path):
                wrong.append((name, group, "without the second factor"))
        if not refused(api(customer), method, path):
            wrong.append((name, "customer"))

    assert wrong == []


class Probe(ViewSet):
    permission_classes = [staff("ops", "support")]

    def list(self, request: Any) -> Response:
        return Response({})


@pytest.mark.django_db
def test_who_counts_as_staff(settings: Any) -> None:
    settings.MFA_REQUIRED = True
    view = Probe.as_view({"get": "list"})

    def may(user: Any, **how: Any) -> int:
        request = APIRequestFactory().get("/api/v1/probe")
        session = open_session(user, **how)
        request.META["HTTP_AUTHORIZATION"] = f"Bearer {tokens.pair(session)['access']}"
        return int(view(request).status_code)

    support, finance, ops = (make_staff(name) for name in ("support", "finance", "ops"))
    boss = User.objects.create_superuser("boss@example.test", PASSWORD)
    customer = make_user()
    impostor = make_user()
    impostor.groups.add(Group.objects.get(name="ops"))

    assert [may(user) for user in (support, ops, boss)] == [200, 200, 200]
    assert [may(user) for user in (finance, customer, impostor)] == [403, 403, 403]
    assert [may(user, has_mfa=False) for user in (support, ops, boss)] == [403, 403, 403]
    assert may(customer, has_mfa=True) == 403
    settings.MFA_REQUIRED = False
    assert may(support, has_mfa=False) == 200


# --- Other people's objects -------------------------------------------------------------------------------------------


def things_of(person: User) -> dict[str, Any]:
    """One real thing of the person's for each kind of address with an id in it."""
    fund(person, 100)
    with pytest.raises(Error):  # nothing listens at the gateway's address, but the payment is there
        payments.start(user=person, item="package:BASIC", gateway="razorpay")
    with pytest.raises(Error):
        subscriptions.start(user=person, plan="starter", interval="month")
    calls.fund(person, 50)
    photo = photo_of(person)
    item = Wearable.objects.create(code="W1", category="Tops", name="Tee")
    selections.add(user=person, wearable_ids=[item.pk])
    return {
        "calls": calls.ringing(person).pk,
        "photos": photo.pk,
        "generations": order(person, photo).pk,
        "avatars": avatar_of(person).pk,
        "payments": Payment.objects.get(user=person).pk,
        "subscriptions": Subscription.objects.get(user=person).pk,
        "orders": placed(person).pk,
        "wallets": Wallet.objects.filter(user=person).earliest("id").pk,
        "users/me/sessions": open_session(person).pk,
        "wearables/selections": Selection.objects.get(user=person).pk,
        "wearables/customizations": customizations.create(user=person, values={"name": "Mine"}).pk,
    }


@pytest.mark.django_db(transaction=True)
def test_to_strangers_and_colleagues_alices_things_do_not_exist(settings: Any, alice: User, tmp_path: Any) -> None:
    settings.XAI_API_KEY = "xai-test"
    settings.RATELIMIT_ENABLE = False
    settings.MEDIA_ROOT = tmp_path
    settings.RAZORPAY_BASE_URL = settings.STRIPE_BASE_URL = settings.MAGIC_HOUR_BASE_URL = "http://127.0.0.1:1"
    things = things_of(alice)
    before = snapshot(alice)
    strangers = {"bob": make_user("bob@example.com")} | {
        name: make_staff(name) for name in ("support", "finance", "ops")
    }
    User.objects.filter(is_staff=True).update(verified_at=Now())
    wrong = []
    for name, method, path in operations():
        if "{id}" not in path or name in STAFF.keys() | PUBLIC_THINGS:
            continue
        place = path.removeprefix("/api/v1/").partition("/{id}")[0]
        assert place in things, f"{name}: give things_of() one of alice's {place}"
        url = path.replace("{id}", str(things[place]))
        for who, person in strangers.items():
            answer = getattr(api(person), method)(url, {}, format="json", headers={"Idempotency-Key": uuid.uuid4().hex})
            if answer.status_code != 404 or answer.json()["error"] != "not_found":
                wrong.append((name, who, answer.status_code))
            nothing = url.replace(str(things[place]), str(uuid.uuid4()))
            there = getattr(api(person), method)(
                nothing, {}, format="json", headers={"Idempotency-Key": uuid.uuid4().hex}
            )
            if {**there.json(), "request_id": ""} != {**answer.json(), "request_id": ""}:
                wrong.append((name, who, "tells that it exists"))
        if method == "get" and getattr(api(alice), method)(url).status_code not in (200, 302, 409):
            wrong.append((name, "alice", "cannot see her own"))

    assert wrong == []
    assert snapshot(alice) == before
    books.check()


def snapshot(person: User) -> list[Any]:
    """What is the person's, down to the state."""
    return [
        list(Generation.objects.filter(user=person).values_list("pk", "state", "deleted_at")),
        list(Avatar.objects.filter(user=person).values_list("pk", "name", "deleted_at")),
        list(Call.objects.filter(caller=person).values_list("pk", "state", "held")),
        list(Payment.objects.filter(user=person).values_list("pk", "state")),
        list(Subscription.objects.filter(user=person).values_list("pk", "state", "ends_now", "cancel_at_period_end")),
        list(Photo.objects.filter(user=person).values_list("pk", flat=True)),
        list(Order.objects.filter(user=person).values_list("pk", "state")),
        list(Wallet.objects.filter(user=person).order_by("pk").values_list("pk", "balance", "held")),
        Session.objects.filter(user=person).exclude(ended_at=None).count(),
        list(Selection.objects.filter(user=person).values_list("pk", flat=True)),
        list(Customization.objects.filter(user=person).values_list("pk", "name")),
    ]
