"""HTML of the sandbox's pages: one frame, one style, everything escaped unless it is `Html`."""

from __future__ import annotations

import html
import json
import time
from collections.abc import Iterable, Mapping
from typing import Any

from starlette.datastructures import UploadFile
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response

STYLE = """
:root { color-scheme: light dark; --ink:#1c2333; --soft:#5c667d; --line:#dfe3ec; --paper:#fff; --ground:#f4f6fb;
  --accent:#3056d3; --good:#117a48; --bad:#b3261e; --warn:#8a5a00; }
@media (prefers-color-scheme: dark) { :root { --ink:#e6e9f2; --soft:#9aa4bd; --line:#2e3547; --paper:#1a1f2c;
  --ground:#12151e; --accent:#8ea6ff; --good:#5fd19b; --bad:#ff8a80; --warn:#f0c36d; } }
* { box-sizing:border-box } body { margin:0; background:var(--ground); color:var(--ink);
  font:15px/1.5 system-ui, -apple-system, "Segoe UI", sans-serif }
header { background:var(--paper); border-bottom:1px solid var(--line); padding:.8rem 1.5rem; display:flex; gap:1.4rem;
  align-items:center; flex-wrap:wrap } header b { letter-spacing:.02em } header a { text-decoration:none }
main { max-width:64rem; margin:1.6rem auto; padding:0 1.2rem } main.narrow { max-width:27rem }
a { color:var(--accent) } h1 { font-size:1.45rem; margin:0 0 .3rem } h2 { font-size:1.05rem; margin:1.8rem 0 .5rem }
p.lead { color:var(--soft); margin:.2rem 0 1.2rem } .card { background:var(--paper); border:1px solid var(--line);
  border-radius:12px; padding:1.1rem 1.3rem; margin:0 0 1rem; overflow-x:auto }
table { border-collapse:collapse; width:100%; font-size:.92rem } th { text-align:left; color:var(--soft);
  font-weight:600 } th, td { padding:.4rem .7rem .4rem 0; border-bottom:1px solid var(--line); vertical-align:top }
tr:last-child td { border-bottom:0 } code, pre { font:13px/1.45 ui-monospace, "SF Mono", Menlo, monospace }
pre { white-space:pre-wrap; overflow-wrap:anywhere; margin:0 } code { white-space:nowrap }
form { display:inline-flex; gap:.4rem; margin:.15rem .3rem .15rem 0; flex-wrap:wrap }
form.stack { display:grid; gap:.7rem }
input, select { font:inherit; color:inherit; background:var(--ground); border:1px solid var(--line); border-radius:8px;
  padding:.35rem .6rem; max-width:100% } label { display:grid; gap:.2rem; color:var(--soft); font-size:.88rem }
label input, label select { color:var(--ink) } button { font:inherit; border:1px solid var(--line); border-radius:8px;
  background:var(--ground); color:var(--ink); padding:.35rem .8rem; cursor:pointer }
button.main { background:var(--accent); border-color:var(--accent); color:var(--paper); padding:.6rem 1rem;
  font-weight:600 } button:hover { filter:brightness(.96) } .tag { border-radius:99px; padding:.05rem .6rem;
  font-size:.82rem; border:1px solid currentColor; white-space:nowrap } .good { color:var(--good) } .bad {
  color:var(--bad) } .warn { color:var(--warn) } .soft { color:var(--soft) } .amount { font-size:1.9rem;
  font-weight:650; margin:.2rem 0 } iframe { width:100%; height:60vh; border:1px solid var(--line);
  border-radius:8px; background:#fff }
"""

TONES = {
    "good": {
        "paid",
        "captured",
        "processed",
        "won",
        "complete",
        "delivered",
        "closed",
        "succeeded",
        "active",
        "overpaid",
        "completed",
        "success",
        "done",
    },
    "bad": {"failed", "reversed", "cancelled", "expired", "lost", "error", "given_up", "dropped", "canceled", "fail"},
    "warn": {
        "attempted",
        "partially_paid",
        "authorized",
        "pending",
        "open",
        "under_review",
        "queued",
        "rendering",
        "refunded",
        "draft",
        "wait",
        "queueing",
        "generating",
    },
}
PLACES = (
    ("/razorpay/dashboard", "Razorpay"),
    ("/stripe/dashboard", "Stripe"),
    ("/monnify/dashboard", "Monnify"),
    ("/magic-hour/dashboard", "Magic Hour"),
    ("/kie/dashboard", "KIE"),
    ("/xai/dashboard", "xAI"),
    ("/mail", "Mail"),
    ("/deliveries", "Webhooks"),
)


