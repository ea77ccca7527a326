# One image for web, workers, beat and operators' commands: `manage.py serve <role>` is what it runs.
# BASE is any Debian with Python 3.11 to 3.13; REQUIREMENTS may name another of our files: requirements-photogrammetry.txt
# for the machines that make 3D models, requirements-embedded.txt for the sandbox of development.
ARG BASE=python:3.13-slim-trixie

FROM ${BASE} AS base
ENV PATH=/venv/bin:$PATH \
    LANG=C.UTF-8 \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    ENVIRONMENT=production \
    HOST=0.0.0.0 \
    PORT=8000 \
    MEDIA_ROOT=/data/media \
    PHOTOGRAMMETRY_DIR=/data/photogrammetry
WORKDIR /app
RUN groupadd --gid 10001 atelier \
    && useradd --uid 10001 --gid atelier --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin atelier \
    && install --directory --owner=atelier --group=atelier --mode=0700 /data

FROM base AS build
ARG REQUIREMENTS=requirements.txt
COPY requirements*.txt ./
RUN python3 -m venv /venv \
    && /venv/bin/pip install --no-cache-dir --only-binary :all: -r "$REQUIREMENTS" \
    && rm -rf /venv/lib/python3*/site-packages/pip*
COPY . .
# Python's own files are compiled here, since nobody may write them later; the static ones get their hashed names.
RUN python manage.py collectstatic --noinput --verbosity 0 \
    && python -m compileall -q . \
    && chown -R atelier:atelier var

# `--target backup`: the same, and the PostgreSQL programs that dump and restore.
FROM base AS backup
RUN apt-get update \
    && apt-get install --yes --no-install-recommends postgresql-client \
    && rm -rf /var/lib/apt/lists/*
COPY --from=build /venv /venv
COPY --from=build /app /app
USER 10001
ENTRYPOINT ["python", "manage.py"]
CMD ["backup", "--every", "86400", "--keep", "14"]

FROM base AS app
COPY --from=build /venv /venv
COPY --from=build /app /app
USER 10001
EXPOSE 8000
# Of the web; where something else runs there is nothing to ask, and Compose switches it off.
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as r; r.urlopen(f'http://127.0.0.1:{os.environ[\"PORT\"]}/health/live', timeout=4)"]
ENTRYPOINT ["python", "manage.py"]
CMD ["serve", "web"]
