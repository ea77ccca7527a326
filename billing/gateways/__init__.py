"""Where money comes in. One line per gateway; one without its keys is not offered."""

from __future__ import annotations

from billing.errors import GatewayUnavailable
from billing.gateways.base import Gateway
from billing.gateways.monnify import Monnify
from billing.gateways.razorpay import Razorpay
from billing.gateways.stripe import Stripe
from billing.gateways.wallet import Wallet

GATEWAYS: dict[str, Gateway] = {gateway.name: gateway for gateway in (Monnify(), Razorpay(), Stripe(), Wallet())}


def names() -> list[str]:
    """Every gateway we know, with or without keys."""
    return sorted(GATEWAYS)


def offered() -> list[Gateway]:
    """The gateways that have their keys."""
    return [GATEWAYS[name] for name in names() if GATEWAYS[name].is_configured()]


def get(name: str) -> Gateway:
    """The gateway of that name.

    Raises: GatewayUnavailable when we do not know it or it has no keys.
    """
    gateway = GATEWAYS.get(name)
    if gateway is None or not gateway.is_configured():
        raise GatewayUnavailable(f"Payments by {name} are not available here.")
    return gateway
