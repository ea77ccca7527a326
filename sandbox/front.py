"""The front page, the log of webhooks, and `/health`."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from sandbox import faults, magic, webhooks
from sandbox.box import box_of
from sandbox.pages import Html, button, clock, code, done, joined, markup, page, pretty, table, tag
from sandbox.razorpay import cards
from sandbox.stripe import cards as stripe_cards

PAGE_LENGTH = 100
CONTROL = (
    ('POST /control/webhooks {"deliver": false}', "drop every webhook from now on; with `provider`, that one's"),
    ("GET /control/deliveries", "every webhook with its attempts; ?provider= event= subject= state="),
    ('POST /control/deliveries/<id>/resend {"times": 50}', "the same bytes again, all at once"),
    (
        'POST /control/faults {"provider", "mode", "count"}',
        ", ".join(faults.MODES),
    ),
    ("GET, DELETE /control/faults", "the faults still waiting; forget them"),
    ("GET /control/requests", "the calls that reached the providers; ?provider= method= path="),
    ('POST /control/advance {"seconds": 30}', "move the sandbox's clock"),
    (
        'POST /control/settings {"speed_s": 0.1}',
        "speed_s, slow_s, late_s, pending_s, magic_hour_credits, kie_credits, xai_usd",
    ),
    ("POST /control/reset", "forget everything"),
    ("GET /mail/messages?to=", "mails as JSON, newest first"),
)


async def home(request: Request) -> Response:
    settings = box_of(request).settings
    origin = f"{request.url.scheme}://{request.url.netloc}"
    addresses = (
        ("RAZORPAY_BASE_URL", f"{origin}/razorpay", settings.razorpay_key_id),
        ("STRIPE_BASE_URL", f"{origin}/stripe", "STRIPE_SECRET_KEY"),
        ("MONNIFY_BASE_URL", f"{origin}/monnify", settings.monnify_api_key),
        ("MAGIC_HOUR_BASE_URL", f"{origin}/magic-hour", "MAGIC_HOUR_API_KEY"),
        ("KIE_BASE_URL", f"{origin}/kie", "KIE_API_KEY"),
        ("XAI_BASE_URL", f"{origin}/xai", "XAI_API_KEY"),
        ("LIVEKIT_BASE_URL", f"{origin}/livekit", settings.livekit_api_key),
        ("EMAIL_URL", f"smtp://{settings.host}:{settings.smtp_port}", "no password"),
        *((f"webhooks of {name}", settings.public_url + end.path, "") for name, end in webhooks.ENDPOINTS.items()),
    )
    test_cards = [
        *((cards.spaced(number), f"{name}, pays") for number, name in cards.GOOD.items()),
        *((cards.spaced(number), reason.replace("_", " ")) for number, (reason, _) in cards.BAD.items()),
        *((f"Stripe {cards.spaced(card.number)}", card.what) for card in stripe_cards.CARDS.values()),
        ("success@razorpay", "UPI, pays"),
        ("failure@razorpay", "UPI, fails"),
        ("754081", "one-time password: 4 to 10 digits pay, fewer fail"),
    ]
    return page(
        "Sandbox",
        Html("<h1>Sandbox</h1><p class=lead>The outside world, simulated on this machine: payment gateways, "
             "providers of pictures and films, and a mail server. No money moves and nothing leaves.</p>"),
        table(("Setting", "Address", "Key"), ((code(n), code(a), k) for n, a, k in addresses)),
        Html("<h2>Magic words, in a prompt or a name</h2>"),
        table(("Text", "What happens"), ((code(word), what) for word, what in magic.TEXTS.items())),
        Html("<h2>Magic amounts, by the last two digits of the minor units</h2>"),
        table(("Ends in", "What happens"), ((code(f"…{digits:02d}"), what) for digits, what in magic.AMOUNTS.items())),
        Html("<h2>Test cards</h2>"),
        table(("Enter", "What happens"), ((code(number), what) for number, what in test_cards)),
        Html("<h2>Mailboxes</h2>"),
        table(("Send to", "What happens"), ((code(address), what) for address, what in magic.MAIL.items())),
        Html("<h2>For tests</h2>"),
        table(("Call", "What it does"), ((code(call), what) for call, what in CONTROL)),
    )  # fmt: skip


async def deliveries(request: Request) -> Response:
    rows = (
        [
            markup('<a href="/deliveries/{id}">{event}</a>', id=doc["id"], event=doc["event"]),
            code(doc["subject"]), tag(doc["state"]), len(doc["attempts"]), clock(doc["created_at"]),
            button(f"/deliveries/{doc['id']}/resend", "Send again"),
        ]
        for doc in box_of(request).store.find("delivery", limit=PAGE_LENGTH)
    )  # fmt: skip
    return page(
        "Webhooks",
        Html("<h1>Webhooks</h1><p class=lead>Every event that was signed and sent, with what became of it.</p>"),
        table(("Event", "About", "State", "Attempts", "Made", ""), rows),
    )


async def delivery(request: Request) -> Response:
    doc = box_of(request).store.get("delivery", request.path_params["id"])
    if doc is None:
        return page("Not found", Html("<h1>There is no such webhook</h1>"), status=404)
    attempts = (
        (
            clock(attempt["at"]),
            attempt["status"] or attempt["error"],
            joined(markup("{name}: {value}<br>", name=n, value=v) for n, v in attempt["headers"].items()),
        )
        for attempt in doc["attempts"]
    )
    return page(
        doc["event"],
        markup("<h1>{event}</h1><p class=lead>to {url}</p>", event=doc["event"], url=doc["url"]),
        table(("At", "Answer", "Headers"), attempts, empty="Not sent."),
        pretty(doc["body"]),
    )


async def resend(request: Request) -> Response:
    box = box_of(request)
    doc = box.store.get("delivery", request.path_params["id"])
    return done(request, "/deliveries", {"deliveries": box.webhooks.resend(doc) if doc else []})


async def health(request: Request) -> Response:
    return JSONResponse({"status": "ok", "smtp_port": box_of(request).settings.smtp_port})


routes = [
    Route("/", home, methods=["GET"]),
    Route("/health", health, methods=["GET"]),
    Route("/deliveries", deliveries, methods=["GET"]),
    Route("/deliveries/{id}", delivery, methods=["GET"]),
    Route("/deliveries/{id}/resend", resend, methods=["POST"]),
]
