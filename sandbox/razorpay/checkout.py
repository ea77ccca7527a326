"""The hosted checkout: what the customer sees, and what it hands to the client afterwards."""

from __future__ import annotations

import hashlib
import hmac
from urllib.parse import urlencode, urlsplit

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from sandbox import magic
from sandbox.box import Box, box_of
from sandbox.pages import EMPTY, Html, code, fields, joined, markup, money, page, tag, wants_json
from sandbox.razorpay import cards, entities, payments
from sandbox.razorpay.errors import RazorpayError
from sandbox.state import Doc

CARRIED = ("callback_url", "cancel_url")  # where the browser goes afterwards, from page to page
ACTS = ("pay", "authorize", "late", "fail", "abandon")


def signature(key_secret: str, order_id: str, payment_id: str) -> str:
    """Source: the vendor's checkout page: HMAC-SHA256 by the API key secret, not the webhook secret."""
    return hmac.new(key_secret.encode(), f"{order_id}|{payment_id}".encode(), hashlib.sha256).hexdigest()


async def act(box: Box, order: Doc, name: str, form: dict[str, str]) -> Doc:
    """Do what a button says; answer what the real checkout hands to the client's code: the three `razorpay_*` values
    after success, an error after a failed attempt, nothing when the customer left or the bank is not done yet.

    `authorize` leaves the money uncaptured; `late` fails now and is authorised later; `again` pays a paid order twice.
    """
    if name == "abandon":
        return {}
    if order["status"] == "paid" and not form.get("again"):
        raise RazorpayError("Payment already done for this order.", reason="order_already_paid")
    instrument = cards.read(form)
    digits = order["amount"] % 100
    payment = payments.attempt(
        box, order, instrument,
        email=form.get("email", "customer@example.test"), contact=form.get("contact", "+919000090000"),
    )  # fmt: skip
    refusal = instrument.refusal
    if not refusal and (name in ("fail", "late") or digits == payments.MAGIC_DECLINED):
        refusal = cards.DECLINED
    if refusal:
        sent = payments.fail(box, payment, refusal)
        if name == "late":
            box.agenda.after(box.tuned("pending_s"), "razorpay.complete", payment["id"])
    elif name == "authorize":
        sent = payments.authorize(box, payment)
    elif digits == payments.MAGIC_PENDING:
        box.agenda.after(box.tuned("pending_s"), "razorpay.complete", payment["id"])
        return {}
    else:
        sent = payments.complete(box, payment)
    if magic.sending(order["amount"]).is_first:
        await box.webhooks.settled(sent)
    if refusal:
        raise _attempt_failed(payment)
    return {
        "razorpay_payment_id": payment["id"],
        "razorpay_order_id": order["id"],
        "razorpay_signature": signature(box.settings.razorpay_key_secret, order["id"], payment["id"]),
    }


def _attempt_failed(payment: Doc) -> RazorpayError:
    return RazorpayError(
        payment["error_description"],
        reason=payment["error_reason"],
        source=payment["error_source"],
        step=payment["error_step"],
        metadata={"order_id": payment["order_id"], "payment_id": payment["id"]},
        status=200,
    )


async def submit(request: Request) -> Response:
    box, name = box_of(request), request.path_params["act"]
    form = await fields(request)
    order = box.store.get(entities.KINDS["order"], request.path_params["id"])
    if order is None or name not in ACTS:
        return page("Not found", Html("<h1>There is no such order</h1>"), narrow=True, status=404)
    try:
        handed = await act(box, order, name, form)
        status = 200
    except RazorpayError as error:
        handed, status = error.body(), error.status
    if wants_json(request):
        return JSONResponse(handed, status_code=status)
    return _result_page(order, handed, form, status)


async def show(request: Request) -> Response:
    box = box_of(request)
    order = box.store.get(entities.KINDS["order"], request.path_params["id"])
    if order is None:
        return page("Not found", Html("<h1>There is no such order</h1>"), narrow=True, status=404)
    if wants_json(request):
        return JSONResponse(entities.public(order))
    carried = joined(
        markup('<input type=hidden name="{name}" value="{value}">', name=name, value=request.query_params[name])
        for name in CARRIED
        if name in request.query_params
    )
    return page(f"Pay {money(order['amount'], order['currency'])}", _summary(order), _form(order, carried), narrow=True)


