"""Text is stored as typed and escaped where it is shown: hostile text in every field, then every page and mail."""

from __future__ import annotations

import io
import re
from typing import Any

import pytest
from django.apps import apps
from django.contrib import admin
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db.models.functions import Now
from django.test import Client
from django.urls import reverse
from drf_spectacular.generators import SchemaGenerator

from accounts.models import User
from calls import calling
from generation.models import Avatar, Generation, Photo
from notifications.models import Mail
from notifications.rendering import preview
from notifications.samples import SAMPLES
from tests.calls import given as calls
from tests.generation.material import fund, jpeg, photo_of
from tests.people import PASSWORD, api, verify
from tests.test_admin import OURS

MARKUP = "<script>alert(1)</script>"
# A formula, markup, a template, an attribute's end, an emoji: within the shortest field's length.
HOSTILE = f"=1+1|{MARKUP}{{{{7*7}}}}\"'><img src=x>🙂"

# Free text that is kept and shown, by operation and field: posted below, and looked for everywhere.
KEPT = {
    "auth_register": {"first_name", "last_name"},
    "users_me_update": {"first_name", "last_name", "bio"},
    "users_me_partial_update": {"first_name", "last_name", "bio"},
    "calls_create": {"recipient_name"},
    "photos_create": {"title", "description"},
    "headshots_create": {"name", "style_prompt"},
    "images_create": {"name", "prompt"},
    "videos_create": {"name", "prompt", "water_mark"},
    "models_create": {"name"},
    "products_create": {"name", "description"},
    "products_update": {"name", "description"},
    "products_partial_update": {"name", "description"},
    "orders_create": {"name", "street", "complement", "city", "state"},
    "orders_status": {"tracking", "reason"},
    "avatars_create": {"name", "description", "style"},
    "avatars_update": {"name", "description"},
    "avatars_partial_update": {"name", "description"},
    "photos_upload_url": {"filename", "title", "description"},
    "generations_report": {"comment"},
    "wearables_customizations_create": {"name", "color_name"},
    "wearables_customizations_update": {"name", "color_name"},
}
IDS = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
# Text that is looked up, compared or parsed, and kept as what it was found to be: never as it came.
MATCHED = {
    *("email", "password", "new_password", "current_password", "token", "refresh", "otp", "locale", "username"),
    *("item", "package", "plan", "avatar", "currency", "return_url", "operation", "quote", "image_url", "name_of_key"),
    "recipient_phone",
    *("size", "quality", "aspect_ratio", "style", "category", "postcode", "country"),
    *("primary_color", "secondary_color"),
    *("razorpay_order_id", "razorpay_payment_id", "razorpay_signature", "payment_intent", "transaction_reference"),
}


def texts(schema: dict[str, Any], components: dict[str, Any]) -> set[str]:
    """The free texts in a body: strings that are not one of a list, a date or an id."""
    if "$ref" in schema:
        return texts(components[schema["$ref"].rpartition("/")[2]], components)
    found = set()
    for name, field in schema.get("properties", {}).items():
        kinds = field.get("type", "")
        if "string" in kinds and not {"enum", "format"} & field.keys() and field.get("maxLength") != 0:
            found.add(name)
        elif "$ref" in field or "properties" in field:
            found |= texts(field, components)
    return found


def test_every_text_of_the_schema_is_known_here() -> None:
    schema: Any = SchemaGenerator(api_version="v1").get_schema(request=None, public=True)
    components = schema["components"]["schemas"]
    unknown = [
        (operation["operationId"], name)
        for methods in schema["paths"].values()
        for operation in methods.values()
        for media in operation.get("requestBody", {}).get("content", {}).values()
        for name in sorted(texts(media["schema"], components))
        if name not in KEPT.get(operation["operationId"], set()) | MATCHED
    ]

    assert unknown == []