class Html(str):
    """Text that is markup already."""

    __slots__ = ()


EMPTY = Html("")


def show(value: Any) -> str:
    return value if isinstance(value, Html) else html.escape("—" if value in (None, "") else str(value))


def markup(template: str, **values: Any) -> Html:
    """Fill `{name}` places, escaping each value."""
    return Html(template.format(**{name: show(value) for name, value in values.items()}))


def joined(parts: Iterable[str]) -> Html:
    return Html("".join(parts))


def page(title: str, *content: str, narrow: bool = False, status: int = 200) -> HTMLResponse:
    places = joined(markup('<a href="{href}">{name}</a>', href=href, name=name) for href, name in PLACES)
    return HTMLResponse(
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>"
        f"<title>{html.escape(title)} · Sandbox</title><style>{STYLE}</style>"
        f"<header><a href='/'><b>Sandbox</b></a>{places}</header>"
        f"<main{' class=narrow' if narrow else ''}>{''.join(content)}</main></html>",
        status_code=status,
    )


def table(head: Iterable[str], rows: Iterable[Iterable[Any]], *, empty: str = "Nothing yet.") -> Html:
    body = ["<tr>" + "".join(f"<td>{show(cell)}</td>" for cell in row) + "</tr>" for row in rows]
    if not body:
        return markup('<div class="card soft">{empty}</div>', empty=empty)
    titles = "".join(f"<th>{html.escape(title)}</th>" for title in head)
    return Html(f'<div class="card"><table><tr>{titles}</tr>{"".join(body)}</table></div>')


def tag(status: str) -> Html:
    tone = next((tone for tone, words in TONES.items() if status in words), "soft")
    return markup('<span class="tag {tone}">{status}</span>', tone=tone, status=status.replace("_", " "))


def code(text: Any) -> Html:
    return markup("<code>{text}</code>", text=text)


def pretty(value: Any) -> Html:
    return markup('<div class="card"><pre>{text}</pre></div>', text=json.dumps(value, indent=2, ensure_ascii=False))


def button(action: str, label: str, fields: Html = EMPTY, **hidden: str) -> Html:
    """A form with one button; every act of a page is a POST."""
    inputs = joined(markup('<input type=hidden name="{n}" value="{v}">', n=n, v=v) for n, v in hidden.items())
    return markup(
        '<form method=post action="{action}">{fields}{inputs}<button>{label}</button></form>',
        action=action, fields=fields, inputs=inputs, label=label,
    )  # fmt: skip


def money(amount: int, currency: str) -> str:
    """Units: minor units, two decimals but for the yen."""
    return f"{amount:,} {currency}" if currency == "JPY" else f"{amount / 100:,.2f} {currency}"


def clock(seconds: float) -> str:
    return time.strftime("%d %b %H:%M:%S", time.localtime(seconds))


def wants_json(request: Request) -> bool:
    return "application/json" in request.headers.get("accept", "")


async def fields(request: Request) -> dict[str, str]:
    """The fields of a page's POST, whether sent as a form, as JSON or in the query."""
    values: dict[str, Any] = dict(request.query_params)
    if request.headers.get("content-type", "").startswith("application/json"):
        try:
            body = json.loads(await request.body() or b"{}")
        except ValueError:
            body = {}
        values |= body if isinstance(body, Mapping) else {}
    else:
        values |= {key: value for key, value in (await request.form()).items() if not isinstance(value, UploadFile)}
    return {key: str(value).strip() for key, value in values.items() if value not in (None, "")}


def done(request: Request, back: str, result: Any) -> Response:
    """Answer an act: its result as JSON to a program, back to the page for a person."""
    return JSONResponse(result) if wants_json(request) else RedirectResponse(back, status_code=303)