def _summary(order: Doc) -> Html:
    hint = magic.AMOUNTS.get(order["amount"] % 100)
    return markup(
        '<div class="card"><span class=soft>Razorpay checkout, simulated</span><div class=amount>{amount}</div>'
        "{status} {id}<p class=soft>Receipt {receipt}</p>{hint}</div>",
        amount=money(order["amount"], order["currency"]), status=tag(order["status"]), id=code(order["id"]),
        receipt=order["receipt"], hint=markup("<p class=warn>Magic amount: {hint}</p>", hint=hint) if hint else EMPTY,
    )  # fmt: skip


def _form(order: Doc, carried: Html) -> Html:
    test_cards = [*cards.GOOD.items(), *((number, reason) for number, (reason, _) in cards.BAD.items())]
    options = joined(
        markup(
            '<option value="{number}">{shown} · {what}</option>', number=number, shown=cards.spaced(number), what=what
        )
        for number, what in test_cards
    )
    is_paid = order["status"] == "paid"
    return markup(
        '<div class="card"><form class=stack method=post action="/razorpay/checkout/{id}/pay">{carried}{again}'
        "<label>Method<select name=method><option value=card>Card</option><option value=upi>UPI</option>"
        "<option value=netbanking>Net banking</option><option value=wallet>Wallet</option></select></label>"
        "<label>Test card<select name=card>{options}</select></label>"
        '<label>One-time password (4 to 10 digits pay, fewer fail)<input name=otp value="754081"></label>'
        '<label>UPI address<input name=vpa value="success@razorpay" list=vpas></label>'
        "<datalist id=vpas><option>success@razorpay<option>failure@razorpay</datalist>"
        "<button class=main>{pay}</button><div>{others}</div></form></div>",
        id=order["id"], carried=carried, options=options, pay="Pay a second time" if is_paid else "Pay",
        again=Html("<input type=hidden name=again value=1>") if is_paid else EMPTY,
        others=joined(
            markup('<button formaction="/razorpay/checkout/{id}/{act}">{label}</button> ', id=order["id"], act=act,
                   label=label)
            for act, label in (("fail", "Fail"), ("abandon", "Abandon"), ("authorize", "Authorise only"),
                               ("late", "Fail, authorise later"))
        ),
    )  # fmt: skip


def _result_page(order: Doc, handed: Doc, form: dict[str, str], status: int) -> Response:
    """What the browser does next: the real checkout posts its values to `callback_url`, or goes to `cancel_url`."""
    callback = _web_address(form.get("callback_url"))
    cancel = _web_address(form.get("cancel_url"))
    if "razorpay_payment_id" in handed:
        title, target, method = "Paid", callback, "post"
    elif "error" in handed:
        title, target, method = "Payment failed", None, "get"
    else:
        title, target, method = "Not paid", cancel, "get"
    values = {name: str(value) for name, value in handed.items() if name.startswith("razorpay_")}
    onward = EMPTY
    if target:
        hidden = joined(markup('<input type=hidden name="{n}" value="{v}">', n=n, v=v) for n, v in values.items())
        onward = markup(
            '<form method={method} action="{target}" id=onward>{hidden}<button class=main>Continue to the shop</button>'
            "</form><script>document.getElementById('onward').submit()</script>",
            method=method, target=target, hidden=hidden,
        )  # fmt: skip
    rows = joined(markup("<p><span class=soft>{n}</span><br>{v}</p>", n=n, v=code(v)) for n, v in values.items())
    message = handed.get("error", {}).get("description") or (
        "" if values else "Nothing is handed to the client; the bank may still say yes later."
    )
    return page(
        title,
        markup(
            '<div class=card><h1>{title}</h1><p class=soft>{message}</p>{rows}{onward}'
            '<p><a href="/razorpay/checkout/{id}?{carried}">Back to the checkout</a> · '
            '<a href="/razorpay/dashboard">Gateway\'s dashboard</a></p></div>',
            title=title, message=message if message else EMPTY, rows=rows, onward=onward, id=order["id"],
            carried=urlencode({name: form[name] for name in CARRIED if name in form}),
        ),
        narrow=True, status=status,
    )  # fmt: skip


def _web_address(url: str | None) -> str | None:
    return url if url and urlsplit(url).scheme in ("http", "https") else None


routes = [
    Route("/checkout/{id}", show, methods=["GET"]),
    Route("/checkout/{id}/{act}", submit, methods=["POST"]),
]
