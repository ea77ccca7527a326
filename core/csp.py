"""What a browser may load into which of our pages. The console and the documentation need more than the rest."""

from __future__ import annotations

from collections.abc import Callable

from django.conf import settings
from django.http import HttpRequest
from django.http.response import HttpResponseBase

HEADER = "Content-Security-Policy"

# Answers of the API are data, never a page.
DATA = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
_OWN = "default-src 'none'; base-uri 'none'; frame-ancestors 'none'; form-action 'self'; connect-src 'self'; "
# Our own pages: no script but from our files. Their style stands in the page and can load nothing.
PAGE = _OWN + "script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; font-src 'self'"
# Alpine, which the console is built on, evaluates its attributes; pictures lie behind signed links of the storage.
_STORE = f" {settings.S3_ENDPOINT_URL}" if settings.S3_ENDPOINT_URL.startswith("http:") else ""
CONSOLE = (
    _OWN + f"script-src 'self' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; img-src 'self' data: https:{_STORE}; "
    "font-src 'self' data:; frame-src 'self'"
)
# Swagger UI and ReDoc put styles into the page, ReDoc searches in a worker.
DOCUMENTATION = (
    _OWN + "script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
    "font-src 'self' data:; worker-src 'self' blob:"
)
# The studio shows a photo before it is sent, and pictures behind signed links; its style is a file.
STUDIO = _OWN + f"script-src 'self'; style-src 'self'; img-src 'self' data: blob: https:{_STORE}; font-src 'self'"
_BY_PREFIX = (
    ("/api/docs", DOCUMENTATION),
    ("/api/redoc", DOCUMENTATION),
    ("/api/", DATA),
    ("/admin/", CONSOLE),
    ("/studio", STUDIO),
)


def checkout(origins: str) -> str:
    """The policy of a page that runs a gateway's own checkout from these origins, e.g. `https://*.gateway.example`."""
    return (
        f"default-src 'none'; base-uri 'none'; frame-ancestors 'none'; form-action 'self' {origins}; "
        f"script-src 'self' {origins}; frame-src {origins}; connect-src 'self' {origins}; "
        f"img-src 'self' data: {origins}; font-src 'self' data: {origins}; style-src 'self' 'unsafe-inline' {origins}"
    )


class Middleware:
    """Gives each answer its policy, unless its view has set a closer one; no cache keeps what the API tells."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        response = self.get_response(request)
        path = request.path
        if path.startswith("/api/") and "Cache-Control" not in response:
            response["Cache-Control"] = "no-store"
        if HEADER not in response:
            response[HEADER] = next((policy for prefix, policy in _BY_PREFIX if path.startswith(prefix)), PAGE)
        return response
