"""Our own checkout page, for gateways whose checkout is only a script, and the way back to the client's application.

The link is signed: whoever holds it may pay this payment, nothing else.
"""

from __future__ import annotations

import structlog
from django.http import HttpRequest, HttpResponse, HttpResponseNotFound, HttpResponseRedirect
from django.shortcuts import render
from django.urls import path
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_http_methods, require_safe

from billing import checkouts, payments
from billing.models import Payment
from core import csp, ratelimit
from core.errors import Error
from core.money import display

log = structlog.get_logger("payments")

CHECKOUT_ORIGINS = "https://*.razorpay.com"
HANDED = ("razorpay_order_id", "razorpay_payment_id", "razorpay_signature")


@never_cache
@require_safe
def pay(request: HttpRequest, signed: str) -> HttpResponse:
    """Show the checkout of an open payment, or how it has ended."""
    payment = checkouts.payment_at(signed)
    if payment is None:
        return HttpResponseNotFound("This payment link is not valid (any more).", content_type="text/plain")
    begun = checkouts.start_of(payment)
    if begun is not None and begun.url:
        return HttpResponseRedirect(begun.url)
    client = checkouts.client_of(payment)
    if client is None or payment.gateway != "razorpay":
        return _ended(request, payment)
    shown = {
        "title": payment.title,
        "amount": display(payment.amount, payment.currency),
        "options": {
            "key": client["key_id"],
            "order_id": client["order_id"],
            "amount": client["amount"],
            "currency": client["currency"],
            "description": payment.title,
            "callback_url": checkouts.done_url(payment.pk),
            "redirect": True,
        },
        "leave_url": checkouts.return_url_of(payment),
    }
    response = render(request, "site/pay.html", shown)
    response[csp.HEADER] = csp.checkout(CHECKOUT_ORIGINS)
    response["Cross-Origin-Opener-Policy"] = "same-origin-allow-popups"  # banks answer the checkout from a window
    return response


@csrf_exempt  # Razorpay's checkout posts the browser here; what it carries is signed by Razorpay
@never_cache
@require_http_methods(["GET", "POST"])
def done(request: HttpRequest, signed: str) -> HttpResponse:
    """Take the browser back from the checkout: look at the payment, then go where the client wanted.

    Whatever the look says, the browser goes on: the client asks for the payment, and the poller looks again.
    """
    payment = checkouts.payment_at(signed)
    if payment is None:
        return HttpResponseNotFound("This payment link is not valid (any more).", content_type="text/plain")
    handed = {name: request.POST[name][:128] for name in HANDED if name in request.POST}
    try:
        # Nobody has signed in here, and each look is calls to the gateway that somebody's own payments need.
        ratelimit.check(request, "returns", str(payment.pk))
        payments.verify(payment, handed if len(handed) == len(HANDED) else None)
    except Error as error:
        log.warning("return_not_verified", payment=str(payment.pk), error=error.code)
    return _ended(request, checkouts.payment(payment.pk))


def _ended(request: HttpRequest, payment: Payment) -> HttpResponse:
    back = checkouts.return_url_of(payment)
    if back:
        return HttpResponseRedirect(back, status=303)
    shown = {"payment": payment, "amount": display(payment.amount, payment.currency)}
    return render(request, "site/paid.html", shown)


urlpatterns = [
    path("pay/<str:signed>", pay, name="pay"),
    path("pay/<str:signed>/done", done, name="pay-done"),
]
