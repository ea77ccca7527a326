"""Who may call what, walked from the schema: an operation without an expectation here fails."""

from __future__ import annotations

import re
import uuid
from typing import Any

import pytest
from drf_spectacular.generators import SchemaGenerator

from tests.people import api, make_user

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
        if name in PUBLIC:
            good = code not in ("not_authenticated", "email_not_verified") or name == "auth_refresh"
        elif name in SIGNED_IN:
            good = anonymous == 401 and code not in ("not_authenticated", "email_not_verified")
        else:
            good = anonymous == 401 and code == "email_not_verified"
        if not good:
            wrong.append((name, anonymous, as_unverified.status_code, code))

    assert wrong == []
    assert (PUBLIC | SIGNED_IN) - seen == set()
