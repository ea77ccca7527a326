"""What browsers are told: whose scripts may run, who may read an answer, what may be kept and packed."""

from __future__ import annotations

import gzip
from typing import Any

import pytest
from django.test import Client, RequestFactory

from billing import pages
from core import csp

pytestmark = pytest.mark.django_db
ORIGIN = "http://localhost:5173"
LIST = "/api/v1/credits/packages"


@pytest.fixture
def client() -> Client:
    return Client(raise_request_exception=False)


def refusal(response: Any, status: int, code: str) -> dict[str, Any]:
    assert response.status_code == status, response.content
    body: dict[str, Any] = response.json()
    assert list(body) == ["error", "message", "details", "charged", "request_id"]
    assert body["error"] == code
    assert body["request_id"] == response["X-Request-ID"]
    return body


# --- Content security policy ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "policy"),
    [
        (LIST, csp.DATA),
        ("/api/v1/nothing", csp.DATA),
        ("/api/schema", csp.DATA),
        ("/api/docs", csp.DOCUMENTATION),
        ("/api/redoc", csp.DOCUMENTATION),
        ("/admin/login/", csp.CONSOLE),
        ("/nothing", csp.PAGE),
        ("/pay/forged", csp.PAGE),
        ("/health/live", csp.PAGE),
    ],
)
def test_each_answer_has_its_policy(client: Client, path: str, policy: str) -> None:
    response = client.get(path)

    assert response[csp.HEADER] == policy
    assert response["X-Content-Type-Options"] == "nosniff"
    assert response["X-Frame-Options"] == "DENY"
    assert response["Referrer-Policy"] == "same-origin"


def test_no_policy_lets_a_page_run_scripts_that_stand_in_it() -> None:
    for policy in (csp.DATA, csp.PAGE, csp.CONSOLE, csp.DOCUMENTATION, csp.checkout("https://*.gateway.example")):
        rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
        assert rules["default-src"] == "'none'"
        assert rules["frame-ancestors"] == "'none'"
        assert "'unsafe-inline'" not in rules.get("script-src", "")
        assert "*" not in rules.get("script-src", "").split()
    assert "'unsafe-eval'" not in csp.PAGE + csp.DOCUMENTATION


def test_a_view_may_have_a_policy_of_its_own(client: Client) -> None:
    policy = client.get("/verify-email/forged")[csp.HEADER]

    assert policy.startswith("default-src 'none'; style-src 'unsafe-inline'")
    assert "razorpay.com" in csp.checkout(pages.CHECKOUT_ORIGINS)


# --- Who may read an answer -------------------------------------------------------------------------------------------


def test_an_allowed_origin_may_read_answers_and_refusals(client: Client) -> None:
    for path in (LIST, "/api/v1/nothing", "/api/v1/photos"):
        response = client.get(path, headers={"Origin": ORIGIN})
        assert response["Access-Control-Allow-Origin"] == ORIGIN
        assert "Access-Control-Allow-Credentials" not in response
        exposed = response["Access-Control-Expose-Headers"]
        for name in ("ETag", "Location", "Retry-After", "X-Request-ID", "RateLimit", "Idempotent-Replayed"):
            assert name in exposed
        assert "origin" in response["Vary"]


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://localhost:5173.evil.example", "http://x"])
def test_no_other_origin_may(client: Client, origin: str) -> None:
    assert "Access-Control-Allow-Origin" not in client.get(LIST, headers={"Origin": origin})
    assert "Access-Control-Allow-Origin" not in client.options(
        LIST, headers={"Origin": origin, "Access-Control-Request-Method": "POST"}
    )


def test_a_preflight_names_what_clients_send(client: Client) -> None:
    response = client.options(
        "/api/v1/headshots",
        headers={
            "Origin": ORIGIN,
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "authorization,content-type,idempotency-key,if-none-match",
        },
    )

    assert response.status_code == 200
    assert response["Access-Control-Allow-Origin"] == ORIGIN
    for name in ("authorization", "content-type", "idempotency-key", "if-none-match"):
        assert name in response["Access-Control-Allow-Headers"]
    assert "PUT" in response["Access-Control-Allow-Methods"]


def test_pages_and_console_are_no_api(client: Client) -> None:
    for path in ("/admin/login/", "/verify-email/forged", "/health"):
        assert "Access-Control-Allow-Origin" not in client.get(path, headers={"Origin": ORIGIN})


# --- Addresses, methods, hosts ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    ["/api/", "/api/v2/photos", f"{LIST}/", "/api/v1//photos", "/api/v1/photos/%00", "/api/v1/payments/not-an-id"],
)
def test_an_address_that_is_none(client: Client, path: str) -> None:
    refusal(client.get(path), 404, "not_found")


