"""What containers run is what we have, and nothing secret gets into the image."""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from django.core.management import call_command
from django.test import Client
from django.urls import resolve

from config.embedded import commands
from config.management.commands import serve
from core import health, storage
from tests import stores
from tests.core.test_settings import SAFE, start

ROOT = Path(__file__).resolve().parents[2]
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
DEVELOPMENT = yaml.safe_load((ROOT / "docker-compose.override.yml").read_text())["services"]
OURS = {name: service for name, service in COMPOSE.items() if service["image"].startswith("atelier")}


def test_compose_runs_every_role_there_is() -> None:
    roles = {service["command"][1] for service in OURS.values() if service["command"][0] == "serve"}

    assert roles == {"web", "beat", *commands.WORKERS}
    assert {service["command"][0] for service in OURS.values()} == {"serve", "install", "backup"}
    assert DEVELOPMENT["sandbox"]["command"] == ["serve", "sandbox"]
    assert set(DEVELOPMENT) - {"sandbox", "s3"} == {*OURS} - {"backup"}


def test_nothing_of_ours_starts_before_what_it_needs_is_healthy() -> None:
    for name, service in OURS.items():
        healthy = {other for other, how in service["depends_on"].items() if how["condition"] == "service_healthy"}
        assert healthy >= {"postgres", "redis", "s3"}, name
        assert name == "setup" or service["depends_on"]["setup"]["condition"] == "service_completed_successfully"
    for name in ("postgres", "pgbouncer", "redis", "s3", "nginx"):
        assert COMPOSE[name]["healthcheck"]["test"], name


def test_the_image_runs_as_nobody_in_particular_and_holds_no_secret() -> None:
    lines = (ROOT / "Dockerfile").read_text().splitlines()
    kept_out = (ROOT / ".dockerignore").read_text().splitlines()

    assert lines.count("USER 10001") == sum("AS app" in line or "AS backup" in line for line in lines)
    assert not [line for line in lines if re.search(r"(SECRET|PASSWORD|TOKEN|_KEY)\w*=", line)]
    assert {".*", "var"} <= set(kept_out)  # .env is a dot file
    for service in OURS.values():
        assert service["read_only"]
        assert service["cap_drop"] == ["ALL"]


@pytest.mark.parametrize("environment", ["development", "staging", "production"])
def test_the_example_of_each_environment_names_settings_that_exist(environment: str) -> None:
    example = (ROOT / "deploy" / "env" / f"{environment}.env.example").read_text()
    ours = set(re.findall(r"^#([A-Z0-9_]+)=", (ROOT / ".env.example").read_text(), re.M))
    compose = set(re.findall(r"\$\{([A-Z0-9_]+)", (ROOT / "docker-compose.yml").read_text()))

    assert set(re.findall(r"^#?([A-Z0-9_]+)=", example, re.M)) <= ours | compose
    assert not re.findall(r"^(?:SECRET_KEY|JWT\w*|\w+_SECRET|\w+_API_KEY)=.+", example, re.M)


def example(environment: str) -> dict[str, str]:
    text = (ROOT / "deploy" / "env" / f"{environment}.env.example").read_text()
    return {name: value.strip('"') for name, value in re.findall(r"^([A-Z0-9_]+)=(.*)", text, re.M)}


def test_an_example_boots_once_it_is_filled_in_and_not_before() -> None:
    refused = start(**example("production"))

    assert refused.returncode != 0
    for name in ("SECRET_KEY", "JWT_SECRET", "JWT_REFRESH_SECRET", "MAILBOX_HASH_KEY", "DATABASE_URL", "EMAIL_URL"):
        assert f"Atelier does not start: {name} is missing" in refused.stderr
    assert "Traceback" not in refused.stderr
    staging = example("staging")
    assert staging.keys() - {"MONNIFY_BASE_URL"} == example("production").keys()
    filled = {name: value or f"{name.lower():x<40}" for name, value in staging.items()}
    servers = {name: SAFE[name] for name in ("DATABASE_URL", "REDIS_URL", "EMAIL_URL")}
    booted = start(**filled | servers)
    assert booted.returncode == 0, booted.stderr


def test_what_other_hosts_run_is_what_there_is() -> None:
    railway = json.loads((ROOT / "deploy" / "railway.json").read_text())
    vercel = json.loads((ROOT / "deploy" / "vercel.json").read_text())

    assert (ROOT / railway["build"]["dockerfilePath"]).is_file()
    assert railway["deploy"]["startCommand"] == "python manage.py serve web"
    assert railway["deploy"]["preDeployCommand"] == ["python manage.py install"]
    assert resolve(railway["deploy"]["healthcheckPath"])
    [rewrite] = vercel["rewrites"]  # it passes on what clients call, and runs nothing
    assert rewrite["source"] == "/api/(.*)"
    assert rewrite["destination"].endswith("/api/$1")
    assert vercel.keys() == {"$schema", "rewrites"}


@pytest.mark.parametrize("role", serve.ROLES)
def test_each_role_becomes_its_process(role: str, monkeypatch: pytest.MonkeyPatch, settings: Any) -> None:
    became: list[Any] = []
    monkeypatch.setattr(os, "execve", lambda *call: became.append(call))
    settings.HOST, settings.PORT = "0.0.0.0", 3001

    call_command("serve", role)

    [(program, command, _)] = became
    assert program == sys.executable == command[0]
    said = " ".join(command)
    if role == "web":
        assert "--host 0.0.0.0 --port 3001" in said
    elif role in commands.WORKERS:
        assert f"-Q {','.join(commands.WORKERS[role][0])}" in said
    else:
        assert role in said


@pytest.mark.django_db
def test_installing_makes_the_bucket_once_and_lets_the_role_in(
    s3_url: str, settings: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    stores.use_bucket(settings, s3_url, "of-our-own")
    settings.APP_DATABASE_URL = "postgres://installed_for@/x"

    call_command("install")
    call_command("install")

    out = capsys.readouterr().out
    assert out.count("The bucket was made.") == 1
    assert out.count("Web and workers connect as installed_for.") == 2
    storage.check()


@pytest.mark.django_db
@pytest.mark.parametrize("path", ["/health", "/health/live", "/health/ready", "/metrics"])
def test_who_asks_for_health_by_address_is_answered(path: str, settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(health.PARTS, "mail", lambda: None)
    settings.ALLOWED_HOSTS = ["api.example.test"]

    assert Client(headers={"Host": "10.1.2.3:8000"}).get(path).status_code == 200
    assert Client(headers={"Host": "10.1.2.3:8000"}).get("/api/v1/products").status_code == 400
