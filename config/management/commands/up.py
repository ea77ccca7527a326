"""Run everything on this machine, with nothing but Python: servers, web, worker, beat, sandbox."""

from __future__ import annotations

import os
import signal
from argparse import ArgumentParser
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError

from config import staff
from config.embedded import addresses, commands, processes, services, supervisor
from config.embedded.console import Console
from config.embedded.postgres import PostgresError
from config.embedded.privileges import PrivilegeError
from config.embedded.services import Service
from config.embedded.valkey import ValkeyError
from wearables import starter

PREPARED = {"web", *commands.WORKERS, "beat"}  # what needs a migrated database


class Command(BaseCommand):
    help = "Run PostgreSQL, Valkey, web, workers, beat and the sandbox until Ctrl-C."
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--services", default="", help="only these, separated by commas")
        parser.add_argument("--reload", action="store_true", help="restart our processes when code changes")
        parser.add_argument("--quiet", action="store_true", help="leave the services' output in var/log")
        parser.add_argument("--stop", action="store_true", help="stop what runs from this checkout, then end")

    def handle(self, *args: Any, **options: Any) -> None:
        if settings.PRODUCTION:
            raise CommandError("manage.py up is for development; ENVIRONMENT=production has its own processes.")
        if options["stop"]:
            self._stop()
            return
        try:
            chosen = services.wanted(filter(None, options["services"].split(",")))
            self._run(chosen, is_quiet=options["quiet"], reloads=options["reload"])
        except (ValueError, PostgresError, PrivilegeError, ValkeyError, supervisor.UpError) as error:
            raise CommandError(str(error)) from error

    def _run(self, chosen: list[Service], *, is_quiet: bool, reloads: bool) -> None:
        console = Console(self.stdout, is_quiet=is_quiet)
        run = supervisor.Supervisor(settings.VAR_DIR, console, {"url": settings.PUBLIC_URL})
        names = {service.name for service in chosen}
        try:
            with run.held():
                run.require_free(services.ports(), chosen)
                addresses.make_folder(services.LOGS, 0o700)
                if "postgres" in names:
                    with run.interruptible():
                        services.cluster().initialise()
                run.start([service for service in chosen if service.stage == 0])
                with run.interruptible():
                    passwords = self._prepare(names)
                run.start([service for service in chosen if service.stage > 0])
                run.ready()
                for line in self._story(names, passwords):
                    console.say(line)
                run.watch(_code_changes() if reloads else None)
        except supervisor.Stopped:
            self.stdout.write("Stopped.")
        finally:
            addresses.remove_sockets_dir(settings.BASE_DIR)

    def _prepare(self, names: set[str]) -> dict[str, str]:
        """The database, its tables, and in development its staff and the starter catalogue of wearables."""
        from django.db import connections

        if "postgres" in names:
            services.cluster().create_database(addresses.DATABASE)
        if not PREPARED & names:
            return {}
        try:
            call_command("migrate", interactive=False, verbosity=0, stdout=self.stdout)
            if settings.ENVIRONMENT != "development":
                return {}
            starter.ensure()
            return staff.ensure()
        finally:
            connections.close_all()

    def _story(self, names: set[str], passwords: dict[str, str]) -> Iterable[str]:
        yield ""
        if "web" in names:
            yield f"Atelier   {settings.PUBLIC_URL}/"
            if settings.SANDBOX_ENABLED:
                yield f"  Studio  {settings.PUBLIC_URL}/studio"
            yield f"  API     {settings.PUBLIC_URL}/api/v1     try it: {settings.PUBLIC_URL}/api/docs"
            yield f"  Staff   {settings.PUBLIC_URL}/admin/"
            yield f"  Health  {settings.PUBLIC_URL}/health     metrics: {settings.PUBLIC_URL}/metrics"
            for source in settings.INBOX_HANDLERS:
                yield f"  Webhook {settings.PUBLIC_URL}/api/v1/webhooks/{source}"
        if "sandbox" in names:
            yield f"Sandbox   {settings.SANDBOX_URL}/     mail: {settings.SANDBOX_URL}/mail"
        if passwords:
            yield f"Staff     (also in {staff.passwords_file().relative_to(settings.BASE_DIR)})"
            for email, password in passwords.items():
                yield f"  {email:<24} {password}"
        yield "Ready. Logs are in var/log; Ctrl-C stops everything."
        yield ""

    def _stop(self) -> None:
        folder = settings.VAR_DIR
        if not supervisor.is_running(folder):
            self.stdout.write("Nothing runs from this checkout.")
            return
        pid = int(supervisor.state(folder)["pid"])
        os.kill(pid, signal.SIGTERM)
        if not processes.wait_until(lambda: processes.seen(pid) is None, 120, step_s=0.1):
            raise CommandError(f"Process {pid} has not stopped within two minutes; look into var/log.")
        self.stdout.write("Stopped.")


def _code_changes() -> Callable[[], bool]:
    """Asked often, it looks at the code once a second and says whether a file is newer, new or gone."""
    import time

    def look() -> dict[Path, float]:
        return {
            path: path.stat().st_mtime
            for folder in settings.BASE_DIR.iterdir()
            if folder.is_dir() and folder.name not in ("var", "tests", "docs") and not folder.name.startswith(".")
            for path in folder.rglob("*.py")
        }

    known, looked_at = look(), time.monotonic()

    def changed() -> bool:
        nonlocal known, looked_at
        if time.monotonic() - looked_at < 1:
            return False
        looked_at, former = time.monotonic(), known
        known = look()
        return known != former

    return changed