@pytest.fixture
def written(settings: Any, tmp_path: Any, db: None) -> User:
    """Somebody who has typed it wherever one can."""
    settings.XAI_API_KEY = settings.KIE_API_KEY = "test"
    settings.PHOTOGRAMMETRY_ENABLED = True
    settings.MEDIA_ROOT = tmp_path
    settings.RATELIMIT_ENABLE = False
    names = {"first_name": HOSTILE, "last_name": HOSTILE}
    body = {"email": "hostile@example.com", "password": PASSWORD, **names}
    assert api().post("/api/v1/auth/register", body, format="json").status_code == 201
    person = verify(User.objects.get(email="hostile@example.com"))
    fund(person, 200)
    client = api(person)
    for method in (client.put, client.patch):
        answer = method("/api/v1/users/me", {**names, "bio": f"{HOSTILE}\n{HOSTILE}"}, format="json")
        assert (answer.status_code, answer.json()["bio"]) == (200, f"{HOSTILE}\n{HOSTILE}")
    calls.fund(person, 50)
    order: dict[str, Any] = {"recipient_phone": calls.PHONE, "recipient_name": HOSTILE}
    call = client.post("/api/v1/calls", order, format="json", headers={"Idempotency-Key": "k"})
    assert (call.status_code, call.json()["recipient_name"]) == (201, HOSTILE)
    calling.answer(user=person, call_id=call.json()["id"])
    calling.end(user=person, call_id=call.json()["id"])
    file = SimpleUploadedFile(f"{MARKUP}=1.jpg", jpeg(), "image/jpeg")
    photo = client.post("/api/v1/photos", {"file": file, "title": HOSTILE, "description": HOSTILE}, format="multipart")
    assert photo.status_code == 201, photo.content
    assert (photo.json()["title"], photo.json()["description"]) == (HOSTILE, HOSTILE)
    upload = {"filename": f"{MARKUP}=1.jpg", "content_type": "image/jpeg", "bytes": 9, "title": HOSTILE}
    answer = client.post("/api/v1/photos/upload-url", upload | {"description": f"{HOSTILE}\n{HOSTILE}"}, format="json")
    assert answer.status_code == 201, answer.content
    order = {"photo": photo.json()["id"], "consent": True, "name": HOSTILE, "style_prompt": HOSTILE}
    job = client.post("/api/v1/headshots", order, format="json", headers={"Idempotency-Key": "k"})
    assert job.status_code == 202, job.content
    asked = {"name": HOSTILE, "prompt": f"{HOSTILE}\n{HOSTILE}"}
    film = asked | {"operation": "video.kie", "water_mark": HOSTILE}
    for path, order in (("images", asked), ("videos", film)):
        job = client.post(f"/api/v1/{path}", order, format="json", headers={"Idempotency-Key": "k"})
        assert job.status_code == 202, job.content
        assert job.json()["params"].items() >= {name: order[name] for name in order if name != "operation"}.items()
    order = {"name": HOSTILE, "photos": [str(photo_of(person).pk) for _ in range(8)]}
    model = client.post("/api/v1/models", order, format="json", headers={"Idempotency-Key": "k"})
    assert model.status_code == 202, model.content
    assert model.json()["params"] == {"name": HOSTILE}
    # As if it had been made: only what was can be reported.
    Generation.objects.filter(pk=job.json()["id"]).update(state="succeeded", finished_at=Now(), next_at=None)
    told = {"reason": "other", "comment": f"{HOSTILE}\n{HOSTILE}"}
    answer = client.post(f"/api/v1/generations/{job.json()['id']}/report", told, format="json")
    assert (answer.status_code, answer.json()["comment"]) == (201, told["comment"])
    order = {"name": HOSTILE, "description": HOSTILE, "style": HOSTILE}
    avatar = client.post("/api/v1/avatars", order, format="json", headers={"Idempotency-Key": "k"})
    assert avatar.status_code == 202, avatar.content
    look = {"name": HOSTILE, "color_name": HOSTILE, "attributes": {"collar": HOSTILE}}
    custom = client.post("/api/v1/wearables/customizations", look, format="json")
    assert (custom.status_code, custom.json() | look) == (201, custom.json())
    answer = client.patch(f"/api/v1/wearables/customizations/{custom.json()['id']}", look, format="json")
    assert (answer.status_code, answer.json() | look) == (200, answer.json())
    edited = {"name": HOSTILE, "description": f"{HOSTILE}\n{HOSTILE}"}
    for method in (client.put, client.patch):
        answer = method(f"/api/v1/avatars/{avatar.json()['id']}", edited, format="json")
        assert (answer.status_code, answer.json()["description"]) == (200, edited["description"])
    return person


