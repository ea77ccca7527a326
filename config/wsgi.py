"""The web process."""

import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

django_application = get_wsgi_application()

from core import boot, tracing  # noqa: E402  settings and apps are ready only now
from core.bodies import Bodies  # noqa: E402

application = Bodies(django_application)
boot.refuse()
tracing.start()
