"""Every refusal under /api/ has one shape, one clear sentence and a request id."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client, RequestFactory

from audit.models import AuditLog
from core.middleware import client_ip
from tests.people import make_user

pytestmark = [pytest.mark.django_db, pytest.mark.urls("tests.core.probe")]


@pytest.fixture
def client() -> Client:
    user = make_user(email="alice@example.test")
    return Client(headers={"X-Test-User": user.email}, raise_request_exception=False)


def refusal(response: Any, status: int, code: str) -> dict[str, Any]:
    body: dict[str, Any] = response.json()
    assert response.status_code == status, body
    assert list(body) == ["error", "message", "details", "charged", "request_id"]
    assert body["error"] == code
    assert body["message"]
    assert isinstance(body["details"], list)
    assert body["request_id"] == response["X-Request-ID"]
    return body


def post(client: Client, body: Any, key: str = "k1", **headers: str) -> Any:
    return client.post(
        "/api/v1/things",
        body,
        content_type="application/json",
        headers={"Idempotency-Key": key, **headers},
    )


def test_unknown_address() -> None:
    refusal(Client().get("/api/v1/nothing"), 404, "not_found")


def test_not_signed_in() -> None:
    response = Client().get("/api/v1/things")

    refusal(response, 401, "not_authenticated")
    assert response["WWW-Authenticate"].startswith("Bearer")


def test_mailbox_not_verified() -> None:
    make_user(email="new@example.test", verified=False)

    refusal(Client(headers={"X-Test-User": "new@example.test"}).get("/api/v1/verified"), 403, "email_not_verified")


def test_wrong_method(client: Client) -> None:
    refusal(client.delete("/api/v1/things"), 405, "method_not_allowed")


@pytest.mark.parametrize("body", [b"{", b'{"name": NaN}', b"\xff", b'{"name": "a",}'])
def test_bad_json(client: Client, body: bytes) -> None:
    refusal(post(client, body), 400, "malformed_body")


@pytest.mark.parametrize(
    ("body", "shown"),
    [
        (b'{"name": "a", "name": "b"}', ": name."),
        (b'{"name": "a", "count": 1, "nam\\u0065": "a"}', ": name."),
        (b'{"name": "a", "inner": [{"count": 1, "count": 1}]}', ": count."),
        (b'{"name": "a", "' + b"x" * 99 + b'": 1, "' + b"x" * 99 + b'": 2}', "once."),
        (b'{"name": "a", "\\n": 1, "\\n": 2}', "once."),
    ],
)
def test_a_field_named_twice_is_refused(client: Client, body: bytes, shown: str) -> None:
    said = refusal(post(client, body), 400, "malformed_body")["message"]

    assert said.startswith("The body names a field more than once")
    assert said.endswith(shown)
    assert not AuditLog.objects.filter(entity_type="probe").exists()
    assert post(client, b'{"name": "a", "count": 1}').status_code == 202  # the key is free


@pytest.mark.parametrize("body", ["[]", '"text"', "7", "null"])
def test_a_body_that_is_not_an_object(client: Client, body: str) -> None:
    refusal(post(client, body), 400, "invalid")


def test_wrong_content_type(client: Client) -> None:
    response = client.post("/api/v1/things", "name=a", content_type="text/plain", headers={"Idempotency-Key": "k"})

    refusal(response, 415, "unsupported_media_type")


def test_body_too_large(client: Client) -> None:
    refusal(post(client, b'{"name": "' + b"a" * (1 << 20) + b'"}'), 413, "too_large")


def test_unknown_and_bad_fields_are_named(client: Client) -> None:
    body = refusal(post(client, {"name": "a", "credits": 5, "role": "staff"}), 400, "invalid")
    assert {(d["field"], d["code"]) for d in body["details"]} == {
        ("credits", "unknown_field"),
        ("role", "unknown_field"),
    }

    body = refusal(post(client, {"name": "a\x00b", "count": 1.5}), 400, "invalid")
    assert {(d["field"], d["code"]) for d in body["details"]} == {
        ("name", "control_characters" if "control" in str(body) else "null_characters_not_allowed"),
        ("count", "invalid"),
    }
    assert not AuditLog.objects.filter(entity_type="probe").exists()


def test_text_is_stored_composed_and_as_typed(client: Client) -> None:
    assert post(client, {"name": "e\u0301 <b>=1+1</b>"}).status_code == 202

    assert AuditLog.objects.get(entity_type="probe").action == "\u00e9 <b>=1+1</b>"


@pytest.mark.parametrize("query", ["page=0", "page=x", "limit=0", "limit=101", "limit=-1", "limit=1.5", "limit=٣"])
def test_bad_pages(client: Client, query: str) -> None:
    refusal(client.get(f"/api/v1/things?{query}"), 400, "invalid")


def test_page_past_the_end(client: Client) -> None:
    refusal(client.get("/api/v1/things?page=9"), 404, "not_found")


def test_unknown_parameters_are_refused(client: Client) -> None:
    body = refusal(client.get("/api/v1/things?lmit=5"), 400, "invalid")

    assert body["details"][0]["code"] == "unknown_parameter"


def test_pages_count_and_link(client: Client) -> None:
    AuditLog.objects.bulk_create(
        AuditLog(action=f"a{n}", entity_type="probe", entity_id="1", source="API", request_id="") for n in range(5)
    )
    total = AuditLog.objects.count()

    body = client.get("/api/v1/things?limit=2").json()

    assert (body["count"], len(body["results"]), body["previous"]) == (total, 2, None)
    assert "page=2" in body["next"]


def test_an_unforeseen_error_is_an_envelope_and_says_unknown(client: Client) -> None:
    body = refusal(post(client, {"name": "crash"}), 500, "internal_error")

    assert body["charged"] == "unknown"
    assert "nobody foresaw" not in str(body)


def test_request_id_is_taken_over_only_when_it_is_plain(client: Client) -> None:
    assert client.get("/api/v1/things", headers={"X-Request-ID": "abc-12345"})["X-Request-ID"] == "abc-12345"
    assert client.get("/api/v1/things", headers={"X-Request-ID": "a b<script>"})["X-Request-ID"] != "a b<script>"


@pytest.fixture
def long_window(settings: Any) -> None:
    """No window ends in the middle of a test."""
    assert settings.RATE_LIMITS["auth"] == (5, 60, "ip")
    settings.RATE_LIMITS = settings.RATE_LIMITS | {"auth": (5, 86_400, "ip")}


def test_limits_are_told_and_kept(client: Client, long_window: None) -> None:
    answers = [client.get("/api/v1/limited") for _ in range(6)]

    assert [a.status_code for a in answers] == [200] * 5 + [429]
    assert answers[0]["RateLimit"].startswith('"auth";r=4;t=')
    assert answers[0]["RateLimit-Policy"] == '"auth";q=5;w=86400'
    refusal(answers[5], 429, "rate_limited")
    assert 1 <= int(answers[5]["Retry-After"]) <= 86_400


def test_a_spoofed_forwarded_for_changes_nothing(client: Client, long_window: None) -> None:
    answers = [client.get("/api/v1/limited", headers={"X-Forwarded-For": f"9.9.9.{n}"}) for n in range(6)]

    assert answers[5].status_code == 429


def test_behind_a_trusted_proxy_the_first_untrusted_hop_counts(
    client: Client, settings: Any, long_window: None
) -> None:
    settings.TRUSTED_PROXIES = ["127.0.0.0/8", "10.0.0.0/8"]

    def ask(header: str) -> int:
        return client.get("/api/v1/limited", headers={"X-Forwarded-For": header}).status_code

    assert [ask("1.1.1.1, 8.8.8.8, 10.0.0.1") for _ in range(6)][-1] == 429
    assert ask("8.8.8.8, 8.8.4.4, 10.0.0.1") == 200
    assert ask("6.6.6.6, 8.8.8.8, 10.0.0.1") == 429


def test_without_redis_reads_work_and_what_must_be_counted_fails_closed(client: Client, settings: Any) -> None:
    import redis as library

    from core import redis

    redis.client.cache_clear()
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    try:
        assert client.get("/api/v1/things").status_code == 200
        body = refusal(client.get("/api/v1/limited"), 503, "unavailable")
        assert body["charged"] == "none"
        with pytest.raises(library.RedisError):
            redis.client().ping()
    finally:
        redis.client.cache_clear()


def test_a_link_that_opens_something_is_not_logged(settings: Any, caplog: pytest.LogCaptureFixture) -> None:
    settings.ROOT_URLCONF = "config.urls"
    caplog.set_level("INFO", logger="request")

    Client().get("/files/topsecretlink")

    assert "files/<str:signed>" in caplog.text
    assert "topsecretlink" not in caplog.text


# --- Bodies that are too much -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"[" * 100_000 + b"]" * 100_000, 400, "malformed_body"),
        (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, 400, "malformed_body"),
        (b'{"name":' + b"[" * 500 + b"]" * 500 + b"}", 400, "malformed_body"),
        (b'{"name": "a", "count": ' + b"9" * 5000 + b"}", 400, "malformed_body"),
        (b'{"name": "a", "count": 1e400}', 400, None),
        (b'{"name": "a", "count": 9223372036854775808}', 400, "invalid"),
        (b'{"name": "a", "count": -0.0}', 400, "invalid"),
        (b'{"name": "\\ud800"}', 400, None),
        (b'{"name": "a\\u202eb"}', 400, "invalid"),
        (b"\xef\xbb\xbf{}", 400, "malformed_body"),
        ("{" + ",".join(f'"f{n}": {n}' for n in range(50_000)) + "}", 400, "invalid"),
    ],
)
def test_bodies_that_are_made_to_hurt(client: Client, body: bytes | str, status: int, code: str | None) -> None:
    response = post(client, body)

    refusal(response, status, code or response.json()["error"])
    assert len(response.content) < 10_000
    assert not AuditLog.objects.filter(entity_type="probe").exists()


@pytest.mark.parametrize("text", ["نمی‌دانم", "क्‍ष", "👩‍👩‍👧", "a\u200fb", "a\u200bb", "🏴\U000e0067\U000e007f"])
def test_invisible_characters_that_languages_need_stay(client: Client, text: str) -> None:
    assert post(client, {"name": text}).status_code == 202
    assert AuditLog.objects.get(entity_type="probe").action == text


# --- Whose address counts ---------------------------------------------------------------------------------------------

PROXIES = ["10.0.0.0/8", "fd00::/8", "::ffff:0:0/96"]


@pytest.mark.parametrize(
    ("peer", "header", "counted"),
    [
        ("203.0.113.7", "1.2.3.4", "203.0.113.7"),  # nobody's proxy
        ("10.0.0.1", "", "10.0.0.1"),
        ("10.0.0.1", "1.2.3.4", "1.2.3.4"),
        ("10.0.0.1", "6.6.6.6, 1.2.3.4", "1.2.3.4"),
        ("10.0.0.1", "6.6.6.6, 1.2.3.4, 10.9.9.9", "1.2.3.4"),
        ("10.0.0.1", "10.1.1.1, 10.9.9.9", "10.0.0.1"),  # proxies only
        ("10.0.0.1", "1.2.3.4, junk", "10.0.0.1"),
        ("10.0.0.1", "1.2.3.4, 5.6.7.8:4711", "10.0.0.1"),
        ("10.0.0.1", "1.2.3.4,, ,", "1.2.3.4"),
        ("10.0.0.1", "2001:db8::7", "2001:db8::7"),
        ("10.0.0.1", "2001:DB8:0:0::7", "2001:db8::7"),
        ("10.0.0.1", "1.2.3.4, <script>", "10.0.0.1"),
        ("10.0.0.1", "9" * 5000, "10.0.0.1"),
        ("fd00::1", "1.2.3.4", "1.2.3.4"),
        ("", "1.2.3.4", "1.2.3.4"),  # a unix socket: the proxy beside us
    ],
)
def test_only_what_our_proxies_say_counts(settings: Any, peer: str, header: str, counted: str) -> None:
    settings.TRUSTED_PROXIES = PROXIES
    request = RequestFactory().get("/", REMOTE_ADDR=peer, headers={"X-Forwarded-For": header})

    assert client_ip(request) == counted
    settings.TRUSTED_PROXIES = []
    assert client_ip(request) == peer


@pytest.mark.parametrize("name", ["X-Real-IP", "Forwarded", "X-Client-IP", "True-Client-IP", "CF-Connecting-IP"])
def test_no_other_header_names_the_client(settings: Any, name: str) -> None:
    settings.TRUSTED_PROXIES = PROXIES
    request = RequestFactory().get("/", REMOTE_ADDR="10.0.0.1", headers={name: "1.2.3.4"})

    assert client_ip(request) == "10.0.0.1"
