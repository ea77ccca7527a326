"""Every address. The API's own are in each app's api/urls.py."""

from __future__ import annotations

from django.contrib import admin
from django.urls import include, path
from django.views.generic import RedirectView

from accounts.api.urls import urlpatterns as accounts
from billing.api.urls import urlpatterns as billing
from calls.api.urls import urlpatterns as calls
from config import pages
from core import health
from core.api import docs
from core.storage import folder
from dashboard.api.urls import urlpatterns as dashboard
from dashboard.console.urls import urlpatterns as console
from generation.api.urls import urlpatterns as generation
from inbox.api.urls import urlpatterns as inbox
from store.api.urls import urlpatterns as store
from wearables.api.urls import urlpatterns as wearables

# One flat list: an address is looked for at every request, and each include() is a search of its own.
api = [*billing, *generation, *calls, *store, *dashboard, *accounts, *wearables, *inbox]

urlpatterns = [
    path("", pages.home, name="home"),
    path("studio", pages.studio, name="studio"),
    path("api/v1/", include(api)),
    path("api/schema", docs.schema, name="schema"),
    path("api/docs", docs.swagger, name="docs"),
    path("api/redoc", docs.redoc, name="redoc"),
    path("api", RedirectView.as_view(pattern_name="docs")),
    path("docs", RedirectView.as_view(pattern_name="docs")),
    path("redoc", RedirectView.as_view(pattern_name="redoc")),
    path("health", health.health, name="health"),
    path("health/live", health.live, name="health-live"),
    path("health/ready", health.ready, name="health-ready"),
    path("metrics", health.metrics_page, name="metrics"),
    path("files/<str:signed>", folder.serve, name="file"),
    path("files/incoming/<str:signed>", folder.take, name="file-door"),
    path("admin/", include(console)),
    path("admin/", admin.site.urls),
    path("", include("accounts.urls")),
    path("", include("notifications.urls")),
    path("", include("billing.pages")),
    path("", include("store.pages")),
]

handler400 = "core.api.exceptions.bad_request"
handler404 = "core.api.exceptions.not_found"
handler500 = "core.api.exceptions.server_error"
