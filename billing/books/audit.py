"""The audit log among the invariants. What needs the storage and the personal parts is `manage.py verify_audit`."""

from __future__ import annotations

from audit.verification import CHAIN_SQL, ROWS_SQL
from billing.books.checks import Check

_WHICH = "(%(since)s::timestamptz IS NULL OR s.at >= %(since)s)"

_CHECKS = (
    Check("audit_chain", "Every seal of the audit log follows the one before it.", CHAIN_SQL.format(which=_WHICH)),
    Check("audit_rows", "Every sealed row is as it was, and none was put between.", ROWS_SQL.format(which=_WHICH)),
    Check(
        "audit_guards",
        "The triggers that keep the audit log as it was written are there and switched on.",
        # Bits of tgtype: 8 delete, 16 update, 32 truncate.
        """
        SELECT 'table ' || guarded.name, 'a trigger audit_refuse is missing or switched off'
        FROM (VALUES
            ('audit_auditlog', 24), ('audit_auditlog', 32),
            ('audit_auditdetail', 16), ('audit_auditdetail', 32),
            ('audit_seal', 24), ('audit_seal', 32)
        ) AS guarded (name, events)
        WHERE NOT EXISTS (
            SELECT FROM pg_trigger g JOIN pg_proc f ON f.oid = g.tgfoid
            WHERE g.tgrelid = guarded.name::regclass AND f.proname = 'audit_refuse'
              AND g.tgenabled IN ('O', 'A') AND (g.tgtype & guarded.events) = guarded.events)
        """,
    ),
)


def checks() -> tuple[Check, ...]:
    return _CHECKS
