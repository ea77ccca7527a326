"""Where a mail's unsubscribe link leads, for people and for their mail providers (RFC 8058)."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse

from core import pages
from notifications import preferences
from notifications.mails import OPTIONAL
from notifications.rendering import product_name


@pages.mailed
def unsubscribe(request: HttpRequest, token: str) -> HttpResponse:
    """A POST ends that kind of mail, however often it comes."""
    found = preferences.read(token)
    if found is not None and request.method == "POST":
        preferences.change(found.user_id, {found.name: False})
    is_done = found is not None and preferences.is_refused(found.user_id, found.name)
    values = {"product": product_name(), "about": OPTIONAL[found.name] if found else "", "is_done": is_done}
    return pages.show(request, "site/unsubscribe.html", values, status=200 if found else 404)