def test_what_was_typed_is_stored_and_comes_back_as_it_was(written: User) -> None:
    written.refresh_from_db()
    assert (written.first_name, written.last_name) == (HOSTILE, HOSTILE)
    job = Generation.objects.get(user=written, kind="headshot")
    assert job.params == {"name": HOSTILE, "style_prompt": HOSTILE}
    assert Photo.objects.filter(user=written).earliest("created_at").title == HOSTILE
    shown = api(written).get("/api/v1/generations?kind=headshot").json()["results"][0]
    assert shown["params"] == job.params
    avatar = Avatar.objects.get(user=written)
    assert (avatar.name, avatar.style) == (HOSTILE, HOSTILE)
    assert avatar.generation.params == {"name": HOSTILE, "description": HOSTILE, "style": HOSTILE}


def test_no_page_of_the_console_runs_it(written: User) -> None:
    boss = User.objects.create_superuser("boss@example.com", PASSWORD)
    console = Client()
    console.force_login(boss)
    shown = 0
    for model in (model for app in OURS for model in apps.get_app_config(app).get_models()):
        label = f"{model._meta.app_label}_{model._meta.model_name}"
        pages = [reverse(f"admin:{label}_changelist")]
        pages += [
            reverse(f"admin:{label}_change", args=[row.pk])
            for row in model._default_manager.order_by("-pk")[:3]
            if admin.site.is_registered(model)
        ]
        for page in pages:
            answer = console.get(page)
            assert answer.status_code in (200, 302), (page, answer.status_code)
            html = answer.content.decode()
            assert MARKUP not in html, page
            assert "<img src=x>" not in html, page
            assert "=1+1|&lt;script&gt;alert(1)&lt;/script&gt;49" not in html, page
            shown += "&lt;script&gt;alert(1)&lt;/script&gt;" in html
    for word in ("hostile", HOSTILE):
        assert MARKUP not in console.get(reverse("admin:accounts_user_changelist"), {"q": word}).content.decode()
    assert shown >= 3


def test_no_mail_runs_it(written: User) -> None:
    assert Mail.objects.filter(to=written.email).exists()
    letters = [mail for mail in Mail.objects.all() if mail.to == written.email]
    letters += [
        Mail(name=name, to="a@example.com", context={key: _hostile(value) for key, value in example.items()})
        for name, example in SAMPLES.items()
    ]
    for mail in letters:
        rendered = preview(mail)
        assert MARKUP not in rendered.html, mail.name
        assert "<img src=x>" not in rendered.html, mail.name
        assert "49" not in IDS.sub("", rendered.text).replace("499", ""), mail.name
        assert "\n" not in rendered.subject
        assert "\r" not in rendered.subject
        assert "&lt;" not in rendered.subject + rendered.text, mail.name


def _hostile(value: Any) -> Any:
    """Hostile in the place of every text but addresses of our own pages, which nobody types."""
    return f"{HOSTILE}\r\nBcc: eve@example.com" if isinstance(value, str) and "://" not in value else value


def test_a_file_is_called_by_a_plain_name(written: User) -> None:
    photo = Photo.objects.filter(user=written).earliest("created_at")
    client = api(written)
    link = client.get(f"/api/v1/photos/{photo.pk}/url").json()["url"]

    answer = Client().get("/files/" + link.partition("/files/")[2])

    assert MARKUP not in answer.headers.get("Content-Disposition", "")
    assert io.BytesIO(b"".join(answer)).read(2) == b"\xff\xd8"
