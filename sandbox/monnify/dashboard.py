"""The gateway's dashboard: late money, reversals and refunds by hand. Every act also answers JSON."""

from __future__ import annotations

from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from sandbox.box import Box, box_of
from sandbox.monnify import refunds, transactions
from sandbox.monnify.errors import MonnifyError
from sandbox.pages import Html, button, clock, code, done, fields, joined, markup, money, page, table, tag, wants_json
from sandbox.state import Doc
from sandbox.tokens import new_id

HOME = "/monnify/dashboard"
PAGE_LENGTH = 50


async def home(request: Request) -> Response:
    box = box_of(request)
    return page(
        "Monnify",
        Html("<h1>Gateway's dashboard</h1><p class=lead>What happens at Monnify outside the API: late money, "
             "reversals, refunds by hand.</p>"),
        Html("<h2>Transactions</h2>"),
        table(
            ("Transaction", "Payable", "Paid", "State", "Created", "Acts"),
            (_transaction_row(doc) for doc in box.store.find(transactions.KIND, limit=PAGE_LENGTH)),
        ),
        Html("<h2>Refunds</h2>"),
        table(
            ("Refund", "Transaction", "Amount", "State", "Acts"),
            (_refund_row(doc) for doc in box.store.find(refunds.KIND, limit=PAGE_LENGTH)),
        ),
    )  # fmt: skip


def _transaction_row(doc: Doc) -> list[object]:
    path = f"{HOME}/transactions/{quote(doc['id'], safe='')}"
    amount = Html('<input name=amount size=8 placeholder="all (kobo)" inputmode=numeric>')
    acts = [button(f"{path}/pay", "Pay (late)", amount)]
    if doc["paid"] and doc["status"] != "REVERSED":
        acts += [button(f"{path}/refund", "Refund", amount), button(f"{path}/reverse", "Reverse")]
    checkout = f"/monnify/checkout/{quote(doc['id'], safe='')}"
    return [
        markup('<a href="{path}">{id}</a><br><span class=soft>{ours}</span>', path=checkout, id=code(doc["id"]),
               ours=doc["reference"]),
        money(doc["amount"], "NGN"), money(doc["paid"], "NGN"), tag(doc["status"].lower()), clock(doc["created_at"]),
        joined(acts),
    ]  # fmt: skip


def _refund_row(refund: Doc) -> list[object]:
    path = f"{HOME}/refunds/{quote(refund['id'], safe='')}"
    acts = [button(f"{path}/complete", "Complete")] if refund["status"] == "PENDING" else []
    acts += [button(f"{path}/fail", "Fail")] if refund["status"] != "FAILED" else []
    return [
        code(refund["id"]), code(refund["transaction"]), money(refund["amount"], "NGN"),
        tag(refund["status"].lower()), joined(acts),
    ]  # fmt: skip


def _do(box: Box, things: str, id: str, act: str, form: dict[str, str]) -> Doc:
    amount = form.get("amount", "")
    if amount and not amount.isdecimal():
        raise MonnifyError("The amount must be whole kobo")
    wanted = int(amount) if amount else None
    match things, act:
        case "transactions", "pay":
            transactions.pay(box, transactions.load(box, id), wanted, form.get("method", "ACCOUNT_TRANSFER"))
        case "transactions", "reverse":
            transactions.reverse(box, transactions.load(box, id))
        case "transactions", "refund":
            doc = transactions.load(box, id)
            made = refunds.create(
                box, doc, wanted or doc["paid"], reference=new_id("rfd_"), reason="by hand", note="refund"
            )
            return refunds.public(made)
        case "refunds", "complete" | "fail":
            refunds.end(box, refunds.load(box, id), "COMPLETED" if act == "complete" else "FAILED")
            return refunds.public(refunds.load(box, id))
        case _:
            raise MonnifyError("There is no such act", status=404)
    return transactions.queried(transactions.load(box, id))


async def act(request: Request) -> Response:
    params = request.path_params
    try:
        result = _do(box_of(request), params["things"], params["id"], params["act"], await fields(request))
    except MonnifyError as error:
        if wants_json(request):
            return JSONResponse(error.body(), status_code=error.status)
        return page("Refused", markup("<h1>Refused</h1><p>{why}</p>", why=error.message), status=400)
    return done(request, HOME, result)


routes = [
    Route("/dashboard", home, methods=["GET"]),
    Route("/dashboard/{things}/{id}/{act}", act, methods=["POST"]),
]
