"""The reasons for which tests may be skipped."""

from __future__ import annotations

LACKS_PHOTOGRAMMETRY = "3D models are not installed here: make photogrammetry"
LACKS_PGBOUNCER = "PgBouncer is not installed here: apt-get install pgbouncer"
LACKS_RABBITMQ = "RabbitMQ is not installed here: apt-get install rabbitmq-server"
AGREED = (LACKS_PHOTOGRAMMETRY, LACKS_PGBOUNCER, LACKS_RABBITMQ)
