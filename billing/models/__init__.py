from __future__ import annotations

from billing.models.books import BookCheck, SalesStop
from billing.models.catalogue import CreditPrice, Package
from billing.models.grants import PromoSpending, SignUpGrant, StaffGrant
from billing.models.ledger import (
    CreditLot,
    Debt,
    Freeze,
    Hold,
    HouseKind,
    LedgerEntry,
    LedgerTransaction,
    UserWalletKind,
    Wallet,
)
from billing.models.payments import (
    Payment,
    PaymentAttempt,
    PaymentStart,
    PaymentState,
)
from billing.models.reconciliation import Break, BreakKind, GatewayCursor
from billing.models.refunds import Dispute, DisputeState, Refund, RefundMethod, RefundOrigin, RefundState
from billing.models.subscriptions import (
    GatewayCustomer,
    Interval,
    Plan,
    Subscription,
    SubscriptionChange,
    SubscriptionInvoice,
    SubscriptionState,
)

__all__ = [
    "BookCheck",
    "Break",
    "BreakKind",
    "CreditLot",
    "CreditPrice",
    "Debt",
    "Dispute",
    "DisputeState",
    "Freeze",
    "GatewayCursor",
    "GatewayCustomer",
    "Hold",
    "HouseKind",
    "Interval",
    "LedgerEntry",
    "LedgerTransaction",
    "Package",
    "Payment",
    "PaymentAttempt",
    "PaymentStart",
    "PaymentState",
    "Plan",
    "PromoSpending",
    "Refund",
    "RefundMethod",
    "RefundOrigin",
    "RefundState",
    "SalesStop",
    "SignUpGrant",
    "StaffGrant",
    "Subscription",
    "SubscriptionChange",
    "SubscriptionInvoice",
    "SubscriptionState",
    "UserWalletKind",
    "Wallet",
]
