"""What calls refuse."""

from __future__ import annotations

from core.errors import Error


class CalleeOnly(Error):
    code = "callee_only"
    status = 403
    message = "Only who is called answers or declines."


class CallExists(Error):
    code = "call_exists"
    status = 409
    message = "You are in a call already; end it first."


class CallAnswered(Error):
    code = "call_answered"
    status = 409
    message = "This call has been answered; end it instead."


class CallEnded(Error):
    code = "call_ended"
    status = 409
    message = "This call has ended."
