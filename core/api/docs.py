"""The OpenAPI document and the two pages that show it, all of it served by us."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable

from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.utils.cache import get_conditional_response
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.renderers import OpenApiJsonRenderer, OpenApiYamlRenderer

from core.api.exceptions import SAFE, respond
from core.errors import MethodNotAllowed

View = Callable[[HttpRequest], HttpResponseBase]


def _read_only(view: View) -> View:
    @functools.wraps(view)
    def wrapped(request: HttpRequest) -> HttpResponseBase:
        if request.method not in SAFE:
            response = respond(MethodNotAllowed())
            response["Allow"] = "GET, HEAD, OPTIONS"
            return response
        return view(request)

    return wrapped


@functools.lru_cache(maxsize=2)
def _document(is_json: bool) -> tuple[bytes, str]:
    """The document and its ETag. Making it takes most of a second, and it is the same until the code changes."""
    renderer = OpenApiJsonRenderer() if is_json else OpenApiYamlRenderer()
    schema = SchemaGenerator(api_version="v1").get_schema(request=None, public=True)
    body: bytes = renderer.render(schema, renderer_context={})
    return body, f'W/"{hashlib.sha256(body).hexdigest()[:32]}"'


@_read_only
def schema(request: HttpRequest) -> HttpResponseBase:
    """GET /api/schema: YAML, or JSON for whoever asks for it by `Accept` or `?format=json`."""
    is_json = request.GET.get("format") == "json" or "json" in request.headers.get("Accept", "")
    body, tag = _document(is_json)
    kind = "application/vnd.oai.openapi+json" if is_json else "application/vnd.oai.openapi"
    response = HttpResponse(
        body, content_type=kind, headers={"ETag": tag, "Cache-Control": "no-cache", "Vary": "Accept"}
    )
    return get_conditional_response(request, etag=tag, response=response) or response


@_read_only
def swagger(request: HttpRequest) -> HttpResponseBase:
    """GET /api/docs: Swagger UI."""
    return render(request, "docs/swagger.html")


@_read_only
def redoc(request: HttpRequest) -> HttpResponseBase:
    """GET /api/redoc: ReDoc."""
    return render(request, "docs/redoc.html")
