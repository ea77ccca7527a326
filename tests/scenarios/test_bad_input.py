"""Bad input over HTTP: each gets one clear refusal, nothing is lost, nothing is left half written."""

from __future__ import annotations

import hmac
import io
import json
import socket
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests
from PIL import Image

from tests.generation.material import encoded, png_chunks
from tests.scenarios.client import PASSWORD, Customer, portrait
from tests.scenarios.shop import Shop, key, named, refused
from tests.scenarios.stack import until

pytestmark = pytest.mark.scenario

JSON = {"Content-Type": "application/json"}
ORDER = {"item": "credits:10", "gateway": "razorpay"}


@pytest.fixture(scope="module")
def alice(shop: Shop) -> Customer:
    """The owner, with 49 credits."""
    person = shop.customer("alice@example.com")
    person.buy("credits:44")
    return person


@pytest.fixture(scope="module")
def bob(shop: Shop) -> Customer:
    """The stranger."""
    return shop.customer("bob@example.com")


@pytest.fixture(autouse=True, scope="module")
def balanced(shop: Shop) -> Iterator[None]:
    """After all of it, the books balance."""
    yield
    shop.check_books()


@pytest.fixture(autouse=True)
def nothing_lost(shop: Shop) -> Iterator[None]:
    """After every test nothing is held, no process has died, and nothing met the web that it did not foresee."""
    yield
    assert shop.rows("SELECT count(*) FROM billing_hold WHERE state = 'open'") == [(0,)]
    assert {name: process.poll() for name, process in shop.stack.processes.items()} == dict.fromkeys(
        shop.stack.processes
    )
    assert "[error" not in shop.stack.log("web"), shop.stack.log("web")[-3000:]


def snapshot(shop: Shop) -> list[Any]:
    """All that a refusal must leave alone, once everything said before has come in."""
    shop.stack.hear_all()
    tables = (
        *("accounts_user", "billing_payment", "billing_ledgertransaction", "billing_hold", "core_idempotencykey"),
        *("generation_photo", "generation_generation", "generation_storedobject", "inbox_delivery"),
    )
    return [(table, shop.count(table)) for table in tables] + [
        sorted(path for path in shop.files("media") if "audit" not in path.parts)
    ]


# --- Pictures ---------------------------------------------------------------------------------------------------------


def upload(person: Customer, content: bytes, name: str = "me.jpg", **fields: Any) -> requests.Response:
    return person.send("POST", "photos", files={"file": (name, content)}, **fields)