@pytest.mark.parametrize("path", [LIST, "/api/schema", "/api/docs", "/api/redoc"])
def test_a_method_that_is_not_taken(client: Client, path: str) -> None:
    response = client.post(path, {}, content_type="application/json")

    refusal(response, 405, "method_not_allowed")
    assert "GET" in response["Allow"]


def test_options_that_is_no_preflight_tells_the_methods(client: Client) -> None:
    response = client.options(LIST)

    refusal(response, 405, "method_not_allowed")
    assert response["Allow"] == "GET, HEAD, OPTIONS"


def test_head_is_get_without_the_body(client: Client) -> None:
    for path in (LIST, "/api/schema"):
        response = client.head(path)
        assert (response.status_code, response.content) == (200, b"")
    assert client.head("/api/v1/photos").status_code == 401


def test_what_is_not_json_is_not_acceptable(client: Client) -> None:
    refusal(client.get(LIST, headers={"Accept": "text/html"}), 406, "not_acceptable")
    assert client.get(LIST, headers={"Accept": "text/html, */*;q=0.1"}).status_code == 200


def test_a_host_that_is_none_of_ours(client: Client, settings: Any) -> None:
    settings.ALLOWED_HOSTS = ["api.example.test"]

    for host in ("evil.example", "api.example.test.evil.example", "a b", "api.example.test@evil.example"):
        body = refusal(client.get(LIST, headers={"Host": host}), 400, "invalid")
        assert "Host" in body["message"]
        assert client.get("/admin/login/", headers={"Host": host}).status_code == 400
    assert client.get(LIST, headers={"Host": "api.example.test"}).status_code == 200


def test_the_console_refuses_a_form_from_elsewhere() -> None:
    client = Client(enforce_csrf_checks=True)

    assert client.post("/admin/login/", {"username": "a", "password": "b"}).status_code == 403


# --- Documentation ----------------------------------------------------------------------------------------------------


def test_the_schema_is_made_once_and_then_known_by_its_tag(client: Client) -> None:
    response = client.get("/api/schema")

    assert response.content.startswith(b"openapi: 3.1.0")
    again = client.get("/api/schema", headers={"If-None-Match": response["ETag"]})
    assert (again.status_code, again.content) == (304, b"")
    as_json = client.get("/api/schema", headers={"Accept": "application/json"})
    assert as_json.json()["openapi"] == "3.1.0"
    assert as_json["ETag"] != response["ETag"]


def test_the_shortcuts_lead_to_the_pages(client: Client) -> None:
    assert [client.get(path)["Location"] for path in ("/api", "/docs", "/redoc")] == [
        "/api/docs",
        "/api/docs",
        "/api/redoc",
    ]


def test_no_cache_keeps_what_the_api_tells_but_public_lists(client: Client) -> None:
    for path in ("/api/v1/photos", "/api/v1/nothing", "/api/v1/wallets"):
        assert client.get(path)["Cache-Control"] == "no-store"
    assert client.get(LIST)["Cache-Control"] == "public, no-cache"


# --- Packing ----------------------------------------------------------------------------------------------------------


def test_long_answers_are_packed_for_whoever_can_unpack(client: Client) -> None:
    plain = client.get(LIST)
    packed = client.get(LIST, headers={"Accept-Encoding": "gzip"})

    assert packed["Content-Encoding"] == "gzip"
    assert gzip.decompress(packed.content) == plain.content
    assert "Content-Encoding" not in plain
    # A few random bytes in the header keep the length from telling what is inside.
    assert len({len(client.get(LIST, headers={"Accept-Encoding": "gzip"}).content) for _ in range(30)}) > 1


def test_the_checkout_page_runs_the_gateways_script_and_ours(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages.checkouts, "payment_at", lambda signed: _Payment())
    monkeypatch.setattr(
        pages.checkouts, "client_of", lambda payment: {"key_id": "k", "order_id": "o", "amount": 1, "currency": "INR"}
    )
    monkeypatch.setattr(pages.checkouts, "return_url_of", lambda payment: None)
    monkeypatch.setattr(pages.checkouts, "start_of", lambda payment: None)

    response = pages.pay(RequestFactory().get("/pay/x"), "x")

    html = response.content.decode()
    assert "<script>" not in html
    assert "</script><script>alert" not in html
    assert response[csp.HEADER] == csp.checkout("https://*.razorpay.com")


class _Payment:
    pk = "0193f7a2-c1d8-7b1c-9d3e-5f60718293a4"
    title = "</script><script>alert(1)</script>"
    gateway = "razorpay"
    amount = 100
    currency = "INR"
