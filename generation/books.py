"""Generation's part of the books: a job and its credits always tell the same story."""

from __future__ import annotations

from billing.books import Check

# Jobs in scope: open ones always, ended ones by when they ended.
_JOBS = """
WITH jobs AS (
    SELECT *, 'generation:' || id || ':' || round AS hold_key FROM generation_generation
    WHERE %(since)s::timestamptz IS NULL OR finished_at IS NULL OR finished_at >= %(since)s
)
"""

_CHECKS = (
    Check(
        "generation_hold",
        "An open job has its round's hold open; a settled one captured it whole, once; any other end released it.",
        _JOBS
        + """
        SELECT 'generation ' || j.id, j.state || ', round ' || j.round || ': its hold is '
            || coalesce(h.state || ' over ' || h.amount || ', captured ' || h.captured, 'missing')
            || ', the price is ' || j.price
        FROM jobs j LEFT JOIN billing_hold h ON h.key = j.hold_key
        WHERE h.id IS NULL OR h.amount <> j.price OR h.subject_id <> j.id OR h.subject_type <> 'generation'
            OR h.state <> CASE j.state WHEN 'succeeded' THEN 'captured'
                WHEN 'failed' THEN 'released' WHEN 'canceled' THEN 'released' ELSE 'open' END
            OR (j.state = 'succeeded' AND h.captured <> j.price)
        """,
    ),
    Check(
        "generation_former_holds",
        "Every hold for a job belongs to one of its rounds, and those of former rounds were released.",
        """
        SELECT 'hold ' || h.key, CASE WHEN j.id IS NULL THEN 'its job is missing' ELSE
            h.state || ', but the job is in round ' || j.round END
        FROM billing_hold h LEFT JOIN generation_generation j ON j.id = h.subject_id
        WHERE h.subject_type = 'generation'
          AND (%(since)s::timestamptz IS NULL OR h.closed_at IS NULL OR h.closed_at >= %(since)s)
          AND (j.id IS NULL OR (h.key <> 'generation:' || j.id || ':' || j.round AND h.state <> 'released'))
        """,
    ),
    Check(
        "generation_assets",
        "A settled job has its outputs in our storage, until they are deleted or taken down; no other job has any.",
        _JOBS
        + """
        SELECT 'generation ' || j.id, j.state || ' with ' || count(a.id) || ' outputs, '
            || count(a.id) FILTER (WHERE a.file_id IS NULL) || ' without bytes'
        FROM jobs j LEFT JOIN generation_asset a ON a.generation_id = j.id
        GROUP BY j.id, j.state, j.deleted_at, j.taken_down_at
        HAVING (j.state = 'succeeded') <> (count(a.id) > 0)
            OR (coalesce(j.deleted_at, j.taken_down_at) IS NULL AND count(a.id) FILTER (WHERE a.file_id IS NULL) > 0)
        """,
    ),
    Check(
        "generation_avatars",
        "An avatar is ready when the job that makes it was settled, and shows an output of a job of its own.",
        """
        SELECT 'avatar ' || a.id, 'its job is ' || g.state || ', its face is '
            || coalesce(t.id || ' of avatar ' || coalesce(f.avatar_id::text, 'none'), 'missing')
        FROM generation_avatar a JOIN generation_generation g ON g.id = a.generation_id
            LEFT JOIN generation_asset t ON t.id = a.thumbnail_id
            LEFT JOIN generation_generation f ON f.id = t.generation_id
        WHERE (%(since)s::timestamptz IS NULL OR g.finished_at IS NULL OR g.finished_at >= %(since)s)
          AND (g.avatar_id IS DISTINCT FROM a.id
            OR (a.deleted_at IS NULL AND (g.state = 'succeeded') <> (t.id IS NOT NULL))
            OR (t.id IS NOT NULL AND (f.avatar_id IS DISTINCT FROM a.id OR f.kind <> 'avatar')))
        """,
    ),
    Check(
        "generation_files",
        "A file that something refers to never expires.",
        """
        SELECT 'file ' || f.key, 'expires at ' || f.expires_at
        FROM generation_storedobject f
        WHERE f.expires_at IS NOT NULL AND (
            EXISTS (SELECT FROM generation_asset a WHERE a.file_id = f.id OR a.thumbnail_id = f.id)
            OR EXISTS (SELECT FROM generation_photo p WHERE p.file_id = f.id))
        """,
    ),
    Check(
        "generation_ends",
        "No job is open long after its deadline: deadline, one lease, and time for a sweep.",
        """
        SELECT 'generation ' || id, state || ' since its deadline at ' || deadline_at
        FROM generation_generation
        WHERE state IN ('queued', 'submitting', 'running', 'storing')
          AND deadline_at < statement_timestamp() - interval '15 minutes'
        """,
    ),
)


def checks() -> tuple[Check, ...]:
    """What settings.BOOK_CHECKS asks for."""
    return _CHECKS
