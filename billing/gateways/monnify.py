"""Monnify: transactions, refunds and webhooks of its REST API. Naira with decimals on the wire, kobo in here.

Source: Monnify's API reference. Our own HTTP: the vendor's SDK knows only its own two hosts. One transaction is both
our start and the customer's try to pay, under one reference. The contract must charge its fees to the merchant: else
the payable is not our price, and every payment is filed as a mismatch.
"""

from __future__ import annotations

import hmac
import json
import re
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, NoReturn
from urllib.parse import quote
from uuid import UUID

import orjson
from django.conf import settings

from billing.gateways import failures
from billing.gateways.base import (
    AttemptFact,
    AttemptStatus,
    DisputeFact,
    Misconfigured,
    Opening,
    Page,
    RefundFact,
    RefundStatus,
    Rejected,
    Repeated,
    Snapshot,
    StartFact,
    Unclear,
    Unreachable,
)
from core import http
from core.money import major, minor
from inbox.deliveries import Verdict

TIMEOUT_S = 10
PAGE = 100
RENEW_BEFORE_S = 60
LAGOS = timedelta(hours=1)  # its times carry no zone
CURRENCY = "NGN"

_PAID = ("PAID", "OVERPAID", "PARTIALLY_PAID", "REVERSED")
_UNPAID = ("PENDING", "EXPIRED", "ABANDONED", "CANCELLED")  # nobody has tried, or they left: nothing to note
_REFUNDS = {"PENDING": RefundStatus.SENT, "COMPLETED": RefundStatus.PROCESSED, "FAILED": RefundStatus.FAILED}
_REVERSAL = "reversal:"
_REF = re.compile(r"[A-Za-z0-9|_.:-]{1,128}")


