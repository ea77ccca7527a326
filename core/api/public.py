"""`@kept("prices")` on a public list: answered from Redis, with an ETag that browsers and CDNs ask by."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

from django.http import HttpResponse
from django.http.response import HttpResponseBase
from django.utils.cache import get_conditional_response
from rest_framework.request import Request
from rest_framework.response import Response

from core import public
from core.api.renderers import encode

View = Callable[..., Response]


def kept(name: str) -> Callable[[View], Callable[..., Any]]:
    """Keep the view's answers under `name` until `core.public.changed(name)`. Refusals are not kept.

    For views that answer everybody alike: set `authentication_classes = []` beside it.
    """

    def decorate(view: View) -> Callable[..., Any]:
        @functools.wraps(view)
        def wrapped(self: Any, request: Request, *args: Any, **kwargs: Any) -> HttpResponseBase:
            which = f"{request.path}?{urlencode(sorted(request.query_params.lists()), doseq=True)}"
            answer = public.answer(name, which, lambda: encode(view(self, request, *args, **kwargs).data))
            # Shown prices are ours to change at any moment: whoever keeps a copy asks whether it still holds.
            headers = {"ETag": answer.tag, "Cache-Control": "public, no-cache"}
            response = HttpResponse(answer.body, content_type="application/json", headers=headers)
            return get_conditional_response(request._request, etag=answer.tag, response=response) or response

        wrapped.is_kept = True  # type: ignore[attr-defined]  # read by the schema
        return wrapped

    return decorate
