"""The gateway's dashboard: what the merchant, the customer's bank and the gateway's staff do outside the API.

Every act also answers JSON to a caller that accepts it.
"""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from sandbox.box import Box, box_of
from sandbox.pages import (
    Html,
    button,
    clock,
    code,
    done,
    fields,
    joined,
    markup,
    money,
    page,
    pretty,
    table,
    tag,
    wants_json,
)
from sandbox.razorpay import disputes, entities, payments, refunds
from sandbox.razorpay.errors import RazorpayError
from sandbox.state import Doc

HOME = "/razorpay/dashboard"
PAGE_LENGTH = 50


async def home(request: Request) -> Response:
    box = box_of(request)
    found = {entity: box.store.find(kind, limit=PAGE_LENGTH) for entity, kind in entities.KINDS.items()}
    return page(
        "Razorpay",
        Html("<h1>Gateway's dashboard</h1><p class=lead>What happens at Razorpay outside the API: the bank's word, "
             "refunds by hand, disputes.</p>"),
        Html("<h2>Payments</h2>"),
        table(("Payment", "Amount", "State", "Created", "Acts"), (_payment_row(doc) for doc in found["payment"])),
        Html("<h2>Disputes</h2>"),
        table(("Dispute", "Payment", "Amount", "State", "Acts"), (_dispute_row(doc) for doc in found["dispute"])),
        Html("<h2>Refunds</h2>"),
        table(("Refund", "Payment", "Amount", "State", "Acts"), (_refund_row(doc) for doc in found["refund"])),
        Html("<h2>Orders</h2>"),
        table(("Order", "Receipt", "Amount", "Paid", "State", ""), (_order_row(doc) for doc in found["order"])),
    )  # fmt: skip


def _payment_row(payment: Doc) -> list[object]:
    path = f"{HOME}/payments/{payment['id']}"
    amount = Html('<input name=amount size=8 placeholder="all (minor)" inputmode=numeric>')
    acts = []
    if payment["status"] in ("created", "failed"):
        acts.append(button(f"{path}/authorize", "Authorise late"))
    if payment["status"] == "authorized":
        acts.append(button(f"{path}/capture", "Capture"))
    if payment["status"] == "captured":
        acts += [button(f"{path}/refund", "Refund", amount), button(f"{path}/dispute", "Dispute", amount)]
    return [
        markup('<a href="{path}">{id}</a><br><span class=soft>{method}</span>', path=path, id=code(payment["id"]),
               method=payment["method"]),
        money(payment["amount"], payment["currency"]), tag(payment["status"]), clock(payment["created_at"]),
        joined(acts),
    ]  # fmt: skip


def _dispute_row(dispute: Doc) -> list[object]:
    path = f"{HOME}/disputes/{dispute['id']}"
    labels = {"review": "Under review", "win": "Win", "lose": "Lose", "close": "Close"}
    if dispute["status"] not in disputes.OPEN:
        labels = {"win": "Win after all"} if dispute["status"] == "lost" else {}
    acts = [button(f"{path}/{verdict}", label) for verdict, label in labels.items()]
    return [
        code(dispute["id"]), code(dispute["payment_id"]), money(dispute["amount"], dispute["currency"]),
        tag(dispute["status"]), joined(acts),
    ]  # fmt: skip


def _refund_row(refund: Doc) -> list[object]:
    path = f"{HOME}/refunds/{refund['id']}"
    acts = [button(f"{path}/process", "Process")] if refund["status"] == "pending" else []
    acts += [button(f"{path}/fail", "Fail")] if refund["status"] != "failed" else []
    return [
        code(refund["id"]), code(refund["payment_id"]), money(refund["amount"], refund["currency"]),
        tag(refund["status"]), joined(acts),
    ]  # fmt: skip


def _order_row(order: Doc) -> list[object]:
    return [
        code(order["id"]), order["receipt"], money(order["amount"], order["currency"]),
        money(order["amount_paid"], order["currency"]), tag(order["status"]),
        markup('<a href="/razorpay/checkout/{id}">Checkout</a>', id=order["id"]),
    ]  # fmt: skip


async def show_payment(request: Request) -> Response:
    box = box_of(request)
    payment = box.store.get(entities.KINDS["payment"], request.path_params["id"])
    if payment is None:
        return page("Not found", Html("<h1>There is no such payment</h1>"), status=404)
    return page(payment["id"], markup("<h1>{id}</h1>", id=payment["id"]), pretty(entities.public(payment)))


def _do(box: Box, entity: str, doc: Doc, act: str, form: dict[str, str]) -> Doc:
    amount = form.get("amount")
    if amount is not None and not amount.isdecimal():
        raise RazorpayError("The amount must be an integer.", "amount")
    wanted = int(amount) if amount else None
    match entity, act:
        case "payment", "refund":
            rest = doc["amount"] - doc["amount_refunded"]
            return refunds.create(box, doc, amount=rest if wanted is None else wanted)[0]
        case "payment", "dispute":
            return disputes.create(
                box, doc, amount=wanted, phase=form.get("phase", "chargeback"), reason_code=form.get("reason_code", "")
            )
        case "payment", "authorize":
            payments.complete(box, doc) if form.get("capture") else payments.authorize(box, doc)
        case "payment", "capture":
            payments.capture_by_api(box, doc["id"], {"amount": doc["amount"]})
        case "refund", "process":
            refunds.process(box, doc)
        case "refund", "fail":
            refunds.fail(box, doc)
        case "dispute", verdict:
            disputes.decide(box, doc, verdict)
        case _:
            raise RazorpayError("There is no such act", status=404)
    return entities.load(box, entity, doc["id"])


async def act(request: Request) -> Response:
    box = box_of(request)
    entity = {"payments": "payment", "refunds": "refund", "disputes": "dispute"}.get(request.path_params["things"], "")
    try:
        if not entity:
            raise RazorpayError("There is no such thing", status=404)
        doc = entities.load(box, entity, request.path_params["id"])
        result = _do(box, entity, doc, request.path_params["act"], await fields(request))
    except RazorpayError as error:
        if wants_json(request):
            return JSONResponse(error.body(), status_code=error.status)
        return page("Refused", markup("<h1>Refused</h1><p>{why}</p>", why=error.description), status=error.status)
    return done(request, HOME, entities.public(result))


routes = [
    Route("/dashboard", home, methods=["GET"]),
    Route("/dashboard/payments/{id}", show_payment, methods=["GET"]),
    Route("/dashboard/{things}/{id}/{act}", act, methods=["POST"]),
]
