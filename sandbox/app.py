"""The ASGI application: every simulated provider under its own path."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import Mount

from sandbox import control, front, mail
from sandbox.box import Box
from sandbox.faults import Faults
from sandbox.kie import api as kie_api
from sandbox.kie import dashboard as kie_dashboard
from sandbox.kie import tasks
from sandbox.livekit import api as livekit_api
from sandbox.magic_hour import api as magic_hour_api
from sandbox.magic_hour import dashboard as magic_hour_dashboard
from sandbox.magic_hour import projects
from sandbox.monnify import api as monnify_api
from sandbox.monnify import checkout as monnify_checkout
from sandbox.monnify import dashboard as monnify_dashboard
from sandbox.monnify import refunds as monnify_refunds
from sandbox.monnify import transactions
from sandbox.razorpay import api as razorpay_api
from sandbox.razorpay import checkout, payments, refunds
from sandbox.razorpay import dashboard as razorpay_dashboard
from sandbox.stripe import api as stripe_api
from sandbox.stripe import checkout as stripe_checkout
from sandbox.stripe import dashboard as stripe_dashboard
from sandbox.stripe import intents, sessions, subscriptions
from sandbox.stripe import refunds as stripe_refunds
from sandbox.xai import api as xai_api
from sandbox.xai import dashboard as xai_dashboard
from sandbox.xai import videos


def build(box: Box) -> Starlette:
    for module in (
        *(payments, refunds, intents, sessions, stripe_refunds, subscriptions),
        *(transactions, monnify_refunds, projects, tasks, videos),
    ):
        module.register(box)
    app = Starlette(
        routes=[
            *front.routes,
            *mail.routes,
            Mount("/control", routes=control.routes),
            Mount("/razorpay/v1", routes=razorpay_api.routes),
            Mount("/razorpay", routes=[*checkout.routes, *razorpay_dashboard.routes]),
            Mount("/stripe/v1", routes=stripe_api.routes),
            Mount("/stripe", routes=[*stripe_checkout.routes, *stripe_dashboard.routes]),
            Mount("/monnify/api", routes=monnify_api.routes),
            Mount("/monnify", routes=[*monnify_checkout.routes, *monnify_dashboard.routes]),
            Mount("/kie", routes=[*kie_api.routes, *kie_dashboard.routes]),
            Mount("/xai", routes=[*xai_api.routes, *xai_dashboard.routes]),
            Mount("/livekit", routes=livekit_api.routes),
            Mount("/magic-hour", routes=[*magic_hour_api.routes, *magic_hour_dashboard.routes]),
        ],
        middleware=[Middleware(Faults, box=box)],
    )
    app.state.box = box
    return app
