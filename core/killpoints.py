"""Named places between two effects where a test may kill the process, to prove that nothing is lost or doubled.

Armed by KILL_POINT, only when ENVIRONMENT=test. A test walks POINTS and dies at each.
"""

from __future__ import annotations

import os
import signal

from django.conf import settings

# name: what has happened | what has not
POINTS: dict[str, str] = {
    "idempotency.claimed": "the key row of a gateway call is committed | nothing else is",
    "inbox.stored": "a webhook is stored | it is not yet answered or handled",
    "inbox.handled": "a webhook's handler has run | the row does not say so yet",
    "notifications.claimed": "a mail is leased | nothing of it has left",
    "notifications.handed_over": "a mail is marked as handed over | the server has none of it",
    "notifications.accepted": "the mail server has taken a mail | the row does not say so yet",
    "accounts.erasure.requested": "a person's tokens are dead and the wish is committed | nothing is closed",
    "accounts.erasure.cleared": "the apps have closed and deleted what they could | the row still says who it was",
    "accounts.erasure.anonymising": "the row is anonymised and the last mail queued, uncommitted | nothing is sent",
    "accounts.erasure.anonymised": "the person is anonymous | the address of the last mail is still known",
    "accounts.erasure.forgotten": "no address is left | the erasure does not say that it is finished",
    "accounts.exports.claimed": "an export is taken up | nothing of it is written",
    "accounts.exports.saved": "an export's bytes are stored | its row does not say that it is ready",
    "accounts.avatars.saved": "an avatar's bytes are stored | the profile does not refer to them",
    "generation.jobs.created": "a job's order is written, in whatever transaction holds it | it is not answered",
    "generation.photos.saved": "a photo's bytes are stored | its row is not there",
    "generation.uploads.kept": "an uploaded photo is kept | the bytes that were put still lie in incoming/",
    "generation.inputs.saved": "the picture at an image_url is stored | the job does not have it yet",
    "generation.submit.claimed": "a queued job is leased | the provider has heard nothing",
    "generation.submit.prepared": "the inputs are at the provider | the attempt is not committed",
    "generation.submit.committed": "the attempt is committed | the call that costs is not made",
    "generation.submit.answered": "the provider took the job | its id is not written down",
    "generation.submit.recorded": "the job runs | nobody has looked at it yet",
    "generation.submit.made": "a synchronous answer is written down | nothing of it is stored",
    "generation.stage.queued": "a stage is done and the next is queued | nobody has sent it",
    "generation.poll.claimed": "a running job is leased | the provider is not asked",
    "generation.poll.answered": "the provider said how the job stands | nothing is written down",
    "generation.poll.storing": "the job is storing | nothing is fetched",
    "generation.store.claimed": "a job in storing is leased | nothing is fetched",
    "generation.store.fetched": "an output is on disk and proved | no key is intended",
    "generation.store.intended": "the keys are written down | the bytes are not stored",
    "generation.store.saved": "all bytes are stored | the job has not ended",
    "generation.finish.decided": "the job's row has its end, uncommitted | credits and mail have not moved",
    "generation.finish.settled": "credits have moved, uncommitted | mail and audit are not written",
    "generation.finish.committed": "the job has ended | nobody is told",
    "generation.discard.deleted": "the provider's copy is deleted | the attempt does not say so",
    "calls.initiated": "a call's row and hold are written, uncommitted | it is not answered to the caller's app",
    "calls.answered": "a call is answered and paid for ahead, uncommitted | nobody is told",
    "calls.beaten": "a beat is written down, uncommitted | nobody is told",
    "calls.finish.decided": "a call's row has its end, uncommitted | its money and mail have not moved",
    "calls.finish.settled": "a call's money has moved, uncommitted | mail and audit are not written",
    "calls.finish.committed": "a call has ended | nobody is told",
    "calls.room.made": "a call's room is made | its row does not say so",
    "calls.room.deleted": "a call's room is deleted | its row does not say so",
    "files.deleted": "a file's bytes are deleted | its row is still there",
    "payments.start.committed": "our payment is committed | the gateway has not heard of it",
    "payments.start.answered": "the gateway has opened it | its id is not noted",
    "payments.settle.fetched": "the gateway says what came | nothing of it is applied",
    "payments.settle.recorded": "a capture's money is posted, uncommitted | its goods are not handed over",
    "payments.settle.granted": "the goods are handed over, uncommitted | the payment does not say so",
    "payments.settle.posted": "all of it is written, uncommitted | the transaction has not committed",
    "payments.settle.committed": "the payment is settled | the caller has not been told",
    "refunds.requested": "a refund and its room are committed | the gateway has not heard of it",
    "refunds.answered": "the gateway has taken the refund | our books do not say so",
    "refunds.posted": "the refund's money is posted, uncommitted | its credits are not taken back",
    "disputes.opened": "a dispute's row is written, uncommitted | its credits are not frozen",
    "disputes.lost": "a lost dispute's money is posted, uncommitted | its credits are not taken back",
    "disputes.recovered": "a lost dispute's money has come back, uncommitted | its credits are not given back",
    "prices.changed": "a price that a colleague approved is changed, uncommitted | nothing says so yet",
    "orders.placed": "an order is written and its stock reserved, uncommitted | the buyer has not been told",
    "orders.confirmed": "an order is confirmed, uncommitted | its payment does not say so",
    "orders.closing": "no payment of an order is open any more | the order holds its stock",
    "orders.given_up": "an order is canceled with its stock and refund, uncommitted | nothing says so yet",
    "orders.canceled": "an order is canceled and its refund committed | the refund is not sent, the buyer not told",
    "subscriptions.start.committed": "our subscription is committed | the gateway has not heard of it",
    "subscriptions.start.answered": "the gateway has begun it | its id is not noted",
    "subscriptions.invoice.taken": "a paid invoice has become a payment | it is not settled",
    "subscriptions.period.former_ended": "the former period's credits are ended, uncommitted | the new are not granted",
    "subscriptions.period.granted": "a period's credits are granted, uncommitted | the mail is not written",
    "subscriptions.invoices.settled": "what was paid is settled | the period and the state are the old ones",
    "subscriptions.upgrade.committed": "an upgrade is written down | the gateway has not heard of it",
    "subscriptions.upgrade.answered": "the gateway has charged for an upgrade | its invoice is not seen",
    "subscriptions.month.granted": "a month of a year is granted, uncommitted | the invoice does not count it",
    "subscriptions.end.committed": "the wish to end at once is committed | the gateway has not heard of it",
    "subscriptions.end.answered": "it has ended at the gateway | it lives here",
}


def reach(name: str) -> None:
    """Die here by SIGKILL when armed for `name`; otherwise do nothing.

    KILL_POINT is a name, or `@` and a file that holds one: whoever dies takes the file along, so it happens once.
    Raises: KeyError for a name that is not in POINTS, when running tests.
    """
    if settings.ENVIRONMENT != "test":
        return
    POINTS[name]
    if _armed() == name and _take():
        os.kill(os.getpid(), signal.SIGKILL)


def _armed() -> str:
    armed: str = settings.KILL_POINT
    if not armed.startswith("@"):
        return armed
    try:
        with open(armed[1:]) as file:
            return file.read()
    except FileNotFoundError:
        return ""


def _take() -> bool:
    """Whether this process is the one to die."""
    if not settings.KILL_POINT.startswith("@"):
        return True
    try:
        os.unlink(settings.KILL_POINT[1:])
    except FileNotFoundError:
        return False
    return True
