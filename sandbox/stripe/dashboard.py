"""The gateway's dashboard: what the merchant and the customer's bank do outside the API.

Every act also answers JSON to a caller that accepts it.
"""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from sandbox.box import Box, box_of
from sandbox.pages import (
    EMPTY,
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
from sandbox.state import Doc
from sandbox.stripe import disputes, objects, refunds, subscriptions
from sandbox.stripe.errors import StripeError

HOME = "/stripe/dashboard"
KINDS = {"charges": "charge", "refunds": "refund", "disputes": "dispute", "subscriptions": "subscription"}
PAGE_LENGTH = 50


async def home(request: Request) -> Response:
    box = box_of(request)

    def found(kind: str) -> list[Doc]:
        return box.store.find(f"stripe.{kind}", limit=PAGE_LENGTH)

    return page(
        "Stripe",
        Html("<h1>Gateway's dashboard</h1><p class=lead>What happens at Stripe outside the API: refunds by hand, "
             "disputes.</p>"),
        Html("<h2>Charges</h2>"),
        table(("Charge", "Amount", "State", "Created", "Acts"), (_charge_row(doc) for doc in found("charge"))),
        Html("<h2>Disputes</h2>"),
        table(("Dispute", "Charge", "Amount", "State", "Acts"), (_dispute_row(doc) for doc in found("dispute"))),
        Html("<h2>Refunds</h2>"),
        table(("Refund", "Charge", "Amount", "State", "Acts"), (_refund_row(doc) for doc in found("refund"))),
        Html("<h2>Subscriptions</h2>"),
        table(("Subscription", "Price", "State", "Period ends", "Clock"),
              (_subscription_row(doc) for doc in found("subscription"))),
        Html("<h2>Payment intents</h2>"),
        table(("Intent", "Amount", "State", "Created", ""), (_open_row(doc, "amount") for doc in
                                                              found("payment_intent"))),
        Html("<h2>Checkout sessions</h2>"),
        table(("Session", "Amount", "State", "Created", ""), (_open_row(doc, "amount_total") for doc in
                                                               found("checkout.session"))),
    )  # fmt: skip


def _money(doc: Doc, name: str = "amount") -> str:
    return money(doc[name], doc["currency"].upper())


def _charge_row(charge: Doc) -> list[object]:
    path = f"{HOME}/charges/{charge['id']}"
    amount = Html('<input name=amount size=8 placeholder="all (minor)" inputmode=numeric>')
    acts = []
    if charge["captured"] and not charge["refunded"]:
        acts = [button(f"{path}/{act}", label, amount) for act, label in
                (("refund", "Refund"), ("dispute", "Dispute"), ("inquire", "Inquiry"))]  # fmt: skip
    state = "refunded" if charge["refunded"] else "captured" if charge["captured"] else charge["status"]
    return [
        markup('<a href="{path}">{id}</a><br><span class=soft>{intent}</span>', path=path, id=code(charge["id"]),
               intent=charge["payment_intent"]),
        _money(charge), tag(state), clock(charge["created"]), joined(acts),
    ]  # fmt: skip


def _dispute_row(dispute: Doc) -> list[object]:
    path = f"{HOME}/disputes/{dispute['id']}"
    labels = {"review": "Under review", "win": "Win", "lose": "Lose"}
    if dispute["status"].startswith("warning_"):
        labels = {"review": "Under review", "close": "Close"}
    if dispute["status"] not in disputes.OPEN:
        labels = {"win": "Win after all"} if dispute["status"] == "lost" else {}
    acts = [button(f"{path}/{verdict}", label) for verdict, label in labels.items()]
    return [
        code(dispute["id"]), code(dispute["charge"]), _money(dispute), tag(dispute["status"]), joined(acts),
    ]  # fmt: skip


def _refund_row(refund: Doc) -> list[object]:
    path = f"{HOME}/refunds/{refund['id']}"
    acts = [button(f"{path}/succeed", "Succeed")] if refund["status"] == "pending" else []
    acts += [button(f"{path}/fail", "Fail")] if refund["status"] != "failed" else []
    return [code(refund["id"]), code(refund["charge"]), _money(refund), tag(refund["status"]), joined(acts)]


def _subscription_row(subscription: Doc) -> list[object]:
    path = f"{HOME}/subscriptions/{subscription['id']}"
    item = subscriptions.item_of(subscription)
    labels = {"renew": "To the period's end", "fail": "To its end, card fails",
              "finalize": "An hour later", "retry": "Try again",
              "give-up": "Give up", "unpaid": "Leave unpaid", "lapse": "Lapse"}  # fmt: skip
    acts = [button(f"{path}/{act}", label) for act, label in labels.items()]
    return [
        code(subscription["id"]), money(item["price"]["unit_amount"], subscription["currency"].upper()),
        tag(subscription["status"]), clock(item["current_period_end"]),
        joined(acts) if subscription["status"] in subscriptions.LIVE else EMPTY,
    ]  # fmt: skip


def _open_row(doc: Doc, amount: str) -> list[object]:
    return [
        code(doc["id"]), _money(doc, amount), tag(doc["status"]), clock(doc["created"]),
        markup('<a href="/stripe/checkout/{id}">Checkout</a>', id=doc["id"]),
    ]  # fmt: skip


async def show_charge(request: Request) -> Response:
    charge = objects.find(box_of(request), "charge", request.path_params["id"])
    if charge is None:
        return page("Not found", Html("<h1>There is no such charge</h1>"), status=404)
    return page(charge["id"], markup("<h1>{id}</h1>", id=charge["id"]), pretty(objects.public(charge)))


def _do(box: Box, kind: str, doc: Doc, act: str, form: dict[str, str]) -> Doc:
    amount = form.get("amount")
    if amount is not None and not amount.isdecimal():
        raise StripeError("The amount must be a whole number.", "amount")
    wanted = int(amount) if amount else None
    match kind, act:
        case "charge", "refund":
            return refunds.create(box, doc, amount=wanted, reason="requested_by_customer")[0]
        case "charge", "dispute" | "inquire":
            return disputes.create(
                box, doc, amount=wanted, reason=form.get("reason", "general"), is_inquiry=act == "inquire"
            )
        case "refund", "succeed":
            return refunds.succeed(box, doc)
        case "refund", "fail":
            return refunds.fail(box, doc)
        case "subscription", "card":
            return subscriptions.set_card(box, doc, form.get("card", "pm_card_visa"))
        case "subscription", act if act in subscriptions.ACTS:
            return subscriptions.tick(box, doc, act)
        case "dispute", verdict:
            return disputes.decide(box, doc, verdict)
    raise StripeError("There is no such act", status=404)


async def act(request: Request) -> Response:
    box = box_of(request)
    kind = KINDS.get(request.path_params["things"], "")
    try:
        doc = objects.load(box, kind, request.path_params["id"])
        result = _do(box, kind, doc, request.path_params["act"], await fields(request))
    except StripeError as error:
        if wants_json(request):
            return JSONResponse(error.body(), status_code=error.status)
        return page("Refused", markup("<h1>Refused</h1><p>{why}</p>", why=error.message), status=error.status)
    return done(request, HOME, objects.public(result))


routes = [
    Route("/dashboard", home, methods=["GET"]),
    Route("/dashboard/charges/{id}", show_charge, methods=["GET"]),
    Route("/dashboard/{things}/{id}/{act}", act, methods=["POST"]),
]