class Monnify:
    name = "monnify"
    currencies: tuple[str, ...] = (CURRENCY,)
    default_currency = CURRENCY
    open_for = timedelta(minutes=40)  # as long as its checkout page lives
    is_remote = True

    def is_configured(self) -> bool:
        return bool(settings.MONNIFY_API_KEY and settings.MONNIFY_SECRET_KEY and settings.MONNIFY_CONTRACT_CODE)

    def refunds(self) -> bool:
        return bool(settings.MONNIFY_REFUNDS)

    # --- What we ask it to do -----------------------------------------------------------------------------------------

    def start(self, opening: Opening) -> StartFact:
        """Open a transaction. Monnify takes a reference once, and tells the checkout page only then."""
        try:
            body = _call(
                "POST",
                "/api/v1/merchant/transactions/init-transaction",
                json={
                    "amount": orjson.Fragment(major(opening.amount, opening.currency)),
                    "customerName": opening.name if len(opening.name) >= 3 else opening.email,
                    "customerEmail": opening.email,
                    "paymentReference": opening.reference,
                    "paymentDescription": opening.title,
                    "currencyCode": opening.currency,
                    "contractCode": settings.MONNIFY_CONTRACT_CODE,
                    "redirectUrl": opening.return_url,
                    "metaData": dict(opening.notes),
                },
            )
        except Rejected as error:
            # Its words for a repeated reference are not documented; that it has the reference tells.
            if self.find_start(opening.reference) is None:
                raise
            raise Repeated(str(error), status=error.status, code=error.code) from error
        return StartFact(
            ref=_text(body, "transactionReference"),
            reference=_text(body, "paymentReference"),
            amount=opening.amount,
            currency=opening.currency,
            url=_text(body, "checkoutUrl"),
        )

    def close(self, ref: str) -> None:
        """A transaction cannot be closed; it expires by itself, and money that comes later is still settled."""

    def capture(self, attempt_ref: str, *, amount: int, currency: str) -> None:
        """Nothing is ever only authorised here."""

    def refund(self, attempt_ref: str, *, amount: int, currency: str, refund_id: UUID, reason: str) -> RefundFact:
        if not self.refunds():
            raise Rejected("refunds are not switched on at Monnify", status=400, code="refunds_off")
        try:
            body = _call(
                "POST",
                "/api/v1/refunds/initiate-refund",
                json={
                    "transactionReference": _whole_ref(attempt_ref),
                    "refundReference": str(refund_id),
                    "refundAmount": orjson.Fragment(major(amount, currency)),
                    "refundReason": reason[:64] or "refund",
                    "customerNote": "Refund",
                },
            )
        except Rejected as error:
            if error.code == "R9":  # the reference is taken: by our own first try
                return self.fetch_refund(str(refund_id))
            raise
        return _refund(body)

    def is_payable(self, start: StartFact, flow: str) -> bool:
        """Its page is told once; its library opens a transaction by the reference alone."""
        return bool(start.url) or flow != "hosted"

    # --- What it says -------------------------------------------------------------------------------------------------

    def find_start(self, reference: str) -> StartFact | None:
        path = "/api/v2/merchant/transactions/query"
        try:
            return _start(_call("GET", path, params={"paymentReference": reference}))
        except Rejected as error:
            if error.status in (400, 404, 422):
                return None
            raise

    def fetch(self, ref: str, *, dispute_refs: Sequence[str] = ()) -> Snapshot:
        body = _transaction(ref)
        attempt, reversal = _attempt(body), _reversal(body)
        return Snapshot(_start(body), [attempt] if attempt else [], [reversal] if reversal else [])

    def fetch_start(self, ref: str) -> StartFact:
        return _start(_transaction(ref))

    def fetch_attempt(self, ref: str) -> AttemptFact:
        found = _attempt(_transaction(ref))
        if found is None:
            raise Rejected(f"nobody has paid {ref}", status=404)
        return found

    def fetch_refund(self, ref: str) -> RefundFact:
        if ref.startswith(_REVERSAL):
            found = _reversal(_transaction(ref.removeprefix(_REVERSAL)))
            if found is None:
                raise Rejected(f"{ref} did not happen", status=404)
            return found
        return _refund(_call("GET", f"/api/v1/refunds/{_path(ref)}"))

    def find_refund(self, attempt_ref: str, refund_id: UUID) -> RefundFact | None:
        try:
            return self.fetch_refund(str(refund_id))
        except Rejected as error:
            if error.code == "R7" or error.status == 404:
                return None
            raise

    def fetch_dispute(self, ref: str) -> DisputeFact:
        _no_disputes(ref)

    def payments_since(self, since: int, *, skip: int | str = 0) -> Page[AttemptFact]:
        items, following = _page("/api/v1/transactions/search", since, skip)
        return Page([fact for item in items if (fact := _attempt(item))], following)

    def refunds_since(self, since: int, *, skip: int | str = 0) -> Page[RefundFact]:
        items, following = _page("/api/v1/refunds", since, skip)
        return Page([_refund(item) for item in items], following)

    def disputes_since(self, since: int, *, skip: int | str = 0) -> Page[DisputeFact]:
        """Monnify has no API for disputes: the bank reverses the payment."""
        return Page((), None)

    # --- What the client gets and brings back -------------------------------------------------------------------------

    def client(self, start: StartFact) -> dict[str, Any]:
        return {"transaction_reference": start.ref}

    def checkout_url(self, start: StartFact, *, page_url: str, return_url: str) -> str:
        return start.url or page_url

    def check_client(self, claim: Mapping[str, str], *, refs: Sequence[str]) -> bool:
        """Nothing that the browser brings back is signed."""
        return False


def verify_webhook(headers: Mapping[str, str], body: bytes, *, now: int) -> Verdict:
    """Check the signature over the raw bytes; there is no time in it.

    Source: HMAC-SHA512 with the client secret, lower-case hex, in monnify-signature (as in the vendor's sample value).
    """
    if not settings.MONNIFY_SECRET_KEY:
        return Verdict.NOT_CONFIGURED
    given = next((value for name, value in headers.items() if name.lower() == "monnify-signature"), "")
    expected = hmac.new(settings.MONNIFY_SECRET_KEY.encode(), body, "sha512").hexdigest()
    return Verdict.VALID if hmac.compare_digest(expected.encode(), given.encode()) else Verdict.INVALID


# --- Speaking with it -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Token:
    text: str
    until: float
    made_for: tuple[str, str, str]


_token: _Token | None = None
_login = threading.Lock()


