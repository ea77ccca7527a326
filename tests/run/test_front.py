"""The front page and the studio's page: what they show where, and that the studio is a client like any other."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from django.test import Client
from pytest_django import Settings

from core import csp, health

ROOT = Path(__file__).resolve().parents[2]
STUDIO = ROOT / "config" / "static" / "studio"
pytestmark = pytest.mark.django_db


def page(path: str, status: int = 200) -> str:
    response = Client(raise_request_exception=False).get(path)
    assert response.status_code == status
    return str(response.content.decode())


def test_the_front_page_leads_to_every_part(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "report", lambda: {"status": "degraded", "parts": {"mail": {"status": "down"}}})

    told = page("/")

    links = re.findall(r'href="([^"]+)"', told)
    ours = ["/studio", "/api/docs", "/api/redoc", "/api/schema", "/admin/", "/health", "/metrics"]
    sandbox = [f"{settings.SANDBOX_URL}{path}" for path in ("/", "/mail", "/deliveries")]
    assert [link for link in links if "icon" not in link] == [*ours, *sandbox]
    assert re.search(
        rf"Version {re.escape(settings.VERSION)}<.*Environment: test<.*degraded<.*mail: .*down<", told, re.S
    )


def test_without_a_sandbox_there_is_no_studio(settings: Settings) -> None:
    settings.SANDBOX_ENABLED = False

    assert settings.SANDBOX_URL not in page("/")
    assert "studio" not in page("/").replace("studio/icon.svg", "")
    page("/studio", 404)


def test_in_production_the_front_page_tells_no_internals(settings: Settings) -> None:
    settings.PRODUCTION, settings.SANDBOX_ENABLED = True, False

    told = page("/")

    assert re.findall(r'href="([^"]+)"', told) == ["/static/studio/icon.svg", "/api/docs"]
    assert not re.search(rf"{re.escape(settings.VERSION)}|production|admin|sandbox|ok<", told, re.I)


def test_the_studio_needs_neither_scripts_nor_styles_in_its_page() -> None:
    response = Client().get("/studio")

    told = response.content.decode()
    assert response[csp.HEADER] == csp.STUDIO
    assert "unsafe" not in csp.STUDIO
    assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?! type=\"module\" src=)", told)
    assert not [file.name for file in STUDIO.glob("*.js") if re.search(r"innerHTML|insertAdjacent", file.read_text())]


def test_the_studio_asks_for_nothing_but_what_the_schema_tells() -> None:
    told = yaml.safe_load((ROOT / "docs" / "openapi.yaml").read_text())["paths"]
    operations = {(method.upper(), re.sub(r"\{\w+\}", "*", path)) for path in told for method in told[path]}
    scripts = "".join(file.read_text() for file in sorted(STUDIO.glob("*.js")))

    asked = [*re.findall(r'ask\("(\w+)", [`"]([^`"?]+)', scripts)]
    asked += [("GET", path) for path in re.findall(r'look\([`"]([^`"?]+)', scripts)]
    asked += [("POST", path) for path in re.findall(r'wish\.make\("([^"]+)"', scripts)]

    assert len(asked) > 15
    used = {(method, f"/api/v1/{re.sub(r'[$][{][^}]+[}]', '*', path)}") for method, path in asked}
    assert used <= operations, used - operations
    assert re.findall(r"fetch\(([^,]+),", scripts) == ["BASE + path", "`${BASE}auth/refresh`"]
