"""Monnify's REST API, `/api/v1/…` and `/api/v2/…`."""

from __future__ import annotations

import base64
import binascii
import hmac
import json
from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from sandbox import magic
from sandbox.box import Box, box_of
from sandbox.monnify import refunds, transactions
from sandbox.monnify.errors import MonnifyError, success
from sandbox.state import Doc
from sandbox.tokens import new_id

Handler = Callable[[Box, Request], Awaitable[Any]]
TOKEN_GOOD_FOR_S = 3567


async def login(request: Request) -> Response:
    """Basic keys in, a bearer for about an hour out; it ends by the sandbox's clock."""
    box = box_of(request)
    header = request.headers.get("authorization", "")
    try:
        given = base64.b64decode(header.removeprefix("Basic "), validate=True) if header.startswith("Basic ") else b""
    except binascii.Error:
        given = b""
    expected = f"{box.settings.monnify_api_key}:{box.settings.monnify_secret_key}".encode()
    if not hmac.compare_digest(given, expected):
        return JSONResponse(MonnifyError("Invalid credentials", status=401).body(), status_code=401)
    token = new_id("", 40)
    box.store.put("monnify.token", token, {"until": box.agenda.now() + TOKEN_GOOD_FOR_S})
    return JSONResponse(success({"accessToken": token, "expiresIn": TOKEN_GOOD_FOR_S}))


def authenticate(box: Box, request: Request) -> None:
    token = request.headers.get("authorization", "").removeprefix("Bearer ")
    known = box.store.get("monnify.token", token)
    if known is None or known["until"] < box.agenda.now():
        raise MonnifyError("Invalid or expired token", status=401)


async def body_of(request: Request) -> dict[str, Any]:
    try:
        body = json.loads(await request.body() or b"{}", parse_float=Decimal)
    except ValueError:
        raise MonnifyError("The request body is not valid JSON", status=400) from None
    if not isinstance(body, dict):
        raise MonnifyError("The request body must be an object", status=400)
    return body


def endpoint(handler: Handler) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:
        box = box_of(request)
        try:
            authenticate(box, request)
            return JSONResponse(success(await handler(box, request)))
        except MonnifyError as error:
            return JSONResponse(error.body(), status_code=error.status)

    return answer


async def init(box: Box, request: Request) -> Doc:
    origin = f"{request.url.scheme}://{request.url.netloc}"
    doc = transactions.init(box, await body_of(request), origin)
    return transactions.opened(doc, box.settings.monnify_api_key)


async def by_theirs(box: Box, request: Request) -> Doc:
    return transactions.queried(transactions.load(box, request.path_params["reference"]))


async def query(box: Box, request: Request) -> Doc:
    """`?paymentReference=` is the merchant's, `?transactionReference=` Monnify's."""
    if ours := request.query_params.get("paymentReference"):
        return transactions.queried(transactions.load_by_ours(box, ours))
    return transactions.queried(transactions.load(box, request.query_params.get("transactionReference", "")))


async def search(box: Box, request: Request) -> Doc:
    return _page(box, request, transactions.KIND, transactions.listed)


async def start_refund(box: Box, request: Request) -> Doc:
    refund = refunds.create_by_api(box, await body_of(request))
    if magic.sending(refund["amount"]).is_first:
        sent = box.store.find("delivery", parent=refund["id"])
        await box.webhooks.settled([delivery["id"] for delivery in sent])
    return refunds.public(refund)


async def one_refund(box: Box, request: Request) -> Doc:
    return refunds.public(refunds.load(box, request.path_params["reference"]))


async def all_refunds(box: Box, request: Request) -> Doc:
    return _page(box, request, refunds.KIND, refunds.public)


def _page(box: Box, request: Request, kind: str, show: Callable[[Doc], Doc]) -> Doc:
    """Newest first; `page` from 0, `from` and `to` in milliseconds, inclusive."""
    numbers = {name: _number(request, name) for name in ("page", "size", "from", "to")}
    page, size = numbers["page"] or 0, numbers["size"] or 10
    if size > 100:
        raise MonnifyError("size must be 100 at most", status=400)
    since = None if numbers["from"] is None else -(-numbers["from"] // 1000)
    until = None if numbers["to"] is None else numbers["to"] // 1000
    found = box.store.find(kind, since=since, until=until)
    content = found[page * size : (page + 1) * size]
    return {
        "content": [show(doc) for doc in content],
        "pageable": {"pageNumber": page, "pageSize": size, "offset": page * size},
        "totalElements": len(found),
        "totalPages": -(-len(found) // size),
        "numberOfElements": len(content),
        "first": page == 0,
        "last": (page + 1) * size >= len(found),
        "empty": not content,
    }


def _number(request: Request, name: str) -> int | None:
    given = request.query_params.get(name)
    if given is None:
        return None
    if not given.isdecimal() or len(given) > 15:
        raise MonnifyError(f"{name} must be a number", status=400)
    return int(given)


async def unknown(box: Box, request: Request) -> Doc:
    raise MonnifyError("The requested URL was not found", status=404)


routes = [
    Route("/v1/auth/login", login, methods=["POST"]),
    Route("/v1/merchant/transactions/init-transaction", endpoint(init), methods=["POST"]),
    Route("/v2/merchant/transactions/query", endpoint(query), methods=["GET"]),
    Route("/v2/transactions/{reference}", endpoint(by_theirs), methods=["GET"]),
    Route("/v1/transactions/search", endpoint(search), methods=["GET"]),
    Route("/v1/refunds/initiate-refund", endpoint(start_refund), methods=["POST"]),
    Route("/v1/refunds", endpoint(all_refunds), methods=["GET"]),
    Route("/v1/refunds/{reference}", endpoint(one_refund), methods=["GET"]),
    Route("/{path:path}", endpoint(unknown), methods=["GET", "POST", "PUT", "PATCH", "DELETE"]),
]
