"""Who may call what, walked from the schema: an operation without an expectation here fails."""

from __future__ import annotations

import re
import uuid
from typing import Any

import pytest
from django.contrib.auth.models import Group
from drf_spectacular.generators import SchemaGenerator
from rest_framework.response import Response
from rest_framework.test import APIRequestFactory

from accounts.api import tokens
from accounts.models import User
from core.api.permissions import staff
from core.api.views import ViewSet
from tests.people import PASSWORD, api, make_staff, make_user, open_session

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
    "generations_operations",
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
    "users_sessions_list",
    "users_sessions_destroy_all",
    "users_sessions_destroy",
    "credits_balance",
    "credits_history",
    "credits_explain",
    "wallets_list",
    "wallets_retrieve",
    "wallets_entries",
}

# Operations of staff alone → the groups whose people may call them, besides superusers.
STAFF: dict[str, set[str]] = {}


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
