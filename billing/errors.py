"""What billing refuses, each with its code."""

from __future__ import annotations

from core.errors import Error


class NotForSale(Error):
    code = "not_for_sale"
    status = 400
    message = "This is not for sale."


class CurrencyNotSold(Error):
    code = "currency_not_sold"
    status = 400
    message = "This is not sold in that currency."


class SignatureInvalid(Error):
    code = "signature_invalid"
    status = 400
    message = "The signature does not belong to this payment; nothing was changed."


class PaymentSettled(Error):
    code = "payment_settled"
    status = 409
    message = "This payment has been paid and can no longer be canceled."


class RefundNotPossible(Error):
    code = "refund_not_possible"
    status = 409
    message = "This much cannot be refunded on this payment."


class SubscriptionExists(Error):
    code = "subscription_exists"
    status = 409
    message = "You have a subscription already; change its plan, or end it first."


class SubscriptionNotActive(Error):
    code = "subscription_not_active"
    status = 409
    message = "Only an active subscription that is not about to end can change its plan."


class SubscriptionEnded(Error):
    code = "subscription_ended"
    status = 409
    message = "This subscription has ended or was never paid; begin a new one."


class NoSubscription(Error):
    code = "no_subscription"
    status = 409
    message = "There is nothing to manage before a first subscription."


class PaymentDeclined(Error):
    code = "payment_declined"
    status = 402
    message = "The card on file was not charged; nothing was changed."


class GatewayUnavailable(Error):
    code = "gateway_unavailable"
    status = 503
    message = "This way of paying is not available right now."


class SalesStopped(Error):
    code = "sales_stopped"
    status = 503
    message = "Nothing can be bought right now; what you have paid for is safe. Try again later."


class InsufficientCredits(Error):
    code = "insufficient_credits"
    status = 402
    message = "You have too few credits for this."


class InsufficientFunds(Error):
    code = "insufficient_funds"
    status = 402
    message = "Your wallet holds too little for this."


class DebtOutstanding(Error):
    code = "debt_outstanding"
    status = 402
    message = "A lost payment dispute left a debt; buy credits to repay it before spending again."


class LedgerKeyMismatch(Error):
    code = "ledger_key_mismatch"
    status = 409
    message = "This was done before with other figures; nothing was changed."


class HoldClosed(Error):
    code = "hold_closed"
    status = 409
    message = "This hold has already ended another way; nothing was changed."
