"""What a gateway is to the rest of billing: facts as plain values, and three kinds of failure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import Any, Generic, Protocol, TypeVar
from uuid import UUID

Fact = TypeVar("Fact")


class GatewayError(Exception):
    """A gateway did not do what it was asked."""


class Unreachable(GatewayError):
    """It surely did not act: never received, or told us to come back later. Resend freely."""

    def __init__(self, message: str, *, retry_after: int | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Unclear(GatewayError):
    """It received the request and gave no usable answer. It may have acted."""


class Rejected(GatewayError):
    """It understood and refuses; asking again gives the same. `status` is its HTTP status."""

    def __init__(self, message: str, *, status: int, code: str = "", field: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.field = field


class Repeated(Rejected):
    """It has a start under that reference already, and does not say again what it answered then."""


class Misconfigured(GatewayError):
    """It does not accept our keys. Nobody's payment is at fault."""


@dataclass(frozen=True, slots=True)
class Opening:
    """What we ask a gateway to open. `reference` is ours and unique, `flow` is client or hosted, and `return_url` is
    where the browser goes after a hosted checkout.

    Units: `amount` in the currency's minor unit.
    """

    reference: str
    amount: int
    currency: str
    title: str
    flow: str
    return_url: str
    email: str
    name: str
    notes: Mapping[str, str] = field(default_factory=dict)


class AttemptStatus(StrEnum):
    CREATED = "created"
    AUTHORIZED = "authorized"
    FAILED = "failed"
    LAPSED = "lapsed"  # authorised, never captured, given back by the gateway itself
    CAPTURED = "captured"


class RefundStatus(StrEnum):
    SENT = "sent"
    PROCESSED = "processed"
    FAILED = "failed"


class DisputeStatus(StrEnum):
    OPEN = "open"
    WON = "won"
    LOST = "lost"


@dataclass(frozen=True, slots=True)
class AttemptFact:
    """One try of the customer to pay. Amounts in the minor unit; `at` in Unix seconds."""

    ref: str
    start_ref: str
    status: AttemptStatus
    amount: int
    currency: str
    refunded: int = 0
    method: str = ""
    error_code: str = ""
    error_message: str = ""
    at: int = 0


@dataclass(frozen=True, slots=True)
class RefundFact:
    """`refund_id` is ours, where the gateway gives it back."""

    ref: str
    attempt_ref: str
    status: RefundStatus
    amount: int
    currency: str
    refund_id: UUID | None = None
    at: int = 0


@dataclass(frozen=True, slots=True)
class DisputeFact:
    """`lost` is what the gateway has taken from us for it."""

    ref: str
    attempt_ref: str
    status: DisputeStatus
    amount: int
    currency: str
    lost: int = 0
    phase: str = ""
    reason_code: str = ""
    respond_by: int = 0
    at: int = 0


@dataclass(frozen=True, slots=True)
class StartFact:
    """What the gateway has on record under one start.

    `url` is its own checkout page and `secret` what its library opens the payment with in the client; some gateways
    tell them only once.
    """

    ref: str
    reference: str
    amount: int
    currency: str
    url: str = ""
    secret: str = ""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All that a gateway says of one start, read together."""

    start: StartFact
    attempts: Sequence[AttemptFact] = ()
    refunds: Sequence[RefundFact] = ()
    disputes: Sequence[DisputeFact] = ()


@dataclass(frozen=True, slots=True)
class Page(Generic[Fact]):
    """A part of a list; `next_skip` is None at its end, else where the next part begins: a number, or a last id."""

    items: Sequence[Fact]
    next_skip: int | str | None


class Gateway(Protocol):
    """The narrow contract. Every call may raise Unreachable, Unclear, Rejected or Misconfigured.

    None of them may be called inside a transaction.
    """

    name: str
    currencies: tuple[str, ...]
    default_currency: str
    open_for: timedelta  # how long a start can be paid
    is_remote: bool  # whether there is somebody to ask; else the payment is paid in our own transaction

    def is_configured(self) -> bool:
        """Whether its keys are set."""

    def refunds(self) -> bool:
        """Whether it gives money back when asked; else staff does it by hand."""

    def start(self, opening: Opening) -> StartFact:
        """Open a payment. The same reference gives the same start, or Repeated where it is not told again."""

    def is_payable(self, start: StartFact, flow: str) -> bool:
        """Whether we were told what the client needs to pay on it that way; if not, another start is opened."""

    def find_start(self, reference: str) -> StartFact | None:
        """The start under our reference, where one was opened whose answer we never read."""

    def fetch(self, ref: str, *, dispute_refs: Sequence[str] = ()) -> Snapshot:
        """What came of a start."""

    def close(self, ref: str) -> None:
        """See to it that nobody can pay a start any more. Quiet where the gateway has no such thing, and when it is
        closed already; Rejected when it has been paid."""

    def capture(self, attempt_ref: str, *, amount: int, currency: str) -> None:
        """Take an authorised payment. Quiet when it is captured already."""

    def refund(self, attempt_ref: str, *, amount: int, currency: str, refund_id: UUID, reason: str) -> RefundFact:
        """Give money back, once per `refund_id`."""

    def fetch_refund(self, ref: str) -> RefundFact:
        """What became of a refund."""

    def fetch_attempt(self, ref: str) -> AttemptFact:
        """One try to pay, by the gateway's id."""

    def fetch_dispute(self, ref: str) -> DisputeFact:
        """One dispute, by the gateway's id."""

    def fetch_start(self, ref: str) -> StartFact:
        """One start, by the gateway's id."""

    def find_refund(self, attempt_ref: str, refund_id: UUID) -> RefundFact | None:
        """Our refund of a capture, where one was asked for whose answer we never read."""

    def payments_since(self, since: int, *, skip: int | str = 0) -> Page[AttemptFact]:
        """Payments opened since, in Unix seconds."""

    def refunds_since(self, since: int, *, skip: int | str = 0) -> Page[RefundFact]:
        """Refunds opened since."""

    def disputes_since(self, since: int, *, skip: int | str = 0) -> Page[DisputeFact]:
        """Disputes opened since."""

    def client(self, start: StartFact) -> dict[str, Any]:
        """What the gateway's front-end library needs; nothing where this start is not paid through it."""

    def checkout_url(self, start: StartFact, *, page_url: str, return_url: str) -> str:
        """Where a browser pays without a front-end library: the gateway's own page, else ours at `page_url`."""

    def check_client(self, claim: Mapping[str, str], *, refs: Sequence[str]) -> bool:
        """Whether the gateway's checkout really handed this to the client, for one of our starts."""
