"""What a mail server's refusal means for the mail."""

from __future__ import annotations

import enum
import smtplib

from anymail.exceptions import AnymailAPIError, AnymailError, AnymailRecipientsRefused
from requests import exceptions as requests


class Failure(enum.Enum):
    """`RETRY`: surely not accepted, may be accepted later. `UNKNOWN`: perhaps accepted, so it is not sent again."""

    RETRY = "retry"
    REJECTED = "rejected"
    BOUNCED = "bounced"
    UNKNOWN = "outcome_unknown"


def classify(error: Exception, *, has_begun: bool) -> Failure:
    """Sort what sending raised; `has_begun` says whether any byte of the message had left."""
    match error:
        case smtplib.SMTPRecipientsRefused():
            codes = [code for code, _ in error.recipients.values()]
            return Failure.BOUNCED if all(500 <= code < 600 for code in codes) else Failure.RETRY
        case smtplib.SMTPDataError():
            return Failure.REJECTED if 500 <= error.smtp_code < 600 else Failure.RETRY
        case smtplib.SMTPResponseException():
            # About the sender or the login: our settings are wrong, and the mail is not to blame.
            return Failure.RETRY
        case AnymailRecipientsRefused():
            return Failure.BOUNCED
        case AnymailAPIError():
            return _of_api(error)
        case AnymailError():
            return Failure.REJECTED
    return Failure.UNKNOWN if has_begun else Failure.RETRY


def is_final(error: Exception) -> bool:
    """Whether the server says that there is no such mailbox. Other refusals may be about us: a policy, a relay's rule.

    Source: RFC 3463, 3.2 (5.1.1), and RFC 7505 (5.1.10).
    """
    if not isinstance(error, smtplib.SMTPRecipientsRefused):
        return False
    replies = [reply if isinstance(reply, str) else reply.decode(errors="replace") for _, reply in _refusals(error)]
    return bool(replies) and all(reply.split(maxsplit=1)[:1] in (["5.1.1"], ["5.1.10"]) for reply in replies)


def _refusals(error: smtplib.SMTPRecipientsRefused) -> list[tuple[int, bytes | str]]:
    return list(error.recipients.values())


def _of_api(error: AnymailAPIError) -> Failure:
    status = error.status_code
    if status is None:
        # Only a connection that never came about surely carried nothing.
        cause = error.__cause__
        is_unsent = isinstance(cause, requests.ConnectTimeout) or "NewConnectionError" in repr(cause)
        return Failure.RETRY if is_unsent else Failure.UNKNOWN
    if status < 300:
        return Failure.UNKNOWN  # it took something, and we cannot read what it says of it
    if status in (401, 403, 408, 429, 503):
        return Failure.RETRY
    return Failure.UNKNOWN if status >= 500 else Failure.REJECTED
