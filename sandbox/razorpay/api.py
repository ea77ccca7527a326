"""Razorpay's REST API, `/v1/…`."""

from __future__ import annotations

import base64
import binascii
import hmac
import json
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from sandbox.box import Box, box_of
from sandbox.razorpay import disputes, entities, orders, payments, refunds
from sandbox.razorpay.errors import RazorpayError
from sandbox.state import Doc

Endpoint = Callable[[Request], Awaitable[Response]]
Handler = Callable[[Box, Request], Awaitable[Doc]]

# Refund keys whose first request is not answered yet: a twin gets 409.
running_keys: set[str] = set()


def authenticate(box: Box, request: Request) -> None:
    """Source: the vendor's API authentication page: the header reads exactly `Basic <base64>`."""
    header = request.headers.get("authorization", "")
    try:
        given = base64.b64decode(header.removeprefix("Basic "), validate=True) if header.startswith("Basic ") else b""
    except binascii.Error:
        given = b""
    expected = f"{box.settings.razorpay_key_id}:{box.settings.razorpay_key_secret}".encode()
    if not hmac.compare_digest(given, expected):
        raise RazorpayError("Authentication failed", source="NA", step="NA", reason="NA", status=401)


async def body_of(request: Request) -> dict[str, Any]:
    raw = await request.body()
    try:
        body = json.loads(raw or b"{}")
    except ValueError:
        raise RazorpayError("The request body is not valid JSON.") from None
    if not isinstance(body, dict):
        raise RazorpayError("The request body must be an object.")
    return body


def endpoint(handler: Handler) -> Endpoint:
    async def answer(request: Request) -> Response:
        box = box_of(request)
        try:
            authenticate(box, request)
            return JSONResponse(await handler(box, request))
        except RazorpayError as error:
            return JSONResponse(error.body(), status_code=error.status)

    return answer


async def create_order(box: Box, request: Request) -> Doc:
    return entities.public(orders.create(box, await body_of(request)))


async def edit_order(box: Box, request: Request) -> Doc:
    return entities.public(orders.edit(box, request.path_params["id"], await body_of(request)))


async def list_orders(box: Box, request: Request) -> Doc:
    query = dict(request.query_params)
    receipt = query.pop("receipt", None)
    if receipt is None:
        return entities.listed(box, "order", query)
    found = [order for order in box.store.find(entities.KINDS["order"]) if order["receipt"] == receipt]
    return entities.collection(found[:100])


async def order_payments(box: Box, request: Request) -> Doc:
    order = entities.load(box, "order", request.path_params["id"])
    return entities.collection(box.store.find(entities.KINDS["payment"], parent=order["id"]))


async def capture(box: Box, request: Request) -> Doc:
    payment, sent = payments.capture_by_api(box, request.path_params["id"], await body_of(request))
    if payments.is_first(payment):
        await box.webhooks.settled(sent)
    return entities.public(payment)


async def create_refund(box: Box, request: Request) -> Doc:
    key = request.headers.get("x-refund-idempotency")
    if key in running_keys:
        raise RazorpayError("Request failed because another request with the same key is in progress.", status=409)
    body = await body_of(request)
    if key:
        running_keys.add(key)
    try:
        refund, sent = refunds.create_by_api(box, request.path_params["id"], body, key)
        if refunds.is_first(refund):
            await box.webhooks.settled(sent)
    finally:
        running_keys.discard(key or "")
    return entities.public(entities.load(box, "refund", refund["id"]))


async def payment_refunds(box: Box, request: Request) -> Doc:
    payment = entities.load(box, "payment", request.path_params["id"])
    return entities.listed(box, "refund", request.query_params, parent=payment["id"])


async def payment_refund(box: Box, request: Request) -> Doc:
    refund = entities.load(box, "refund", request.path_params["refund_id"])
    if refund["payment_id"] != request.path_params["id"]:
        raise RazorpayError("The id provided does not exist")
    return entities.public(refund)


async def accept_dispute(box: Box, request: Request) -> Doc:
    dispute = entities.load(box, "dispute", request.path_params["id"])
    return entities.public(disputes.decide(box, dispute, "lose"))


async def contest_dispute(box: Box, request: Request) -> Doc:
    dispute = entities.load(box, "dispute", request.path_params["id"])
    body = await body_of(request)
    if body.get("action", "draft") not in ("draft", "submit"):
        raise RazorpayError("The selected action is invalid.", "action")
    return entities.public(disputes.decide(box, dispute, "review") if body.get("action") == "submit" else dispute)


async def unknown(box: Box, request: Request) -> Doc:
    raise RazorpayError("The requested URL was not found on the server.", source="NA", step="NA", reason="NA",
                        status=404)  # fmt: skip


def fetch(entity: str) -> Handler:
    async def handler(box: Box, request: Request) -> Doc:
        return entities.public(entities.load(box, entity, request.path_params["id"]))

    return handler


def list_of(entity: str) -> Handler:
    async def handler(box: Box, request: Request) -> Doc:
        return entities.listed(box, entity, request.query_params)

    return handler


def get(path: str, handler: Handler) -> Route:
    return Route(path, endpoint(handler), methods=["GET"])


def post(path: str, handler: Handler, method: str = "POST") -> Route:
    return Route(path, endpoint(handler), methods=[method])


routes = [
    post("/orders", create_order),
    get("/orders", list_orders),
    get("/orders/{id}", fetch("order")),
    post("/orders/{id}", edit_order, "PATCH"),
    get("/orders/{id}/payments", order_payments),
    get("/payments", list_of("payment")),
    get("/payments/{id}", fetch("payment")),
    post("/payments/{id}/capture", capture),
    post("/payments/{id}/refund", create_refund),
    get("/payments/{id}/refunds", payment_refunds),
    get("/payments/{id}/refunds/{refund_id}", payment_refund),
    get("/refunds", list_of("refund")),
    get("/refunds/{id}", fetch("refund")),
    get("/disputes", list_of("dispute")),
    get("/disputes/{id}", fetch("dispute")),
    post("/disputes/{id}/accept", accept_dispute),
    post("/disputes/{id}/contest", contest_dispute, "PATCH"),
    Route("/{path:path}", endpoint(unknown), methods=["GET", "POST", "PUT", "PATCH", "DELETE"]),
]
