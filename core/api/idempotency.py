"""The Idempotency-Key header on a view method."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from typing import Any

from django.db import OperationalError, transaction
from rest_framework.request import Request
from rest_framework.response import Response

from core import idempotency
from core.api.renderers import encode
from core.errors import Conflict, IdempotencyKeyRequired, Invalid, detail
from core.locks import is_lock_timeout

HEADER = "Idempotency-Key"
KEY = r"^[!-~]{1,255}$"
View = Callable[..., Response]


def idempotent(*, required: bool = False, resumable: bool = False) -> Callable[[View], View]:
    """Make a repeated POST one effect and one answer.

    Plain: the key row, the effect and the 2xx answer are ONE transaction. `resumable`, for views that call a gateway:
    the key is committed first, `request.idempotency` is its Claim, and the same key resumes what it was bound to.
    Raises: IdempotencyKeyRequired, IdempotencyMismatch, IdempotencyInProgress.
    """

    def decorate(view: View) -> View:
        @functools.wraps(view)
        def wrapped(self: Any, request: Request, *args: Any, **kwargs: Any) -> Response:
            key = request.headers.get(HEADER)
            if not key and required:
                raise IdempotencyKeyRequired
            if key is None:
                request.idempotency = None  # type: ignore[attr-defined]
                return view(self, request, *args, **kwargs)
            if not re.fullmatch(KEY, key):
                message = "An Idempotency-Key has 1 to 255 characters of ASCII and no spaces."
                raise Invalid(details=[detail("invalid", message, HEADER)])
            named = {
                "user_id": request.user.pk,
                "method": request.method or "",
                "route": request.path,
                "key": key,
                "digest": idempotency.fingerprint(_body(request)),
            }
            run = _leased if resumable else _atomic
            return run(functools.partial(view, self, request, *args, **kwargs), request, named)

        wrapped.idempotency_required = required  # type: ignore[attr-defined]  # read by the schema
        wrapped.idempotency_optional = not required  # type: ignore[attr-defined]
        return wrapped

    return decorate


def _body(request: Request) -> Any:
    """What the fingerprint covers: the parsed body, files by name and length."""
    if request.FILES:
        files = {name: [file.name, file.size] for name, file in request.FILES.items()}
        data: Any = request.data
        return {name: data[name] for name in data if name not in files} | {"files": files}
    return request.data


def _atomic(view: Callable[[], Response], request: Request, named: dict[str, Any]) -> Response:
    try:
        return _in_one_transaction(view, request, named)
    except OperationalError as error:
        if is_lock_timeout(error):
            raise Conflict(retry_after=1) from error  # all of the request is rolled back: nothing was charged
        raise


def _in_one_transaction(view: Callable[[], Response], request: Request, named: dict[str, Any]) -> Response:
    with transaction.atomic():
        claim = idempotency.claim_in_transaction(**named)
        if claim.answer:
            return _replay(claim.answer)
        request.idempotency = claim  # type: ignore[attr-defined]
        response = view()
        if not 200 <= response.status_code < 300:
            transaction.set_rollback(True)
            return response
        idempotency.complete(claim, **_stored(response))
        return response


def _leased(view: Callable[[], Response], request: Request, named: dict[str, Any]) -> Response:
    claim = idempotency.claim_with_lease(**named)
    if claim.answer:
        return _replay(claim.answer)
    request.idempotency = claim  # type: ignore[attr-defined]
    try:
        response = view()
    except Exception:
        idempotency.abandon(claim)
        raise
    if 200 <= response.status_code < 300:
        idempotency.complete(claim, **_stored(response))
    else:
        idempotency.abandon(claim)
    return response


def _stored(response: Response) -> dict[str, Any]:
    kept = {name: response[name] for name in ("Location", "Retry-After") if name in response}
    return {"status": response.status_code, "headers": kept, "body": encode(response.data)}


def _replay(stored: idempotency.Stored) -> Response:
    import orjson

    return Response(
        orjson.loads(stored.body) if stored.body else None,
        status=stored.status,
        headers={**stored.headers, "Idempotent-Replayed": "true"},
    )
