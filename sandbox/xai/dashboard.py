"""The vendor's console, as far as it matters: what was made, what was said, what is left of the balance."""

from __future__ import annotations

import json

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sandbox.box import Box, box_of
from sandbox.pages import EMPTY, Html, clock, code, markup, page, table, tag
from sandbox.state import Doc
from sandbox.xai import account, chat, images, videos

PAGE_LENGTH = 50


async def home(request: Request) -> Response:
    box = box_of(request)
    store = box.store
    return page(
        "xAI",
        markup("<h1>xAI</h1><p class=lead>{pictures} pictures · {films} films · {left} USD left.</p>",
               pictures=store.count(images.KIND), films=store.count(videos.KIND), left=_usd(account.balance(box))),
        Html("<h2>Films</h2>"),
        table(("Film", "Request", "State", "Prompt", "Length", "Cost", "Made"),
              (_film(box, doc) for doc in store.find(videos.KIND, limit=PAGE_LENGTH))),
        Html("<h2>Pictures</h2>"),
        table(("Picture", "Prompt", "Made"),
              (_picture(box, doc) for doc in store.find(images.KIND, limit=PAGE_LENGTH))),
        Html("<h2>Chat</h2>"),
        table(("Said", "Answered", "Cost", "Made"), (_chat(doc) for doc in store.find(chat.KIND, limit=PAGE_LENGTH))),
    )  # fmt: skip


def _usd(ticks: int) -> str:
    return f"{ticks / account.USD:,.4f}"


def _film(box: Box, doc: Doc) -> list[object]:
    length = sum(scene["seconds"] for scene in doc["scenes"])
    is_there = (box.folder("outputs") / f"{doc['id']}.mp4").exists()
    shown = markup('<video src="{url}" width=128 controls preload=none></video>', url=videos.link(box, doc))
    return [
        shown if is_there else EMPTY,
        markup("{id}<br><span class=soft>{verb}</span>", id=code(doc["id"]), verb=doc["verb"]),
        tag(doc["status"]), doc["prompt"], f"{length} s", _usd(doc["cost"]), clock(doc["created_at"]),
    ]  # fmt: skip


def _picture(box: Box, doc: Doc) -> list[object]:
    url = images.link(box, doc)
    shown = markup('<a href="{url}"><img src="{url}" alt="" width=64 loading=lazy></a>', url=url)
    return [shown, doc["prompt"], clock(doc["created_at"])]


def _chat(doc: Doc) -> list[object]:
    answer = doc["answer"]
    message = answer["choices"][0]["message"]
    return [
        doc["said"],
        code(json.dumps(message["content"] or message["refusal"], ensure_ascii=False)),
        _usd(answer["usage"]["cost_in_usd_ticks"]),
        clock(doc["created_at"]),
    ]


routes = [Route("/dashboard", home, methods=["GET"])]
