"""The register of mails: what each one must be told, and what is made only while it is rendered."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Template:
    """A folder of templates/email/ and the context keys its caller has to give (plain JSON; amounts as shown).

    `made` are secret keys that settings.MAIL_SECRETS makes at rendering; they are never stored or shown to staff.
    Essential are those by which people get into their account, or learn that somebody else has: they go to
    suppressed addresses, too.
    """

    required: frozenset[str] = frozenset()
    optional: frozenset[str] = frozenset()
    made: frozenset[str] = frozenset()
    is_essential: bool = False

    @property
    def leads_once(self) -> bool:
        """Whether it carries a link that works once, for a while: not a mail to send again, but to ask for anew."""
        return "link" in self.made


def _template(required: str = "", optional: str = "", made: str = "", *, essential: bool = False) -> Template:
    return Template(frozenset(required.split()), frozenset(optional.split()), frozenset(made.split()), essential)


TEMPLATES: dict[str, Template] = {
    "welcome": _template(optional="first_name"),
    "verify-email": _template(required="verification_id", made="link", essential=True),
    "mfa-changed": _template(required="change", optional="reason", essential=True),
    "confirm-email": _template(required="change_id", made="link", essential=True),
    "email-changed": _template(required="at", essential=True),
    "password-reset": _template(required="reset_id", made="link", essential=True),
    "password-changed": _template(required="at device ip", essential=True),
    "payment-confirmation": _template(required="payment_id amount goods currency date"),
    "payment-failed": _template(required="payment_id amount reason"),
    "refund": _template(required="payment_id refund_id amount goods way reason consequence"),
    "dispute-opened": _template(required="payment_id ref gateway amount reason respond_by link"),
    "subscription-started": _template(required="plan amount credits period_end"),
    "subscription-renewed": _template(required="plan amount credits period_end"),
    "subscription-payment-failed": _template(required="plan amount"),
    "subscription-expiring": _template(required="plan days period_end"),
    "subscription-canceled": _template(required="plan credits_lost"),
    "headshot-generated": _template(required="job_id credits_used", optional="name link"),
    "headshot-failed": _template(required="job_id reason credits_returned", optional="name"),
    "generation-completed": _template(required="job_id kind credits_used", optional="name link"),
    "generation-failed": _template(required="job_id kind reason credits_returned", optional="name"),
    "order-confirmed": _template(required="order_id items amount", made="invoice_link"),
    "order-shipped": _template(required="order_id items", optional="tracking"),
    "order-canceled": _template(required="order_id items amount reason", optional="refunded"),
    "call-summary": _template(required="call_id recipient duration cost date"),
    "export-ready": _template(required="days"),
    "account-deleted": _template(optional="first_name", essential=True),
    "credit-low-warning": _template(required="remaining"),
}


# What may be declined, and what each is about, as the unsubscribe page says it.
OPTIONAL: dict[str, str] = {
    "credit-low-warning": "about credits running low",
    "subscription-expiring": "about a subscription that is about to end",
    "call-summary": "that sum up a call",
    "generation-completed": "about finished pictures and videos",
}


def is_essential(name: str) -> bool:
    return name in TEMPLATES and TEMPLATES[name].is_essential


def check(name: str, context: dict[str, object]) -> None:
    """Refuse a mail that could not be rendered, where the mistake is made.

    Raises: LookupError for an unknown name, ValueError for missing or unknown keys.
    """
    if name not in TEMPLATES:
        raise LookupError(f"no mail named {name!r} in notifications.mails.TEMPLATES")
    template = TEMPLATES[name]
    if missing := template.required - context.keys():
        raise ValueError(f"mail {name!r} lacks {', '.join(sorted(missing))}")
    if unknown := context.keys() - template.required - template.optional:
        raise ValueError(f"mail {name!r} does not know {', '.join(sorted(unknown))}")
