"""The reasons for which tests may be skipped."""

from __future__ import annotations

LACKS_PHOTOGRAMMETRY = "3D models are not installed here: make photogrammetry"
LACKS_PGBOUNCER = "PgBouncer is not installed here: apt-get install pgbouncer"
LACKS_RABBITMQ = "RabbitMQ is not installed here: apt-get install rabbitmq-server"
LACKS_CURL = "the tutorials want curl, which is not installed here"
LACKS_NPM = "the TypeScript client's tools are not installed here: make client"
AGREED = (LACKS_PHOTOGRAMMETRY, LACKS_PGBOUNCER, LACKS_RABBITMQ, LACKS_CURL, LACKS_NPM)
