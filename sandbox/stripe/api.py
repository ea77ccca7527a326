"""Stripe's REST API, `/v1/…`: form-encoded requests, JSON answers, one pinned version."""

from __future__ import annotations

import base64
import binascii
import hmac
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from sandbox.box import Box, box_of
from sandbox.state import Doc
from sandbox.stripe import customers, forms, intents, objects, prices, refunds, sessions, subscriptions
from sandbox.stripe.errors import StripeError
from sandbox.tokens import new_id


@dataclass
class Call:
    """One request: what its handler needs of it."""

    box: Box
    params: dict[str, Any]
    id: str
    origin: str

    def the(self, kind: str) -> Doc:
        return objects.load(self.box, kind, self.id)


Handler = Callable[[Call], Awaitable[Doc]]

# Keys whose first request is not answered yet: a twin gets 409.
running_keys: set[str] = set()


def authenticate(box: Box, request: Request) -> None:
    """Source: the vendor's authentication page: the secret key as a bearer, or as the user of basic authentication."""
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    if scheme == "Basic":
        try:
            given = base64.b64decode(given, validate=True).decode().partition(":")[0]
        except (binascii.Error, UnicodeDecodeError):
            given = ""
    if not hmac.compare_digest(given.encode(), box.settings.stripe_secret_key.encode()):
        raise StripeError("Invalid API Key provided.", status=401)


def check_version(request: Request) -> None:
    """The sandbox speaks one version; a caller of another one would read its answers wrongly."""
    asked = request.headers.get("stripe-version", objects.VERSION)
    if asked != objects.VERSION:
        raise StripeError(f"The sandbox speaks {objects.VERSION}, not {asked}.", "Stripe-Version")


async def params_of(request: Request) -> dict[str, Any]:
    if request.method == "POST":
        if not request.headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
            if await request.body():
                raise StripeError("Invalid request: send the body form-encoded.", status=400)
            return {}
        return forms.decode((await request.body()).decode(errors="replace"))
    return forms.decode(request.url.query)


def endpoint(handler: Handler) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:
        box = box_of(request)
        headers = {"Request-Id": new_id("req_"), "Stripe-Version": objects.VERSION}
        try:
            authenticate(box, request)
            check_version(request)
            call = Call(
                box, await params_of(request), request.path_params.get("id", ""),
                f"{request.url.scheme}://{request.url.netloc}",
            )  # fmt: skip
            status, body = await _once(call, request, handler, headers)
        except StripeError as error:
            status, body = error.status, error.body()
        return JSONResponse(body, status_code=status, headers=headers)

    return answer


async def _once(call: Call, request: Request, handler: Handler, headers: dict[str, str]) -> tuple[int, Doc]:
    """Idempotent: a POST by its `Idempotency-Key`; what was answered then is answered again, a decline included.

    Source: the vendor's page on idempotent requests: keys to 255 characters, other parameters refused, nothing kept of
    a request that was not even begun.
    """
    key = request.headers.get("idempotency-key") if request.method == "POST" else None
    if key is None:
        return 200, await handler(call)
    if len(key) > 255:
        raise StripeError("Idempotency-Key must be at most 255 characters.", type="idempotency_error")
    fingerprint = json.dumps([request.url.path, call.params], sort_keys=True)
    headers["Idempotency-Key"] = key
    earlier = call.box.store.get("stripe.key", key)
    if earlier and earlier["fingerprint"] != fingerprint:
        raise StripeError(
            f"Keys for idempotent requests can only be used with the same parameters they were first used with. Try "
            f"using a key other than '{key}' if you meant to execute a different request.",
            type="idempotency_error",
        )
    if earlier:
        headers["Idempotent-Replayed"] = "true"
        return earlier["status"], earlier["body"]
    if key in running_keys:
        raise StripeError(
            "There is currently another in-progress request using this Idempotent Key.",
            code="idempotency_key_in_use", type="idempotency_error", status=409,
        )  # fmt: skip
    running_keys.add(key)
    try:
        status, body = 200, await handler(call)
    except StripeError as error:
        if error.status != 402:
            raise
        status, body = error.status, error.body()
    finally:
        running_keys.discard(key)
    call.box.store.put("stripe.key", key, {"fingerprint": fingerprint, "status": status, "body": body})
    return status, body


def view(call: Call, doc: Doc) -> Doc:
    return objects.shown(call.box, doc, objects.expands(call.params))


async def create_intent(call: Call) -> Doc:
    return view(call, intents.create(call.box, call.params))


async def confirm_intent(call: Call) -> Doc:
    return view(call, intents.confirm(call.box, call.the("payment_intent"), call.params))


async def capture_intent(call: Call) -> Doc:
    return view(call, intents.capture(call.box, call.the("payment_intent"), call.params))


async def cancel_intent(call: Call) -> Doc:
    return view(call, intents.cancel(call.box, call.the("payment_intent"), call.params))


async def create_session(call: Call) -> Doc:
    return view(call, sessions.create(call.box, call.params, call.origin))


async def expire_session(call: Call) -> Doc:
    forms.refuse_unknown(call.params, ())
    return view(call, sessions.expire(call.box, call.the("checkout.session")))


async def session_lines(call: Call) -> Doc:
    lines = call.the("checkout.session")["_lines"]
    return {"object": "list", "url": f"/v1/checkout/sessions/{call.id}/line_items", "has_more": False, "data": lines}


async def create_refund(call: Call) -> Doc:
    refund, sent = refunds.create_by_api(call.box, call.params)
    if refunds.is_first(refund):
        await call.box.webhooks.settled(sent)
    return view(call, objects.load(call.box, "refund", refund["id"]))


