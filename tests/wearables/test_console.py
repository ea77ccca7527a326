"""Imports in the console: planned, shown, applied, rolled back; the catalogue exported."""

from __future__ import annotations

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse

from accounts.models import User
from tests.wearables.given import HEADER, THREE
from wearables.models import Import, Wearable

pytestmark = pytest.mark.django_db


def press(client: Client, button: str, made: Import) -> str:
    form = {"reason": "Asked for.", "_form_submitted": "True"}
    answer = client.post(reverse(f"admin:wearables_import_{button}", args=[made.pk]), form)
    made.refresh_from_db()
    return "" if answer.status_code == 302 else answer.content.decode()


def test_plan_apply_roll_back_export(ops: User, support: User) -> None:
    client = Client()
    client.force_login(ops)
    place = reverse("admin:wearables_import_plan")
    assert client.get(place).status_code == 200
    assert "not CSV" in client.post(place, {"file": SimpleUploadedFile("a.csv", b"\x89PNG....")}).content.decode()
    content = f"{THREE}W00004,Tops,=1+1\n,Tops,Nameless\n".encode()

    assert client.post(place, {"file": SimpleUploadedFile("a.csv", content)}).status_code == 302
    made = Import.objects.get()
    shown = client.get(reverse("admin:wearables_import_change", args=[made.pk])).content.decode()
    assert "4 new" in shown
    assert "line 6" in shown
    assert not Wearable.objects.exists()
    assert press(client, "apply", made) == ""
    assert (made.state, made.content, Wearable.objects.count()) == ("applied", None, 4)

    answer = client.get(reverse("admin:wearables_wearable_export"))
    lines = b"".join(answer).decode("utf-8-sig").splitlines()
    assert lines[0].startswith(HEADER)
    assert lines[4].startswith("W00004,Tops,'=1+1,")
    assert press(client, "roll_back", made) == ""
    assert (made.state, Wearable.objects.filter(is_active=True).count()) == ("rolled_back", 0)

    other = Client()
    other.force_login(support)
    assert other.get(place).status_code == 403
