"""The hosted checkout: pay by transfer or card, fail, cancel or leave; then the browser goes to `redirectUrl`."""

from __future__ import annotations

from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from sandbox import magic
from sandbox.box import Box, box_of
from sandbox.monnify import transactions
from sandbox.monnify.errors import MonnifyError
from sandbox.pages import EMPTY, Html, code, fields, joined, markup, money, page, tag, wants_json
from sandbox.state import Doc

ACTS = ("pay", "fail", "cancel", "abandon")


async def act(box: Box, doc: Doc, name: str, form: dict[str, str]) -> None:
    """Do what a button says. `again` pays what is paid once more; `amount` (kobo) sends an odd sum."""
    if name == "abandon":
        return
    if name in ("fail", "cancel"):
        transactions.end(box, doc, "FAILED" if name == "fail" else "CANCELLED")
        return
    if doc["status"] in ("PAID", "OVERPAID", "REVERSED") and not form.get("again"):
        raise MonnifyError("This transaction has been paid")
    if doc["status"] in ("EXPIRED", "CANCELLED") and not form.get("late"):
        raise MonnifyError(f"This transaction is {doc['status']}")
    digits = doc["amount"] % 100
    if digits == transactions.MAGIC_DECLINED:
        transactions.end(box, doc, "FAILED")
    elif digits == transactions.MAGIC_PENDING and not doc["paid"]:
        box.agenda.after(box.tuned("pending_s"), "monnify.complete", doc["id"])
    else:
        amount = form.get("amount", "")
        sent = transactions.pay(
            box, doc, int(amount) if amount.isdecimal() else None, form.get("method", "ACCOUNT_TRANSFER")
        )
        if magic.sending(doc["amount"]).is_first:
            await box.webhooks.settled(sent)


def handed(doc: Doc) -> Doc:
    """What the vendor's browser library hands to the client: never to be trusted."""
    return {
        "paymentReference": doc["reference"],
        "transactionReference": doc["id"],
        "status": doc["status"],
        "amount": doc["amount"] / 100,
    }


async def submit(request: Request) -> Response:
    box, name = box_of(request), request.path_params["act"]
    form = await fields(request)
    doc = box.store.get(transactions.KIND, request.path_params["reference"])
    if doc is None or name not in ACTS:
        return _missing()
    try:
        await act(box, doc, name, form)
    except MonnifyError as error:
        if wants_json(request):
            return JSONResponse(error.body(), status_code=error.status)
        return page("Refused", markup("<h1>Refused</h1><p>{why}</p>", why=error.message), narrow=True, status=400)
    doc = transactions.load(box, doc["id"])
    if wants_json(request):
        return JSONResponse(handed(doc))
    return RedirectResponse(_onward(doc) or request.url.path.rpartition("/")[0], status_code=303)


def _onward(doc: Doc) -> str | None:
    parts = urlsplit(doc["redirect_url"] or "")
    if parts.scheme not in ("http", "https"):
        return None
    query = [*parse_qsl(parts.query, keep_blank_values=True), ("paymentReference", doc["reference"])]
    return urlunsplit(parts._replace(query=urlencode(query)))


def _missing() -> Response:
    return page("Not found", Html("<h1>There is no such transaction</h1>"), narrow=True, status=404)


async def show(request: Request) -> Response:
    box = box_of(request)
    doc = box.store.get(transactions.KIND, request.path_params["reference"])
    if doc is None:
        return _missing()
    if wants_json(request):
        return JSONResponse(transactions.queried(doc))
    hint = magic.AMOUNTS.get(doc["amount"] % 100)
    path = f"/monnify/checkout/{quote(doc['id'], safe='')}"
    is_paid = doc["status"] in ("PAID", "OVERPAID", "REVERSED")
    methods = joined(markup("<option>{method}</option>", method=method) for method in doc["methods"])
    others = joined(
        markup('<button formaction="{path}/{act}">{label}</button> ', path=path, act=act, label=label)
        for act, label in (("fail", "Fail"), ("cancel", "Cancel"), ("abandon", "Abandon"))
    )
    return page(
        f"Pay {money(doc['amount'], 'NGN')}",
        markup(
            '<div class="card"><span class=soft>Monnify checkout, simulated</span><div class=amount>{amount}</div>'
            "{status} {id}<p class=soft>{description}</p>{hint}</div>",
            amount=money(doc["amount"], "NGN"), status=tag(doc["status"].lower()), id=code(doc["id"]),
            description=doc["description"],
            hint=markup("<p class=warn>Magic amount: {hint}</p>", hint=hint) if hint else EMPTY,
        ),
        markup(
            '<div class="card"><form class=stack method=post action="{path}/pay">{again}'
            "<label>Method<select name=method>{methods}</select></label>"
            '<label>Amount in kobo (empty: all of it)<input name=amount inputmode=numeric></label>'
            "<button class=main>{pay}</button><div>{others}</div></form></div>",
            path=path, again=Html("<input type=hidden name=again value=1>") if is_paid else EMPTY, methods=methods,
            pay="Pay once more" if is_paid else "Pay", others=EMPTY if is_paid else others,
        ),
        narrow=True,
    )  # fmt: skip


routes = [
    Route("/checkout/{reference}", show, methods=["GET"]),
    Route("/checkout/{reference}/{act}", submit, methods=["POST"]),
]
