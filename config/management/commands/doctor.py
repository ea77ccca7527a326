"""What this machine has and lacks for `make run`, each line with its remedy."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from collections.abc import Iterator
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand

from config.embedded import addresses, postgres, privileges, services, supervisor, valkey

MIN_FREE_BYTES = 1 << 30
# program, what wants it, what is done without it
EXTRAS = (
    ("chromium", "browser tests", "they are skipped; `make browser` gets it"),
    ("npm", "the TypeScript client", "it is not tested; Node 20 or newer from nodejs.org, or sudo apt-get install npm"),
    ("curl", "the tutorials", "they are not tested; sudo apt-get install curl"),
    ("docker", "make up and down", "they do not work; docs.docker.com/engine/install says how to get it"),
)


class Command(BaseCommand):
    help = "Look at Python, the embedded servers, ports, folders and disk; exit 1 if something is missing."
    requires_system_checks = ()

    def handle(self, *args: Any, **options: Any) -> None:
        is_well = True
        for fine, text in self._findings():
            is_well &= fine
            self.stdout.write(f"{'ok' if fine else 'PROBLEM':<8}{text}")
        sys.exit(0 if is_well else 1)

    def _findings(self) -> Iterator[tuple[bool, str]]:
        yield (
            True,
            f"Python {platform.python_version()} on {platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        )
        yield True, f"environment {settings.ENVIRONMENT}, database {self._shown(settings.DATABASES['default']['HOST'])}"
        if addresses.database_url(settings.BASE_DIR) == settings.DATABASE_URL:
            yield self._postgres()
        if addresses.redis_url(settings.BASE_DIR) == settings.REDIS_URL:
            try:
                yield True, f"Valkey at {valkey.binary()}"
            except valkey.ValkeyError as error:
                yield False, str(error)
        yield True, f"unix sockets in {addresses.sockets_dir(settings.BASE_DIR)}"
        if supervisor.is_running(settings.VAR_DIR):
            yield True, supervisor.describe(settings.VAR_DIR).replace("\n", " ")
        else:
            for port in services.ports():
                taken = supervisor.is_taken(port.number)
                yield (
                    not taken,
                    f"port {port.number} ({port.setting}) is {'taken by another program' if taken else 'free'}",
                )
        yield True, self._models()
        for program, use, remedy in EXTRAS:
            found = shutil.which(program)
            yield True, f"{use}: {found}" if found else f"{use}: no {program} here, so {remedy}"
        free = shutil.disk_usage(settings.BASE_DIR).free
        yield free > MIN_FREE_BYTES, f"{free >> 20:,} MB of disk free"
        yield os.access(settings.BASE_DIR, os.W_OK), f"{settings.BASE_DIR} can be written to"

    def _postgres(self) -> tuple[bool, str]:
        cluster = services.cluster()
        try:
            cluster.unprivileged  # noqa: B018  finds out whether the server can be run from here
            return True, f"PostgreSQL {cluster.version} at {cluster.bin}"
        except (postgres.PostgresError, privileges.PrivilegeError, OSError) as error:
            return False, str(error)
        finally:
            if not supervisor.is_running(settings.VAR_DIR):
                addresses.remove_sockets_dir(settings.BASE_DIR)

    def _models(self) -> str:
        from generation.providers import photogrammetry

        if not settings.PHOTOGRAMMETRY_ENABLED:
            return "3D models are off; `make photogrammetry` turns them on"
        lacking = photogrammetry.missing()
        return f"3D models are on{', but made elsewhere: here is no ' + ', '.join(lacking) if lacking else ''}"

    def _shown(self, host: str) -> str:
        return host or "on this machine"
