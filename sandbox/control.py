"""`/control`: what tests turn and read. Bodies and answers are JSON."""

from __future__ import annotations

import json
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from sandbox import faults, webhooks
from sandbox.box import TUNABLE, box_of
from sandbox.kie import tasks
from sandbox.magic_hour import projects
from sandbox.xai import account

BALANCES = ("magic_hour_credits", "kie_credits", "xai_usd")


async def body_of(request: Request) -> dict[str, Any]:
    body = json.loads(await request.body() or b"{}")
    if not isinstance(body, dict):
        raise ValueError("the body must be an object")
    return body


def refused(error: Exception) -> Response:
    return JSONResponse({"error": str(error)}, status_code=400)


async def reset(request: Request) -> Response:
    """Forget everything, as on the first start."""
    await box_of(request).reset()
    return JSONResponse({})


async def switch_webhooks(request: Request) -> Response:
    """`{"deliver": false, "provider"?}`: from now on webhooks are dropped, as if lost on the way."""
    box = box_of(request)
    try:
        body = await body_of(request)
        if not isinstance(body.get("deliver"), bool):
            raise ValueError("deliver must be true or false")
        if body.get("provider") not in (None, *webhooks.ENDPOINTS):
            raise ValueError(f"provider must be one of {', '.join(webhooks.ENDPOINTS)}")
    except ValueError as error:
        return refused(error)
    box.webhooks.deliver(body["deliver"], body.get("provider"))
    return JSONResponse({name: box.webhooks.is_delivering(name) for name in webhooks.ENDPOINTS})


async def deliveries(request: Request) -> Response:
    """The log, newest first; `?provider=&event=&subject=&state=` narrow it."""
    query = request.query_params
    found = box_of(request).store.find("delivery", parent=query.get("subject"))
    wanted = {name: query[name] for name in ("provider", "event", "state") if name in query}
    return JSONResponse([doc for doc in found if all(doc[name] == value for name, value in wanted.items())])


async def resend(request: Request) -> Response:
    """`{"times": 50}`: post a logged webhook again, byte for byte, all at once."""
    box = box_of(request)
    delivery = box.store.get("delivery", request.path_params["id"])
    if delivery is None:
        return JSONResponse({"error": "there is no such delivery"}, status_code=404)
    try:
        times = (await body_of(request)).get("times", 1)
        if not isinstance(times, int) or not 1 <= times <= 1000:
            raise ValueError("times must be from 1 to 1000")
    except ValueError as error:
        return refused(error)
    return JSONResponse({"deliveries": box.webhooks.resend(delivery, times)})


async def add_fault(request: Request) -> Response:
    """`{"provider", "mode", "count"?: 1 | null, "seconds"?: 5, "path"?, "method"?, "when"?: "before"|"after"}`."""
    try:
        return JSONResponse(faults.add(box_of(request), await body_of(request)))
    except ValueError as error:
        return refused(error)


async def list_faults(request: Request) -> Response:
    return JSONResponse(box_of(request).store.find("fault", newest_first=False))


async def clear_faults(request: Request) -> Response:
    box = box_of(request)
    for fault in box.store.find("fault"):
        box.store.delete("fault", fault["id"])
    return JSONResponse([])


async def requests(request: Request) -> Response:
    """The calls that reached the providers, newest first; `?provider=&method=&path=` (a part of it) narrow them."""
    query = request.query_params
    found = [
        record
        for record in reversed(box_of(request).requests)
        if record["provider"] == query.get("provider", record["provider"])
        and record["method"] == query.get("method", record["method"]).upper()
        and query.get("path", "") in record["path"]
    ]
    return JSONResponse(found)


async def advance(request: Request) -> Response:
    """`{"seconds": 30}`: move the sandbox's clock on; what falls due happens now, links expire."""
    box = box_of(request)
    try:
        seconds = (await body_of(request)).get("seconds")
        if not isinstance(seconds, int | float) or not 0 <= seconds <= 10**9:
            raise ValueError("seconds must be a number that is not negative")
    except ValueError as error:
        return refused(error)
    box.agenda.advance(seconds)
    return JSONResponse({"offset_s": box.agenda.offset_s})


async def settings(request: Request) -> Response:
    """`{"speed_s"?, "slow_s"?, "late_s"?, "pending_s"?}` and the balances left at providers, until the reset."""
    box = box_of(request)
    try:
        body = await body_of(request)
        for name, value in body.items():
            if name not in (*TUNABLE, *BALANCES):
                raise ValueError(f"unknown: {name}")
            if not isinstance(value, int | float) or isinstance(value, bool) or value < 0:
                raise ValueError(f"{name} must be a number that is not negative")
    except ValueError as error:
        return refused(error)
    if "magic_hour_credits" in body:
        projects.set_credits(box, int(body.pop("magic_hour_credits")))
    if "kie_credits" in body:
        tasks.set_credits(box, body.pop("kie_credits"))
    if "xai_usd" in body:
        account.set_balance(box, round(body.pop("xai_usd") * account.USD))
    box.tune(body)
    left = {
        "magic_hour_credits": projects.credits(box),
        "kie_credits": tasks.credits(box),
        "xai_usd": account.balance(box) / account.USD,
    }
    return JSONResponse({name: box.tuned(name) for name in TUNABLE} | left)


routes = [
    Route("/reset", reset, methods=["POST"]),
    Route("/webhooks", switch_webhooks, methods=["POST"]),
    Route("/deliveries", deliveries, methods=["GET"]),
    Route("/deliveries/{id}/resend", resend, methods=["POST"]),
    Route("/faults", add_fault, methods=["POST"]),
    Route("/faults", list_faults, methods=["GET"]),
    Route("/faults", clear_faults, methods=["DELETE"]),
    Route("/requests", requests, methods=["GET"]),
    Route("/advance", advance, methods=["POST"]),
    Route("/settings", settings, methods=["POST"]),
]
