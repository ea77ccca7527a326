"""Magic values: what a caller writes into a text or an amount to make a provider misbehave. One table, shown on `/`."""

from __future__ import annotations

import re
from dataclasses import dataclass

TEXTS = {
    "sandbox:slow": "takes SANDBOX_SLOW_S (20 s) instead of SANDBOX_SPEED_S (1 s)",
    "sandbox:fail": "ends as error `unknown_error`; the provider gives its credits back",
    "sandbox:moderated": "ends as error `content_moderated`; at xAI as 400, and billed all the same",
    "sandbox:lost": "done, but no webhook is sent (xAI sends none anyway)",
    "sandbox:duplicate": "every webhook is sent 5 times",
    "sandbox:corrupt": "done, but the output file is cut off in the middle",
    "sandbox:wrongtype": "done, but the output says image/png and is an HTML page",
    "sandbox:huge": "done, but the output is 2 GB, without a Content-Length",
    "sandbox:429": "the submit is refused once with 429 and Retry-After: 2; the next one with this text is taken",
    "sandbox:500": "the submit fails once with 500 and makes no job; the next one with this text is taken",
    "sandbox:hang": "the job is really made, but the submit is never answered",
    "sandbox:late": "done only after SANDBOX_LATE_S (1,000 s), past every image deadline; KIE's films four times that",
    "sandbox:withheld": "xAI answers 200, with respect_moderation false and no film, or a placeholder as last picture",
    "sandbox:blocked": "xAI refuses to start the film; for pictures it answers 200 with a block_reason",
}

AMOUNTS = {
    1: "declined; as a refund: pending, then failed",
    2: "pending, paid SANDBOX_PENDING_S (30 s) later; as a refund: processed that much later",
    3: "every webhook is sent 5 times",
    4: "no webhook",
    5: "underpaid: the payment is 1.00 less than the order (half of it, below 2.00)",
    6: "overpaid: the payment is 1.00 more than the order",
    7: "webhooks are delivered before the API or the checkout answers",
}

MAIL = {
    "bounce@…": "refused for good with 550 (bounce+anything@… too)",
    "defer@…": "refused once with 451, then accepted (defer+anything@… too)",
}

DUPLICATES = 5
HUGE_BYTES = 2 * 1024**3
RETRY_AFTER_S = 2


def texts(*values: str | None) -> frozenset[str]:
    """The magic words found in the given texts, without their prefix; `sandbox:5000` is not `sandbox:500`."""
    found = re.findall(r"sandbox:([a-z0-9]+)", " ".join(value for value in values if value).lower())
    return frozenset(word for word in found if f"sandbox:{word}" in TEXTS)


@dataclass(frozen=True)
class Sending:
    """How the webhooks about one object are sent."""

    copies: int = 1
    is_first: bool = False


def sending(amount: int) -> Sending:
    """Units: amount in minor units."""
    digits = amount % 100
    return Sending(copies={3: DUPLICATES, 4: 0}.get(digits, 1), is_first=digits == 7)