def test_what_is_no_picture_is_refused(shop: Shop, alice: Customer) -> None:
    whole, before = portrait(), snapshot(shop)
    bad = {
        "text": (b"hello", 415, "unsupported_media_type"),
        "renamed executable": (b"MZ\x90\x00" + bytes(2000), 415, "unsupported_media_type"),
        "svg": (b'<svg xmlns="http://www.w3.org/2000/svg"/>', 415, "unsupported_media_type"),
        "tiff": (encoded(Image.new("RGB", (9, 9)), "TIFF"), 415, "unsupported_media_type"),
        "empty": (b"", 400, "invalid"),
        "truncated": (whole[: len(whole) // 2], 400, "image_unreadable"),
        "20,000 x 20,000": (png_chunks(20_000, 20_000, 8, 0, bytes(20_000)), 413, "too_many_pixels"),
        "51 MB": (whole + bytes(51_000_000 - len(whole)), 413, "too_large"),
    }

    for content, status, code in bad.values():
        refused(upload(alice, content), status, code)
    refused(alice.send("POST", "photos", json={"file": "x"}), 415, "unsupported_media_type")
    refused(alice.send("POST", "photos", files={"files": ("a.jpg", whole)}), 400, "invalid")
    refused(
        alice.send("POST", "photos", files=[("file", ("a.jpg", whole)), ("file", ("b.jpg", whole))]), 400, "invalid"
    )
    refused(upload(alice, whole, data={"purpose": "x", "user": str(uuid.uuid4())}), 400, "invalid")
    many = {f"field{n}": (None, "x") for n in range(1500)}
    assert alice.send("POST", "photos", files=many).status_code == 400

    assert snapshot(shop) == before


def test_odd_pictures_become_plain_upright_ones(shop: Shop, alice: Customer) -> None:
    image = Image.open(io.BytesIO(portrait()))
    exif = image.getexif()
    exif[0x0112], exif[0x010F] = 6, "Atelier Camera"
    exif.get_ifd(0x8825).update({1: "N", 2: (52.0, 30.0, 0.0), 3: "E", 4: (13.0, 2.0, 1.0)})
    frames = [Image.new("RGB", (300, 400), (20 * n, 0, 0)) for n in range(9)]
    odd = {
        "GPS, rotated": (encoded(image, "JPEG", exif=exif), (1200, 900)),
        "CMYK": (encoded(image.convert("CMYK"), "JPEG"), (900, 1200)),
        "16-bit grey": (png_chunks(300, 400, 16, 0, b"\x9c\x40" * 300), (300, 400)),
        "16-bit colour": (png_chunks(300, 400, 16, 2, b"\x9c\x40\x20\x00\xff\xff" * 300), (300, 400)),
        "animation": (encoded(frames[0], "GIF", save_all=True, append_images=frames[1:]), (300, 400)),
    }

    for label, (content, size) in odd.items():
        photo = upload(alice, content).json()
        kept = requests.get(alice.ok("GET", f"photos/{photo['id']}/url")["url"], timeout=60).content
        shown = Image.open(io.BytesIO(kept))
        shown.load()
        assert (shown.format, shown.mode, shown.size) == ("JPEG", "RGB", size), label
        assert (photo["width"], photo["height"]) == size, label
        assert not shown.getexif(), label
    assert odd["GPS, rotated"][0].count(b"Exif")
    assert not [path for path in shop.files("media") if b"Exif" in path.read_bytes() or b"Camera" in path.read_bytes()]


def test_a_file_is_called_by_its_plain_name(shop: Shop, alice: Customer) -> None:
    names = {
        "../../../etc/passwd": "passwd",
        "..\\..\\boot.ini": "boot.ini",
        "\u202egpj.exe": "gpj.exe",
        " ": "photo",
    }

    for given, shown in names.items():
        assert upload(alice, portrait(), given).json()["filename"] == shown
    kept = {path.relative_to(shop.folder / "media").parts[0] for path in shop.files("media")}
    assert kept <= {"photos", "audit"}


def test_a_body_in_chunks_is_a_body(shop: Shop, alice: Customer) -> None:
    """Phones stream their uploads without saying how long they are."""
    form = requests.Request("POST", "http://x", files={"file": ("me.jpg", portrait())}).prepare()
    assert isinstance(form.body, bytes)

    sent = alice.send("POST", "photos", data=iter([form.body]), headers={"Content-Type": form.headers["Content-Type"]})

    assert (sent.status_code, sent.json()["width"]) == (201, 900)
    order = iter([b'{"item":', b'"credits:9","gateway":"razorpay"}'])
    refused(alice.send("POST", "payments", key=key(), data=order, headers=JSON), 400, "invalid")
    refused(alice.send("POST", "webhooks/razorpay", data=iter([b"x" * (2 << 20)])), 413, "too_large")


def test_an_address_for_a_photo_takes_that_photo_and_nothing_else(shop: Shop, alice: Customer) -> None:
    content, kind = portrait(), {"Content-Type": "image/jpeg"}
    body = {"filename": "me.jpg", "content_type": "image/jpeg", "bytes": len(content)}
    for wrong in ("", "a b", "x" * 256):
        answer = alice.send("POST", "photos/upload-url", json=body, headers={"Idempotency-Key": wrong})
        refused(answer, 400, "invalid")
    upload = alice.ok("POST", "photos/upload-url", json=body)
    expired = shop.expired(upload["url"])

    def put(content: Any, url: str = upload["url"], **headers: str) -> int:
        return requests.put(url, data=content, headers=kind | headers, timeout=20).status_code

    assert put(content + b"more") == 413
    assert put(content[:-1]) == 400
    assert put(iter([content[:-1]])) == 400  # in chunks
    assert put(content, **{"Content-Type": "image/png"}) == 403
    assert put(content, expired) == put(content, upload["url"] + "x") == 404
    assert broken_off(upload["url"], content) in (b"", b"HTTP/1.1 400")
    refused(alice.send("POST", f"photos/{upload['photo']}/complete"), 409, "upload_incomplete")
    assert not shop.files("media", "incoming")

    assert [put(content), put(content)] == [200, 200]
    assert len(shop.files("media", "incoming")) == 1
    assert alice.ok("POST", f"photos/{upload['photo']}/complete")["width"] == 900
    assert not shop.files("media", "incoming")


def broken_off(url: str, content: bytes) -> bytes:
    """Say how much is to come, and leave after half of it; what is answered."""
    parts = urlsplit(url)
    with socket.create_connection((str(parts.hostname), int(parts.port or 0)), timeout=20) as line:
        head = f"PUT {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Type: image/jpeg\r\n"
        line.sendall(f"{head}Content-Length: {len(content)}\r\n\r\n".encode() + content[: len(content) // 2])
        line.shutdown(socket.SHUT_WR)
        return line.recv(12)


# --- Buying -----------------------------------------------------------------------------------------------------------


def test_what_is_not_for_sale_cannot_be_ordered(shop: Shop, alice: Customer) -> None:
    before = snapshot(shop)
    refusals: list[tuple[Any, str]] = [
        *((f"credits:{n}", "invalid") for n in ("9", "1001", "-10", "10.5", "1e2", "010", "+10", "٣٣", "", "9" * 30)),
        *(
            (item, "invalid")
            for item in ("", "package:", "package:NOPE", "order:1", "x" * 81, 10, None, ["credits:10"])
        ),
        ("package:FREE", "not_for_sale"),
        ("package:free", "not_for_sale"),
    ]

    for item, code in refusals:
        body = refused(alice.send("POST", "payments", key=key(), json=ORDER | {"item": item}), 400, code)
        assert named(body) == {"item"}
    for change, field, code in (
        ({"currency": "USD"}, "currency", "currency_not_sold"),
        ({"currency": "XXX"}, "currency", "invalid"),
        ({"gateway": "cash"}, "gateway", "invalid"),
        ({"amount": 1}, "amount", "invalid"),
        ({"flow": "hosted", "return_url": "https://evil.example/"}, "return_url", "invalid"),
        ({"return_url": "javascript:alert(1)"}, "return_url", "invalid"),
    ):
        assert named(refused(alice.send("POST", "payments", key=key(), json=ORDER | change), 400, code)) == {field}
    for credits in (9, 1001, -10, 10.5, "10", True, 0):
        body = {"credits": credits, "gateway": "razorpay"}
        refused(alice.send("POST", "credits/purchase", key=key(), json=body), 400, "invalid")

    assert snapshot(shop) == before


def test_49_credits_buy_no_headshot(shop: Shop, alice: Customer) -> None:
    photo = alice.upload(portrait())
    before = snapshot(shop)
    body = {"photo": photo, "consent": True}

    refusal = refused(alice.send("POST", "headshots", key=key(), json=body), 402, "insufficient_credits")

    (detail,) = refusal["details"]
    assert (detail["required"], detail["available"], detail["unit"]) == (50, 49, "CREDIT")
    assert snapshot(shop) == before


# --- Signatures -------------------------------------------------------------------------------------------------------


def test_a_forged_signature_changes_nothing(shop: Shop, alice: Customer, bob: Customer) -> None:
    payment = alice.ok("POST", "payments", key=key(), json=ORDER | {"item": "credits:12"})
    other = bob.ok("POST", "payments", key=key(), json=ORDER | {"item": "credits:13"})
    verify = f"payments/{payment['id']}/verify"
    false = {
        "razorpay_order_id": payment["client"]["order_id"],
        "razorpay_payment_id": "pay_x",
        "razorpay_signature": "0" * 64,
    }
    event = {"event": "order.paid", "payload": {"order": {"entity": {"id": payment["client"]["order_id"]}}}}
    before = snapshot(shop)

    refused(alice.send("POST", verify, json=false), 400, "signature_invalid")
    refused(alice.send("POST", verify, json=false | {"razorpay_signature": "é" * 64}), 400, "signature_invalid")
    refused(alice.send("POST", verify, json={"razorpay_order_id": "order_x"}), 400, "invalid")
    for headers in ({}, {"X-Razorpay-Signature": "0" * 64}, {"X-Razorpay-Signature": "é".encode("latin-1")}):
        refused(alice.send("POST", "webhooks/razorpay", json=event, headers=headers), 400, "webhook_invalid")
    for stamp in (str(int(time.time())), "", "x", "9" * 400):
        headers = {"magic-hour-event-signature": "0" * 64, "magic-hour-event-timestamp": stamp}
        refused(alice.send("POST", "webhooks/magic-hour", json=event, headers=headers), 400, "webhook_invalid")
    refused(alice.send("POST", "webhooks/nobody", json=event), 404, "webhook_unknown")
    assert snapshot(shop) == before

    proof = alice.pay(payment)
    until(lambda: alice.ok("GET", f"payments/{payment['id']}")["status"] == "succeeded", "the webhook is handled")
    swapped = proof | {"razorpay_payment_id": "pay_" + "Z" * 14}
    refused(alice.send("POST", verify, json=swapped), 400, "signature_invalid", charged="settled")
    refused(bob.send("POST", f"payments/{other['id']}/verify", json=proof), 400, "signature_invalid")
    refused(bob.send("POST", verify, json=proof), 404, "not_found")
    assert alice.ok("POST", verify, json=proof)["status"] == "succeeded"
    refused(alice.send("POST", verify, json=false), 400, "signature_invalid", charged="settled")
    alice.ok("POST", f"payments/{payment['id']}/verify")
    assert bob.balance()["balance"] == 5


def test_signed_rubbish_is_refused_or_ignored(shop: Shop) -> None:
    """A provider gone mad, or its secret leaked: still no event moves anything, and no worker stumbles."""
    secret = shop.stack.environment["RAZORPAY_WEBHOOK_SECRET"].encode()

    def send(body: bytes) -> requests.Response:
        headers = {"X-Razorpay-Signature": hmac.new(secret, body, "sha256").hexdigest()}
        return requests.post(f"{shop.stack.api}/webhooks/razorpay", data=body, headers=headers, timeout=60)

    bad = [b"", b"x", b"[]", b"null", b'"x"', b"[" * 100_000, b'{"a":' * 9999 + b"1" + b"}" * 9999, b'{"a":"\xff"}']
    for body in bad:
        refused(send(body), 400, "webhook_invalid")
    refused(send(b"{" + b" " * (1 << 20) + b"}"), 413, "too_large")
    entity = [None, "x", {"id": 5}, {"order_id": ["x"]}, {"order_id": "a\0b"}, {"order_id": "../../x"}]
    odd = [{"event": "payment.captured", "payload": {"payment": {"entity": one}}} for one in entity]
    for event in [{}, {"event": "a\0b"}, {"event": "x" * 9999}, {"event": 5, "created_at": 10**18}, *odd]:
        assert send(json.dumps(event).encode()).status_code == 200

    until(lambda: not shop.rows("SELECT 1 FROM inbox_delivery WHERE state = 'received'"), "all are handled")
    assert shop.rows("SELECT note FROM inbox_delivery WHERE note NOT IN ('', 'about nothing we know yet')") == []
    assert shop.rows("SELECT 1 FROM inbox_delivery WHERE state = 'dead'") == []


# --- Texts ------------------------------------------------------------------------------------------------------------


def test_no_text_field_takes_control_characters_or_too_much(shop: Shop, alice: Customer) -> None:
    photo = alice.upload(portrait())
    before = snapshot(shop)

    def register(**fields: Any) -> requests.Response:
        given = {"email": f"{uuid.uuid4().hex}@example.com", "password": PASSWORD} | fields
        return requests.post(f"{shop.stack.api}/auth/register", json=given, timeout=60)

    def profile(**fields: Any) -> requests.Response:
        return alice.send("PATCH", "users/me", json=fields)

    def photos(**fields: Any) -> requests.Response:
        return alice.send("POST", "photos", files={"file": ("me.jpg", portrait())}, data=fields)

    def headshots(**fields: Any) -> requests.Response:
        return alice.send("POST", "headshots", key=key(), json={"photo": photo, "consent": True} | fields)

    def payments(**fields: Any) -> requests.Response:
        return alice.send("POST", "payments", key=key(), json=ORDER | fields)

    def login(**fields: Any) -> requests.Response:
        given = {"email": alice.email, "password": "x"} | fields
        return requests.post(f"{shop.stack.api}/auth/login", json=given, timeout=60)

    takes: list[tuple[Callable[..., requests.Response], str]] = [
        *((register, name) for name in ("email", "password", "first_name", "last_name")),
        *((profile, name) for name in ("username", "first_name", "last_name", "bio", "locale", "currency")),
        *((photos, name) for name in ("title", "description")),
        *((headshots, name) for name in ("name", "style_prompt", "operation", "quote", "image_url")),
        *((payments, name) for name in ("item", "gateway", "currency", "flow", "return_url")),
        *((login, name) for name in ("email", "password")),
    ]
    has_lines = {"bio", "description", "style_prompt", "password"}
    for send, field in takes:
        for text in ("a\0b", "a\x1bb" if field != "password" else "a\0", "x" * 5000):
            assert named(refused(send(**{field: text}), 400, "invalid")) == {field}
        if field not in has_lines:
            assert named(refused(send(**{field: "a\r\nBcc: b@example.com"}), 400, "invalid")) == {field}
    for send in (profile, register, headshots, payments):
        assert named(refused(send(is_staff=True), 400, "invalid")) == {"is_staff"}
    raw = b'{"bio": "\\ud800"}'
    refused(alice.send("PATCH", "users/me", data=raw, headers=JSON), 400, "malformed_body")

    assert snapshot(shop) == before
    kept = "Zoë 👩‍🎨\n<b>=1+1</b> {{ x }} %s ' \" \\ مرحبا"
    assert profile(bio=kept).json()["bio"] == kept


# --- Requests ---------------------------------------------------------------------------------------------------------


def test_a_body_that_is_none_is_refused(shop: Shop, alice: Customer) -> None:
    before = snapshot(shop)
    bodies = {
        "deep list": (b"[" * 900 + b"]" * 900, 400, "malformed_body"),
        "deep object": (b'{"item":' * 500 + b"1" + b"}" * 500, 400, "malformed_body"),
        "endless depth": (b"[" * 500_000, 400, "malformed_body"),
        "NaN": (b'{"item": NaN}', 400, "malformed_body"),
        "endless number": (b'{"item": ' + b"9" * 5000 + b"}", 400, "malformed_body"),
        "trailing": (b'{"item": "credits:10", "gateway": "razorpay"} x', 400, "malformed_body"),
        "UTF-16": ('{"item": "credits:10"}'.encode("utf-16"), 400, "malformed_body"),
        "2 MB": (b'{"item": "' + b"x" * (2 << 20) + b'"}', 413, "too_large"),
        "a field twice": (b'{"item":"credits:10","gateway":"razorpay","item":"credits:1000"}', 400, "malformed_body"),
        "list": (b"[1]", 400, "invalid"),
        "nothing": (b"", 400, "invalid"),
    }

    for body, status, code in bodies.values():
        refused(alice.send("POST", "payments", key=key(), data=body, headers=JSON), status, code)
    began = time.monotonic()
    many = alice.send("POST", "payments", key=key(), json={f"field{n}": n for n in range(40_000)})
    assert len(refused(many, 400, "invalid")["details"]) < 30
    assert time.monotonic() - began < 30
    for kind in (
        "text/plain",
        "application/x-www-form-urlencoded",
        "application/xml",
        "multipart/form-data; boundary=x",
    ):
        sent = alice.send("POST", "payments", key=key(), data=b"{}", headers={"Content-Type": kind})
        refused(sent, 415, "unsupported_media_type")
    refused(alice.send("POST", "payments", json=ORDER), 400, "idempotency_key_required")
    refused(alice.send("POST", "payments", key="x" * 256, json=ORDER), 400, "invalid")
    refused(alice.send("GET", "credits/balance", headers={"Accept": "text/html"}), 406, "not_acceptable")

    assert snapshot(shop) == before


def test_lists_take_only_what_they_know(shop: Shop, alice: Customer) -> None:
    wallet = alice.ok("GET", "wallets")["results"][0]["id"]
    lists = (
        *("photos", "generations", "headshots", "payments", "wallets", "credits/history", "credits/packages"),
        *("users/me/sessions", f"wallets/{wallet}/entries"),
    )
    bad = (
        *("page=0", "page=-1", "page=x", "page=1.5", "page=%00", "page=٣", "page=", "page=" + "9" * 500),
        *("limit=0", "limit=101", "limit=x", "limit=1%00", "nonsense=1", "nonsense=1&nonsense=2"),
    )

    for path in lists:
        for query in bad:
            refused(alice.send("GET", f"{path}?{query}"), 400, "invalid")
        refused(alice.send("GET", f"{path}?page=99999"), 404, "not_found")
        refused(alice.send("PUT", path), 405, "method_not_allowed")
    for query in (
        *("created_after=x", "created_after=0001-01-01T00:00:00%2B23:59", "created_before=9999-12-31T23:59:59-23:59"),
        *("status=%00", "kind=x", "&".join(f"p{n}=1" for n in range(1500))),
    ):
        refused(alice.send("GET", f"generations?{query}"), 400, "invalid")
    refused(alice.send("GET", "payments?item=%00"), 400, "invalid")


def test_addresses_that_are_none_lead_nowhere(shop: Shop, alice: Customer) -> None:
    paths = (
        *("photos/x", "photos/%00", "photos/" + "1" * 3000, f"photos/{uuid.uuid4()}/", "..%2f..%2fadmin", "%ff%fe"),
        *(
            f"photos/{uuid.uuid4()}",
            f"payments/{uuid.uuid4()}",
            f"generations/{uuid.uuid4()}",
            f"wallets/{uuid.uuid4()}",
        ),
    )
    for path in paths:
        refused(alice.send("GET", path), 404, "not_found")
    for path in (
        *("files/x", "files/%00", "files/..%2f..%2fetc%2fpasswd", "files/" + "x" * 5000, "pay/%00", ".env"),
        *("static/..%2f..%2fconfig/settings.py", "static/%00", "unsubscribe/x"),
    ):
        assert requests.get(f"{shop.stack.url}/{path}", timeout=60).status_code == 404, path
    assert requests.get(f"{shop.stack.url}/verify-email/%00", timeout=60).status_code == 200


def test_the_host_header_is_not_believed(shop: Shop, alice: Customer) -> None:
    alice.upload(portrait(8))
    alice.upload(portrait(9))

    forwarded = {"X-Forwarded-Host": "evil.example", "X-Forwarded-For": "192.0.2.1"}
    for host in ("a b", "[::1", "127.0.0.1:1/..", "é".encode("latin-1")):
        refused(alice.send("GET", "photos?limit=1", headers=forwarded | {"Host": host}), 400, "invalid")
    for host in ("evil.example", "x" * 3000):
        headers = forwarded | {"Host": host}
        answer = alice.send("GET", "photos?limit=1", headers=headers).json()
        assert answer["next"].startswith(f"{shop.stack.api}/photos?")
        photo = answer["results"][0]["id"]
        assert alice.send("GET", f"photos/{photo}/url", headers=headers).json()["url"].startswith(shop.stack.url)


# --- People -----------------------------------------------------------------------------------------------------------


def test_a_stranger_sees_nothing_of_the_owner(shop: Shop, alice: Customer, bob: Customer) -> None:
    alice.buy("credits:51")
    photo = alice.upload(portrait())
    job = alice.ended(alice.headshot(photo)["id"])
    payment = alice.ok("POST", "payments", key=key(), json=ORDER | {"item": "credits:17"})
    wallet = alice.ok("GET", "wallets")["results"][0]["id"]
    session = alice.ok("GET", "users/me/sessions")["results"][0]["id"]
    before, balance = snapshot(shop), alice.balance()

    for method, path in (
        *(("GET", path) for path in (f"photos/{photo}", f"photos/{photo}/url", f"generations/{job['id']}")),
        *(("GET", path) for path in (f"generations/{job['id']}/download", f"payments/{payment['id']}")),
        *(("GET", path) for path in (f"wallets/{wallet}", f"wallets/{wallet}/entries")),
        *(("DELETE", path) for path in (f"photos/{photo}", f"generations/{job['id']}", f"users/me/sessions/{session}")),
        *(("POST", f"generations/{job['id']}/{act}") for act in ("cancel", "retry")),
        *(("POST", f"payments/{payment['id']}/{act}") for act in ("verify", "cancel")),
    ):
        refused(bob.send(method, path, key=key()), 404, "not_found")
        nobody = Customer(shop.stack, "nobody@example.com")
        refused(nobody.send(method, path, key=key()), 401, "not_authenticated")
    refused(bob.send("POST", "headshots", key=key(), json={"photo": photo, "consent": True}), 404, "not_found")
    assert [bob.ok("GET", path)["count"] for path in ("photos", "generations", "headshots")] == [0, 0, 0]

    assert (snapshot(shop), alice.balance()) == (before, balance)
    refused(alice.send("POST", f"payments/{payment['id']}/cancel", json={"refund": True}), 400, "invalid")
    refused(alice.send("POST", f"generations/{job['id']}/retry", key=key()), 409, "not_retryable", charged="settled")
    refused(alice.send("POST", f"generations/{job['id']}/cancel"), 409, "too_late_to_cancel", charged="settled")


def test_only_a_live_access_token_signs_in(shop: Shop, alice: Customer) -> None:
    signed_in = requests.post(
        f"{shop.stack.api}/auth/login", json={"email": alice.email, "password": PASSWORD}, timeout=10
    ).json()
    person = Customer(shop.stack, alice.email)
    head, body, tail = signed_in["access"].split(".")
    for token in (signed_in["refresh"], "x", f"{head}.{body}.{tail[:-4]}AAAA", f"{head}.{body}.", "x" * 9000):
        person.token = token
        refused(person.send("GET", "credits/balance"), 401, "token_invalid")
    for token in (signed_in["access"], "x"):
        answer = requests.post(f"{shop.stack.api}/auth/refresh", json={"refresh": token}, timeout=60)
        refused(answer, 401, "token_invalid")

    person.token = signed_in["access"]
    shop.rows("UPDATE accounts_session SET last_seen_at = last_seen_at - interval '1 hour'")
    assert person.send("GET", "users/me").status_code == 200
    assert shop.rows(
        "SELECT count(*) FROM accounts_session WHERE last_seen_at > statement_timestamp() - interval '1 minute'"
    ) == [(1,)]
    assert person.send("POST", "auth/logout", json={}).status_code == 204
    refused(person.send("GET", "users/me"), 401, "session_ended")


def test_the_unverified_and_the_suspended_spend_nothing(shop: Shop) -> None:
    person = Customer(shop.stack, "newcomer@example.com")
    given = {"email": person.email, "password": PASSWORD}
    person.token = person.send("POST", "auth/register", json=given).json()["access"]
    before = snapshot(shop)
    acts: list[tuple[str, dict[str, Any]]] = [
        ("payments", {"json": ORDER}),
        ("photos", {"files": portrait()}),
        ("headshots", {"json": {"photo": str(uuid.uuid4()), "consent": True}}),
    ]

    for path, sent in acts:
        refused(person.send("POST", path, key=key(), **sent), 403, "email_not_verified")
    shop.rows("UPDATE accounts_user SET status = 'suspended' WHERE email = %s", person.email)
    for path, sent in acts:
        refused(person.send("POST", path, key=key(), **sent), 403, "account_suspended")
    refused(person.send("POST", "auth/login", json=given), 403, "account_suspended")
    refused(person.send("POST", "auth/login", json=given | {"password": "x"}), 401, "invalid_credentials")

    assert snapshot(shop) == before


@pytest.mark.parametrize("address", ["a@exa\uff20mple.com", "a@exa\uff0cb.com", "a@[127.0.0.1]", "a\r\nTo: b@c.de"])
def test_an_address_that_hides_another_is_refused(shop: Shop, address: str) -> None:
    given = {"email": address, "password": PASSWORD}

    answer = requests.post(f"{shop.stack.api}/auth/register", json=given, timeout=60)

    assert named(refused(answer, 400, "invalid")) == {"email"}
