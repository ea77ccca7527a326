"""Mail: an SMTP server that keeps what it is sent, and the pages and JSON that show it."""

from __future__ import annotations

import asyncio
import email
import email.policy
import time
from email.message import EmailMessage
from typing import Any

from aiosmtpd.smtp import SMTP, Envelope, Session
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from sandbox import faults
from sandbox.box import Box, box_of
from sandbox.pages import EMPTY, Html, button, clock, done, markup, page, table
from sandbox.state import Doc
from sandbox.tokens import new_id

KIND = "mail"
PAGE_LENGTH = 100
LARGEST_MESSAGE = 25 * 1024**2


class Handler:
    """aiosmtpd's hooks. Method names are aiosmtpd's."""

    def __init__(self, box: Box) -> None:
        self.box = box

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        name = address.partition("@")[0].partition("+")[0].lower()
        if name == "bounce":
            return "550 5.1.1 Mailbox unavailable"
        if name == "defer" and self.box.store.get("mail.deferred", address) is None:
            self.box.store.put("mail.deferred", address, {})
            return "451 4.7.1 Try again later"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        fault = faults.take(self.box, "smtp", "DATA", "/")
        if fault is None:
            keep(self.box, envelope)
            return "250 OK"
        if fault["mode"] == "slow":
            await asyncio.sleep(fault["seconds"])
            keep(self.box, envelope)
            return "250 OK"
        if fault["when"] == "after":
            keep(self.box, envelope)
        if fault["mode"] == "hang":
            await self.box.stopping.wait()
        if fault["mode"] in ("hang", "refuse"):
            assert isinstance(server.transport, asyncio.Transport)
            server.transport.abort()
        return f"451 4.3.0 {fault['mode']}"


def server(box: Box) -> SMTP:
    """One connection's protocol, for `loop.create_server`."""
    return SMTP(Handler(box), enable_SMTPUTF8=True, data_size_limit=LARGEST_MESSAGE, hostname="sandbox.example.test")


def keep(box: Box, envelope: Envelope) -> None:
    """Store one copy for each recipient of the envelope, as their mailboxes would."""
    raw = envelope.content or b""
    message = email.message_from_bytes(raw if isinstance(raw, bytes) else raw.encode(), policy=email.policy.default)
    assert isinstance(message, EmailMessage)
    parts = {kind: _part(message, kind) for kind in ("html", "plain")}
    for recipient in envelope.rcpt_tos:
        doc: Doc = {
            "id": new_id("msg_"),
            "from": envelope.mail_from,
            "to": recipient,
            "subject": str(message.get("subject", "")),
            "text": parts["plain"],
            "html": parts["html"],
            "headers": [[name, str(value)] for name, value in message.items()],
            "attachments": [part.get_filename() for part in message.iter_attachments()],
            "received_at": time.time(),
        }
        box.store.put(KIND, doc["id"], doc, parent=recipient.lower())


def _part(message: EmailMessage, kind: str) -> str:
    part = message.get_body((kind,))
    if part is None:
        return ""
    content = part.get_content()
    return content.replace("\r\n", "\n") if isinstance(content, str) else ""


def _shown(doc: Doc) -> Doc:
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(doc["received_at"]))
    return doc | {"received_at": f"{stamp}.{int(doc['received_at'] * 1e6) % 10**6:06d}Z"}


async def messages(request: Request) -> Response:
    """`GET /mail/messages?to=&subject=`: newest first; `subject` matches a part of it, case-blind."""
    box, query = box_of(request), request.query_params
    to = query.get("to")
    found = box.store.find(KIND, parent=to.lower() if to else None)
    wanted = query.get("subject", "").lower()
    return JSONResponse([_shown(doc) for doc in found if wanted in doc["subject"].lower()])


async def home(request: Request) -> Response:
    box = box_of(request)
    rows = (
        [
            markup('<a href="/mail/{id}">{subject}</a>', id=doc["id"], subject=doc["subject"] or "(no subject)"),
            markup('<a href="/mail?to={to}">{to}</a>', to=doc["to"]),
            doc["from"],
            clock(doc["received_at"]),
        ]
        for doc in box.store.find(KIND, parent=(request.query_params.get("to") or "").lower() or None,
                                  limit=PAGE_LENGTH)
    )  # fmt: skip
    settings = box.settings
    return page(
        "Mail",
        markup("<h1>Mail</h1><p class=lead>Received by smtp://{host}:{port}. Nothing leaves this machine. {clear}</p>",
               host=settings.host, port=settings.smtp_port, clear=button("/mail/clear", "Delete all")),
        table(("Subject", "To", "From", "Received"), rows, empty="No mail yet."),
    )  # fmt: skip


async def show(request: Request) -> Response:
    box = box_of(request)
    doc = box.store.get(KIND, request.path_params["id"])
    if doc is None:
        return page("Not found", Html("<h1>There is no such message</h1>"), status=404)
    headers: list[list[Any]] = [[name, value] for name, value in doc["headers"]]
    body = (
        markup('<iframe sandbox="allow-popups allow-popups-to-escape-sandbox" src="/mail/{id}/html"></iframe>',
               id=doc["id"])
        if doc["html"] else EMPTY
    )  # fmt: skip
    return page(
        doc["subject"],
        markup("<h1>{subject}</h1><p class=lead>From {sender} to {to}, {at}</p>", subject=doc["subject"],
               sender=doc["from"], to=doc["to"], at=clock(doc["received_at"])),
        body,
        markup("<h2>Text</h2><div class=card><pre>{text}</pre></div>", text=doc["text"]),
        Html("<h2>Headers</h2>"),
        table(("Name", "Value"), headers),
    )  # fmt: skip


async def show_html(request: Request) -> Response:
    """The message's own HTML: no script runs, and links leave the frame."""
    doc = box_of(request).store.get(KIND, request.path_params["id"])
    return HTMLResponse(
        "<base target=_blank>" + (doc["html"] if doc else ""),
        status_code=200 if doc else 404,
        headers={"Content-Security-Policy": "sandbox allow-popups allow-popups-to-escape-sandbox; script-src 'none'"},
    )


async def clear(request: Request) -> Response:
    box = box_of(request)
    with box.store.transaction():
        for doc in box.store.find(KIND):
            box.store.delete(KIND, doc["id"])
    return done(request, "/mail", {})


routes = [
    Route("/mail", home, methods=["GET"]),
    Route("/mail/messages", messages, methods=["GET"]),
    Route("/mail/clear", clear, methods=["POST"]),
    Route("/mail/{id}", show, methods=["GET"]),
    Route("/mail/{id}/html", show_html, methods=["GET"]),
]
