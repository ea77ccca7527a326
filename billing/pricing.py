"""What an item costs. The client names the item; the price is always ours."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.utils.module_loading import import_string

from billing.errors import CurrencyNotSold, NotForSale
from billing.models import CreditPrice, Package
from core.errors import Invalid, detail
from core.money import CURRENCIES, display

_ITEM = re.compile(r"(?P<kind>[a-z]{1,16}):(?P<rest>[^\s]{1,60})")
_WHOLE = re.compile(r"[1-9][0-9]{0,8}")
_CODE = re.compile(r"[A-Za-z0-9_-]{1,32}")
_TOP_UP = re.compile(r"(?P<wallet>[a-z]{1,16}):(?P<amount>[1-9][0-9]{0,11})")


@dataclass(frozen=True, slots=True)
class TopUp:
    """How much may be put on a wallet of money at once. Units: minor."""

    wallet: str
    currency: str
    least: int
    most: int


TOP_UPS = (
    TopUp("primary", "NGN", 10_000, 100_000_000),
    TopUp("calls", "NGN", 10_000, 100_000_000),
    TopUp("primary", "USD", 50, 100_000_000),
    TopUp("primary", "EUR", 50, 100_000_000),
    TopUp("primary", "GBP", 50, 100_000_000),
)


@dataclass(frozen=True, slots=True)
class Quote:
    """One item at today's price. `item` is its canonical spelling; `fulfils` names who delivers it, `wallet_kind` the
    wallet that it fills (none for goods that are no money and no credits)."""

    item: str
    fulfils: str
    title: str
    credits: int
    amount: int
    currency: str
    wallet_kind: str = "credits"


def quote(item: str, currency: str, *, user: Any = None) -> Quote:
    """The price of `package:<code>`, `credits:<n>` or `wallet:<kind>:<minor>` in a currency, or of what a higher app
    sells under its own word (settings.BILLING_QUOTES), as `order:<id>`.

    Units: the amount is in the currency's minor unit.
    Raises: Invalid for an item that we do not know, NotForSale, CurrencyNotSold.
    """
    matched = _ITEM.fullmatch(item)
    kind, rest = (matched["kind"], matched["rest"]) if matched else ("", "")
    match kind:
        case "package":
            return _package(rest, currency)
        case "credits":
            return _custom(rest, currency)
        case "wallet":
            return _top_up(rest, currency)
    if kind in settings.BILLING_QUOTES:
        found: Quote = import_string(settings.BILLING_QUOTES[kind])(user=user, rest=rest, currency=currency)
        return found
    raise _invalid("unknown_item", "Order package:<code>, credits:<number> or wallet:<kind>:<amount>.")


def currency_for(asked: str | None, user_currency: str | None, default: str) -> str:
    """The request's currency, else the user's, else the gateway's.

    Raises: Invalid for what is no currency we know.
    """
    currency = (asked or user_currency or default).upper()
    if currency not in CURRENCIES:
        raise Invalid(details=[detail("unknown_currency", f"There is no currency {currency!r} here.", "currency")])
    return currency


def packages(currency: str | None = None) -> Sequence[Package]:
    """What the price list shows."""
    shown = Package.objects.filter(is_shown=True).order_by("currency", "position", "credits")
    return list(shown.filter(currency=currency.upper()) if currency else shown)


def custom_prices(currency: str | None = None) -> Sequence[CreditPrice]:
    """The prices of a custom number of credits, by currency."""
    shown = CreditPrice.objects.filter(is_for_sale=True).order_by("currency")
    return list(shown.filter(currency=currency.upper()) if currency else shown)


def _package(code: str, currency: str) -> Quote:
    rows = list(Package.objects.filter(code=code.upper())) if _CODE.fullmatch(code) else []
    if not rows:
        raise _invalid("unknown_item", f"There is no package {code!r}.")
    sold = [row for row in rows if row.is_for_sale]
    if not sold:
        message = f"{rows[0].code} is not for sale: those credits come with a new account."
        raise NotForSale(message, details=[detail("not_for_sale", message, "item")])
    row = next((row for row in sold if row.currency == currency), None)
    if row is None:
        raise _not_in(rows[0].code, currency, [row.currency for row in sold])
    return Quote(
        item=f"package:{row.code}",
        fulfils="credits",
        title=f"{row.name}, {display(row.credits, 'CREDIT')}",
        credits=row.credits,
        amount=row.amount,
        currency=row.currency,
    )


def _custom(number: str, currency: str) -> Quote:
    prices = {price.currency: price for price in custom_prices()}
    price = prices.get(currency)
    if price is None:
        raise _not_in("A custom number of credits", currency, list(prices))
    whole = _WHOLE.fullmatch(number)
    if not whole or not price.least <= int(number) <= price.most:
        raise _invalid(
            "out_of_range", f"Order a whole number of credits from {price.least:,} to {price.most:,}.", **_range(price)
        )
    credits = int(number)
    return Quote(
        item=f"credits:{credits}",
        fulfils="credits",
        title=display(credits, "CREDIT"),
        credits=credits,
        amount=credits * price.amount,
        currency=price.currency,
    )


def _top_up(rest: str, currency: str) -> Quote:
    matched = _TOP_UP.fullmatch(rest)
    filled = [top_up for top_up in TOP_UPS if matched and top_up.wallet == matched["wallet"]]
    if not matched or not filled:
        raise _invalid("unknown_item", "Order wallet:primary:<amount> or wallet:calls:<amount>, in minor units.")
    wallet, amount = matched["wallet"], int(matched["amount"])
    chosen = next((top_up for top_up in filled if top_up.currency == currency), None)
    if chosen is None:
        raise _not_in(f"A top-up of the {wallet} wallet", currency, [top_up.currency for top_up in filled])
    if not chosen.least <= amount <= chosen.most:
        least, most = display(chosen.least, currency), display(chosen.most, currency)
        raise _invalid("out_of_range", f"Put {least} to {most} on the wallet at once.", **_range(chosen))
    return Quote(
        item=f"wallet:{wallet}:{amount}",
        fulfils="top_up",
        title=f"{display(amount, currency)} for the {wallet} wallet",
        credits=0,
        amount=amount,
        currency=currency,
        wallet_kind=wallet,
    )


def _range(price: CreditPrice | TopUp) -> dict[str, Any]:
    return {"least": price.least, "most": price.most}


def _invalid(code: str, message: str, **extra: Any) -> Invalid:
    return Invalid(message, details=[detail(code, message, "item", **extra)])


def _not_in(what: str, currency: str, sold_in: Sequence[str]) -> CurrencyNotSold:
    message = f"{what} is not sold in {currency}; choose {' or '.join(sorted(sold_in)) or 'something else'}."
    return CurrencyNotSold(message, details=[detail("currency_not_sold", message, "currency", sold_in=sorted(sold_in))])
