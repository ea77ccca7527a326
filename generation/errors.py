"""What generation refuses, and how it says so."""

from __future__ import annotations

from core.errors import Error


class ConsentRequired(Error):
    code = "consent_required"
    status = 400
    message = "Send `consent: true`: the person pictured agrees to this use of their face."


class Moderated(Error):
    code = "moderated"
    status = 422
    message = "The text asks for something we do not make; nothing was charged."


class NotSold(Error):
    code = "not_sold"
    status = 400
    message = "This combination is not sold; `details` says which."


class OperationUnavailable(Error):
    code = "operation_unavailable"
    status = 503
    message = "This operation is switched off right now."


class QuoteMismatch(Error):
    code = "quote_mismatch"
    status = 409
    message = "The quote is not for this request; ask for a new one."


class QuoteExpired(Error):
    code = "quote_expired"
    status = 409
    message = "The quote has expired; ask for a new one."


class TooLateToCancel(Error):
    code = "too_late_to_cancel"
    status = 409
    message = "The result is being stored, or the job has ended; it cannot be cancelled any more."


class CancelLimitReached(Error):
    code = "cancel_limit_reached"
    status = 429
    message = "You have cancelled too many started jobs today; this one will run to its end."


class NotRetryable(Error):
    code = "not_retryable"
    status = 409
    message = "Only a failed job can be retried, three times at most, and not one that was moderated."


class NotFinished(Error):
    code = "not_finished"
    status = 409
    message = "There is no finished output to download."


class AvatarLimitReached(Error):
    code = "avatar_limit_reached"
    status = 403
    message = "You have as many avatars as your plan allows."


class AvatarNotReady(Error):
    code = "avatar_not_ready"
    status = 409
    message = "This avatar is not ready; nothing can be made of it yet."


class UploadIncomplete(Error):
    code = "upload_incomplete"
    status = 409
    message = "The bytes are not there yet: put them to the address first."