def _bearer(*, instead_of: str = "") -> str:
    """This process's token, from a new login when there is none, it is about to end, or it is the one refused.

    Raises: Unreachable, Unclear, Misconfigured.
    """
    global _token
    keys = (settings.MONNIFY_BASE_URL, settings.MONNIFY_API_KEY, settings.MONNIFY_SECRET_KEY)
    with _login:
        known = _token
        is_good = known is not None and known.made_for == keys and known.until > time.monotonic()
        if known is None or not is_good or known.text == instead_of:
            try:
                body = _ask("POST", "/api/v1/auth/login", json={}, auth=keys[1:])
            except Unclear as error:
                raise Unreachable(f"login: {error}") from error  # nothing has been asked for yet
            except Rejected as error:
                raise Misconfigured(f"login: {error}") from error
            ends = _whole(body, "expiresIn")
            known = _Token(_text(body, "accessToken"), time.monotonic() + max(0, ends - RENEW_BEFORE_S), keys)
            _token = known
        return known.text


def _call(method: str, path: str, *, json: Any = None, params: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """One call with our token, renewed once when it is not taken any more.

    Raises: Unreachable, Unclear, Rejected, Misconfigured.
    """
    if not Monnify().is_configured():
        raise Misconfigured("no keys are set")
    token = _bearer()
    try:
        return _ask(method, path, json=json, params=params, headers={"Authorization": f"Bearer {token}"})
    except Misconfigured:
        token = _bearer(instead_of=token)
        return _ask(method, path, json=json, params=params, headers={"Authorization": f"Bearer {token}"})


def _ask(
    method: str,
    path: str,
    *,
    json: Any = None,
    params: Mapping[str, Any] | None = None,
    headers: Mapping[str, str] | None = None,
    auth: tuple[str, str] | None = None,
) -> dict[str, Any]:
    with failures.told_apart():
        answer = http.call(
            method,
            settings.MONNIFY_BASE_URL + path,
            json=json,
            params=params,
            headers=headers,
            auth=auth,
            timeout_s=TIMEOUT_S,
            is_write=method != "GET" and auth is None,  # with the key itself one only signs in
        )
    what = f"{method} {path}: {answer.status}"
    if failure := failures.by_status(what, answer.status, answer.headers):
        raise failure
    if not (200 <= answer.status < 300 or 400 <= answer.status < 500):
        raise Unclear(what)
    envelope = _parse(answer.body)
    if envelope is None:
        raise Unclear(f"{what}, not a JSON object")
    # The envelope decides: a refusal may come as 200.
    if envelope.get("requestSuccessful") is True and answer.status < 300:
        body = envelope.get("responseBody")
        if not isinstance(body, dict):
            raise Unclear(f"{what}, without a body")
        return body
    if envelope.get("requestSuccessful") is not False:
        raise Unclear(f"{what}, neither successful nor refused")
    raise Rejected(
        str(envelope.get("responseMessage") or what)[:500],
        status=answer.status if answer.status >= 400 else 422,
        code=str(envelope.get("responseCode") or "")[:64],
    )


def _parse(body: bytes) -> dict[str, Any] | None:
    """JSON whose numbers stay decimal: a float would not be the amount that was written."""
    try:
        parsed = json.loads(body, parse_float=Decimal, parse_constant=str)
    except (ValueError, RecursionError):
        return None
    return parsed if isinstance(parsed, dict) else None


def _transaction(ref: str) -> dict[str, Any]:
    return _call("GET", f"/api/v2/transactions/{_path(_whole_ref(ref))}")


def _path(ref: str) -> str:
    """A reference of theirs as a path segment: its `|` percent-encoded, and never leading elsewhere."""
    if not _REF.fullmatch(ref) or not ref.strip("."):
        raise Rejected(f"{ref[:64]!r} is no reference of Monnify's", status=400, code="bad_id")
    return quote(ref, safe="")


def _whole_ref(ref: str) -> str:
    """The transaction behind a capture: what came on top of a first transfer is `<reference>+<kobo before it>`."""
    return ref.partition("+")[0]


def _page(path: str, since: int, skip: int | str) -> tuple[list[dict[str, Any]], int | None]:
    number = int(skip) // PAGE
    body = _call("GET", path, params={"page": number, "size": PAGE, "from": since * 1000})
    items = body.get("content")
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise Unclear("a list without content")
    return items, ((number + 1) * PAGE if len(items) == PAGE else None)


# --- Reading it -------------------------------------------------------------------------------------------------------


def _start(body: Mapping[str, Any]) -> StartFact:
    return StartFact(
        ref=_text(body, "transactionReference"),
        reference=_text(body, "paymentReference"),
        amount=_amount(body, "totalPayable"),
        currency=CURRENCY if body.get("currency") is None else _text(body, "currency"),
    )


def _attempt(body: Mapping[str, Any]) -> AttemptFact | None:
    """The customer's try to pay, from a query or an item of the search; None while there was none.

    Raises: Unclear for a status that we do not know: it may be money.
    """
    status, paid = _text(body, "paymentStatus"), _amount(body, "amountPaid")
    if status in _UNPAID and not paid:
        return None
    if status not in (*_PAID, *_UNPAID, "FAILED"):
        raise Unclear(f"payment status {status!r}")
    is_reversed = status == "REVERSED"
    is_paid = paid > 0 or status in _PAID
    ref = _text(body, "transactionReference")
    return AttemptFact(
        ref=ref,
        start_ref=ref,
        status=AttemptStatus.CAPTURED if is_paid else AttemptStatus.FAILED,
        amount=_paid(body) if is_paid else 0,
        currency=str(body.get("currency") or body.get("currencyCode") or CURRENCY),
        refunded=_paid(body) if is_reversed else 0,
        method=str(body.get("paymentMethod") or "")[:32],
        error_code="" if is_paid else "payment_failed",
        error_message="" if is_paid else "The payment was not accepted.",
        at=_time(body.get("paidOn") or body.get("completedOn")),
    )


def _paid(body: Mapping[str, Any]) -> int:
    paid = _amount(body, "amountPaid")
    if paid or body.get("paymentStatus") != "REVERSED":
        return paid
    return _amount(body, "totalPayable" if "totalPayable" in body else "payableAmount")


def _reversal(body: Mapping[str, Any]) -> RefundFact | None:
    """A payment that the bank took back is a refund that nobody asked for."""
    if body.get("paymentStatus") != "REVERSED":
        return None
    ref = _text(body, "transactionReference")
    return RefundFact(f"{_REVERSAL}{ref}", ref, RefundStatus.PROCESSED, _paid(body), CURRENCY)


def _refund(body: Mapping[str, Any]) -> RefundFact:
    status = _REFUNDS.get(_text(body, "refundStatus"))
    if status is None:
        raise Unclear(f"refund status {body['refundStatus']!r}")
    ref = _text(body, "refundReference")
    return RefundFact(
        ref=ref,
        attempt_ref=_text(body, "transactionReference"),
        status=status,
        amount=_amount(body, "refundAmount"),
        currency=CURRENCY,
        refund_id=_uuid(ref),
        at=_time(body.get("createdOn")),
    )


def _text(body: Mapping[str, Any], name: str) -> str:
    value = body.get(name)
    if not isinstance(value, str) or not value:
        raise Unclear(f"{name} is missing")
    return value


def _whole(body: Mapping[str, Any], name: str) -> int:
    value = body.get(name)
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise Unclear(f"{name} is no whole number")
    return value


def _amount(body: Mapping[str, Any], name: str) -> int:
    """Naira as a string here and a number there, in kobo. Nothing at all is nothing paid."""
    value = body.get(name)
    if value is None:
        return 0
    try:
        found = minor(value, CURRENCY)
    except ValueError as error:
        raise Unclear(f"{name}: {error}") from error
    if found < 0:
        raise Unclear(f"{name} is negative")
    return found


def _time(value: Any) -> int:
    """Unix seconds, 0 when it cannot be read: it only orders what is shown."""
    for form in ("%d/%m/%Y %I:%M:%S %p", "%Y-%m-%d %H:%M:%S.%f", "%Y-%m-%d %H:%M:%S"):
        try:
            return int((datetime.strptime(str(value), form).replace(tzinfo=UTC) - LAGOS).timestamp())
        except ValueError:
            continue
    try:
        return max(0, int(datetime.fromisoformat(str(value)).timestamp()))
    except ValueError:
        return 0


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None


def _no_disputes(ref: str) -> NoReturn:
    raise Rejected(f"Monnify knows no dispute {ref[:64]!r}", status=404)
