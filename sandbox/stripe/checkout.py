"""The checkout: Stripe's own page for a session, and for a payment intent what its library shows in the client."""

from __future__ import annotations

from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from sandbox import magic
from sandbox.box import Box, box_of
from sandbox.pages import EMPTY, Html, code, fields, joined, markup, money, page, tag, wants_json
from sandbox.state import Doc
from sandbox.stripe import cards, intents, objects, sessions
from sandbox.stripe.errors import StripeError

ACTS = ("pay", "fail", "abandon", "authenticate", "refuse")


def load(box: Box, id: str) -> Doc | None:
    return objects.find(box, "checkout.session", id) or objects.find(box, "payment_intent", id)


async def act(box: Box, doc: Doc, name: str, form: dict[str, str]) -> Doc:
    """Do what a button says; answer what the real checkout hands to the client: for an intent what the library's
    promise resolves to, for a session where the browser goes.

    `authenticate` and `refuse` answer the 3-D Secure question that some cards ask. Raises: StripeError.
    """
    is_session = doc["object"] == "checkout.session"
    if is_session and doc["status"] != "open":
        raise StripeError("This Checkout Session is no longer open.")
    if name == "abandon":
        return {"url": doc["cancel_url"]} if is_session else {}
    card = cards.read(form.get("card"))
    email = form.get("email", "customer@example.test")
    intent = sessions.intent_of(box, doc, email) if is_session else doc
    if name == "refuse":
        intents.fail_authentication(box, intent)
    if name == "authenticate":
        if intent["status"] != "requires_action":
            raise intents.unexpected(intent, "confirm")
        method = objects.load(box, "payment_method", intent["payment_method"])
        sent = intents.pay(box, intent, cards.CARDS[method["_number"]], method=method, authenticated=True)
    else:
        sent = intents.pay(box, intent, card, refusal=cards.DECLINED if name == "fail" else None)
    if intents.is_first(intent):
        await box.webhooks.settled(sent)
    if is_session and intent["status"] != "requires_action":
        return {"url": doc["success_url"].replace("{CHECKOUT_SESSION_ID}", doc["id"])}
    return {"paymentIntent": objects.public(intent)}


async def submit(request: Request) -> Response:
    box, name = box_of(request), request.path_params["act"]
    form = await fields(request)
    doc = load(box, request.path_params["id"])
    if doc is None or name not in ACTS:
        return page("Not found", Html("<h1>There is nothing to pay here</h1>"), narrow=True, status=404)
    try:
        handed, status = await act(box, doc, name, form), 200
    except StripeError as error:
        handed, status = error.body(), error.status
    if wants_json(request):
        return JSONResponse(handed, status_code=status)
    target = _web_address(handed.get("url"))
    if target:
        return RedirectResponse(target, status_code=303)
    if handed.get("paymentIntent", {}).get("status") == "requires_action":
        return RedirectResponse(f"/stripe/checkout/{doc['id']}", status_code=303)
    return _result_page(doc, handed, status)


async def show(request: Request) -> Response:
    box = box_of(request)
    doc = load(box, request.path_params["id"])
    if doc is None:
        return page("Not found", Html("<h1>There is nothing to pay here</h1>"), narrow=True, status=404)
    if wants_json(request):
        return JSONResponse(objects.public(doc))
    is_session = doc["object"] == "checkout.session"
    intent = objects.find(box, "payment_intent", doc["payment_intent"]) if is_session else doc
    amount = doc["amount_total"] if is_session else doc["amount"]
    is_asking = intent is not None and intent["status"] == "requires_action"
    is_open = doc["status"] == "open" or doc["status"] in intents.OPEN
    body = _question(doc) if is_asking else _form(doc) if is_open else EMPTY
    return page(f"Pay {money(amount, doc['currency'].upper())}", _summary(doc, amount), body, narrow=True)


def _summary(doc: Doc, amount: int) -> Html:
    hint = magic.AMOUNTS.get(amount % 100)
    lines = joined(
        markup("<p class=soft>{quantity} of {what}</p>", quantity=line["quantity"], what=line["description"])
        for line in doc.get("_lines", [])
    )
    return markup(
        '<div class="card"><span class=soft>Stripe checkout, simulated</span><div class=amount>{amount}</div>'
        "{status} {id}{lines}{hint}</div>",
        amount=money(amount, doc["currency"].upper()), status=tag(doc["status"]), id=code(doc["id"]), lines=lines,
        hint=markup("<p class=warn>Magic amount: {hint}</p>", hint=hint) if hint else EMPTY,
    )  # fmt: skip


def _form(doc: Doc) -> Html:
    options = joined(
        markup('<option value="{number}">{shown} · {what}</option>', number=card.number,
               shown=cards.spaced(card.number), what=card.what)
        for card in cards.CARDS.values()
    )  # fmt: skip
    return markup(
        '<div class="card"><form class=stack method=post action="/stripe/checkout/{id}/pay">'
        '<label>E-mail<input name=email value="customer@example.test"></label>'
        "<label>Test card<select name=card>{options}</select></label>"
        "<button class=main>Pay</button><div>{others}</div></form></div>",
        id=doc["id"], options=options, others=_buttons(doc, ("fail", "Fail"), ("abandon", "Abandon")),
    )  # fmt: skip


def _question(doc: Doc) -> Html:
    return markup(
        '<div class="card"><form class=stack method=post action="/stripe/checkout/{id}/authenticate">'
        "<p>3-D Secure: your bank asks whether it is you who pays.</p>"
        "<button class=main>It is me</button><div>{others}</div></form></div>",
        id=doc["id"], others=_buttons(doc, ("refuse", "It is not me")),
    )  # fmt: skip


def _buttons(doc: Doc, *acts: tuple[str, str]) -> Html:
    return joined(
        markup('<button formaction="/stripe/checkout/{id}/{act}">{label}</button> ', id=doc["id"], act=act, label=label)
        for act, label in acts
    )


def _result_page(doc: Doc, handed: Doc, status: int) -> Response:
    """What an intent's client is told; a session's browser goes on by itself."""
    error = handed.get("error")
    reached = handed.get("paymentIntent", {}).get("status", "")
    title = "Payment failed" if error else "Paid" if reached == "succeeded" else "Not paid"
    message = error["message"] if error else "The client's library is told how it ended."
    return page(
        title,
        markup(
            '<div class=card><h1>{title}</h1><p class=soft>{message}</p>'
            '<p><a href="/stripe/checkout/{id}">Back to the checkout</a> · '
            '<a href="/stripe/dashboard">Gateway\'s dashboard</a></p></div>',
            title=title, message=message, id=doc["id"],
        ),
        narrow=True, status=status,
    )  # fmt: skip


def _web_address(url: str | None) -> str | None:
    return url if url and urlsplit(url).scheme in ("http", "https") else None


routes = [
    Route("/checkout/{id}", show, methods=["GET"]),
    Route("/checkout/{id}/{act}", submit, methods=["POST"]),
]
