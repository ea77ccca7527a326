"""The part of calls in the books: a call and its money always tell the same story."""

from __future__ import annotations

from billing.books import Check

_CHECKS = (
    Check(
        "calls_hold",
        "An open call has its hold open over what it says; one that cost something captured that, any other released.",
        """
        SELECT 'call ' || c.id, c.state || ' that cost ' || c.cost || ': its hold is '
            || coalesce(h.state || ' over ' || h.amount || ', captured ' || h.captured, 'missing')
            || ', it says ' || c.held
        FROM calls_call c LEFT JOIN billing_hold h ON h.key = 'call:' || c.id
        WHERE (%(since)s::timestamptz IS NULL OR c.ended_at IS NULL OR h.closed_at >= %(since)s)
          AND (h.id IS NULL OR h.amount <> c.held OR h.subject_id <> c.id OR h.subject_type <> 'call'
            OR h.captured <> c.cost
            OR h.state <> CASE WHEN c.ended_at IS NULL THEN 'open' WHEN c.cost > 0 THEN 'captured' ELSE 'released' END)
        """,
    ),
    Check(
        "calls_holds_of_calls",
        "Every hold for a call has its call.",
        """
        SELECT 'hold ' || h.key, 'its call is missing'
        FROM billing_hold h LEFT JOIN calls_call c ON c.id = h.subject_id
        WHERE h.subject_type = 'call' AND c.id IS NULL
          AND (%(since)s::timestamptz IS NULL OR h.closed_at IS NULL OR h.closed_at >= %(since)s)
        """,
    ),
    Check(
        "calls_ends",
        "No call is open long after it had to be looked at.",
        """
        SELECT 'call ' || id, state || ', due since ' || due_at
        FROM calls_call
        WHERE state IN ('ringing', 'answered') AND due_at < statement_timestamp() - interval '15 minutes'
        """,
    ),
)


def checks() -> tuple[Check, ...]:
    """What settings.BOOK_CHECKS asks for."""
    return _CHECKS
