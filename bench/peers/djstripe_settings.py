"""Atelier's own settings with dj-stripe in the place of our URLs: what differs is only who takes the webhook in."""

from __future__ import annotations

from config.settings import *  # noqa: F403
from config.settings import INSTALLED_APPS as OURS

INSTALLED_APPS = [*OURS, "djstripe"]
# Our tables are there as its foreign keys want them, made at once: nothing is measured on them.
MIGRATION_MODULES = {app.rpartition(".")[2]: None for app in OURS}
ROOT_URLCONF = "bench.peers.djstripe_urls"
DJSTRIPE_FOREIGN_KEY_TO_FIELD = "id"
DJSTRIPE_WEBHOOK_EVENT_CALLBACK = "bench.peers.djstripe_urls.later"
STRIPE_LIVE_MODE = True
# It tells what a key is for by its beginning.
STRIPE_SECRET_KEY = STRIPE_LIVE_SECRET_KEY = "sk_live_" + "x" * 24