async def create_customer(call: Call) -> Doc:
    return view(call, customers.create(call.box, call.params))


async def edit_customer(call: Call) -> Doc:
    return view(call, customers.edit(call.box, call.the("customer"), call.params))


async def create_product(call: Call) -> Doc:
    return view(call, prices.create_product(call.box, call.params))


async def create_price(call: Call) -> Doc:
    return view(call, prices.create(call.box, call.params))


async def list_prices(call: Call) -> Doc:
    return prices.listed(call.box, call.params)


async def create_subscription(call: Call) -> Doc:
    made = subscriptions.create(call.box, {name: value for name, value in call.params.items() if name != "expand"})
    return view(call, made)


async def edit_subscription(call: Call) -> Doc:
    return view(call, subscriptions.edit(call.box, call.the("subscription"), call.params))


async def end_subscription(call: Call) -> Doc:
    forms.refuse_unknown(call.params, {"prorate", "invoice_now"})
    return view(call, subscriptions.end(call.box, call.the("subscription")))


async def list_invoice_payments(call: Call) -> Doc:
    """By invoice, or by what pays: `payment[type]=payment_intent&payment[payment_intent]=pi_…`."""
    asked = dict(call.params)
    paying = asked.pop("payment", None)
    found = objects.listed(call.box, "invoice_payment", asked, url="/v1/invoice_payments", by=("invoice", "status"))
    if isinstance(paying, dict):
        wanted = paying.get("payment_intent")
        docs = objects.every(call.box, "invoice_payment")
        found["data"] = [objects.public(doc) for doc in docs if doc["payment"]["payment_intent"] == wanted]
    return found


async def list_invoices(call: Call) -> Doc:
    asked = dict(call.params)
    subscription = asked.pop("subscription", None)
    if subscription is None:
        return objects.listed(call.box, "invoice", asked, url="/v1/invoices", by=("customer", "status"))
    paths = [path.removeprefix("data.") for path in objects.expands(asked)]
    docs = objects.every(call.box, "invoice", parent=str(subscription))
    shown = [objects.shown(call.box, doc, paths) for doc in docs[: forms.whole(asked, "limit", 10)]]
    return {"object": "list", "url": "/v1/invoices", "has_more": len(docs) > len(shown), "data": shown}


async def open_portal(call: Call) -> Doc:
    forms.refuse_unknown(call.params, {"customer", "return_url"})
    customer = objects.load(call.box, "customer", forms.required(call.params, "customer"), param="customer", status=400)
    portal = objects.made(
        "billing_portal.session", customer=customer["id"], return_url=forms.text(call.params, "return_url")
    )
    portal["url"] = f"{call.origin}/stripe/dashboard#{customer['id']}"
    return portal


async def unknown(call: Call) -> Doc:
    raise StripeError("Unrecognized request URL. Please see https://stripe.com/docs.", status=404)


def one(kind: str) -> Handler:
    async def handler(call: Call) -> Doc:
        return view(call, call.the(kind))

    return handler


def many(kind: str, url: str, *by: str) -> Handler:
    async def handler(call: Call) -> Doc:
        return objects.listed(call.box, kind, call.params, url=url, by=by)

    return handler


def get(path: str, handler: Handler) -> Route:
    return Route(path, endpoint(handler), methods=["GET"])


def post(path: str, handler: Handler) -> Route:
    return Route(path, endpoint(handler), methods=["POST"])


def readable(path: str, kind: str, *by: str) -> list[Route]:
    """GET for the list and for one."""
    return [get(path, many(kind, f"/v1{path}", *by)), get(f"{path}/{{id}}", one(kind))]


routes = [
    *readable("/payment_intents", "payment_intent", "customer"),
    post("/payment_intents", create_intent),
    post("/payment_intents/{id}/confirm", confirm_intent),
    post("/payment_intents/{id}/capture", capture_intent),
    post("/payment_intents/{id}/cancel", cancel_intent),
    *readable("/checkout/sessions", "checkout.session", "payment_intent", "status", "customer"),
    post("/checkout/sessions", create_session),
    post("/checkout/sessions/{id}/expire", expire_session),
    get("/checkout/sessions/{id}/line_items", session_lines),
    *readable("/charges", "charge", "payment_intent", "customer"),
    *readable("/refunds", "refund", "charge", "payment_intent"),
    post("/refunds", create_refund),
    *readable("/disputes", "dispute", "charge", "payment_intent"),
    *readable("/customers", "customer", "email"),
    post("/customers", create_customer),
    post("/customers/{id}", edit_customer),
    *readable("/products", "product"),
    post("/products", create_product),
    get("/prices", list_prices),
    get("/prices/{id}", one("price")),
    post("/prices", create_price),
    *readable("/subscriptions", "subscription", "customer", "status"),
    post("/subscriptions", create_subscription),
    post("/subscriptions/{id}", edit_subscription),
    Route("/subscriptions/{id}", endpoint(end_subscription), methods=["DELETE"]),
    get("/invoices", list_invoices),
    get("/invoices/{id}", one("invoice")),
    get("/invoice_payments", list_invoice_payments),
    post("/billing_portal/sessions", open_portal),
    *readable("/balance_transactions", "balance_transaction", "source", "type"),
    *readable("/events", "event", "type"),
    get("/payment_methods/{id}", one("payment_method")),
    Route("/{path:path}", endpoint(unknown), methods=["GET", "POST", "DELETE"]),
]
