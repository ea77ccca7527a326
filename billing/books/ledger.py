"""The ledger's invariants."""

from __future__ import annotations

from billing.books.checks import Check

# People's wallets in scope. Every operation of the ledger stamps updated_at.
_WALLETS = """
WITH wallets AS (
    SELECT * FROM billing_wallet
    WHERE user_id IS NOT NULL AND (%(since)s::timestamptz IS NULL OR updated_at >= %(since)s)
)
"""

CHECKS = (
    Check(
        "entries_balance",
        "The entries of every transaction sum to zero, and there are at least two.",
        """
        SELECT 'transaction ' || t.id, t.key || ': ' || count(e.id) || ' entries sum to ' || coalesce(sum(e.amount), 0)
        FROM billing_ledgertransaction t LEFT JOIN billing_ledgerentry e ON e.transaction_id = t.id
        WHERE t.id >= %(since_id)s
        GROUP BY t.id
        HAVING coalesce(sum(e.amount), 0) <> 0 OR count(e.id) < 2
        """,
    ),
    Check(
        "entries_belong",
        "Every entry has its transaction and its wallet, of the transaction's unit.",
        """
        SELECT 'entry ' || e.id, CASE
            WHEN t.id IS NULL THEN 'its transaction ' || e.transaction_id || ' is missing'
            WHEN w.id IS NULL THEN 'its wallet ' || e.wallet_id || ' is missing'
            WHEN w.unit <> t.unit THEN 'moves ' || t.unit || ' on a wallet of ' || w.unit
            ELSE 'balance_after does not fit the kind of its wallet' END
        FROM billing_ledgerentry e
        LEFT JOIN billing_ledgertransaction t ON t.id = e.transaction_id
        LEFT JOIN billing_wallet w ON w.id = e.wallet_id
        WHERE e.transaction_id >= %(since_id)s
          AND (t.id IS NULL OR w.id IS NULL OR w.unit <> t.unit OR (w.user_id IS NULL) <> (e.balance_after IS NULL))
        """,
    ),
    Check(
        "balance",
        "A wallet's balance is the sum of its entries.",
        _WALLETS
        + """
        SELECT 'wallet ' || w.id, 'balance ' || w.balance || ', entries sum to ' || coalesce(sum(e.amount), 0)
        FROM wallets w LEFT JOIN billing_ledgerentry e ON e.wallet_id = w.id
        GROUP BY w.id, w.balance
        HAVING w.balance <> coalesce(sum(e.amount), 0)
        """,
    ),
    Check(
        "chain",
        "Each entry's balance_after is the one before it plus its amount.",
        _WALLETS
        + """
        SELECT 'entry ' || id,
            'wallet ' || wallet_id || ': ' || before || ' plus ' || amount || ' is not ' || balance_after
        FROM (
            SELECT e.*, lag(e.balance_after, 1, 0::bigint) OVER (PARTITION BY e.wallet_id ORDER BY e.id) AS before
            FROM wallets w JOIN billing_ledgerentry e ON e.wallet_id = w.id
        ) link
        WHERE balance_after <> before + amount OR balance_after < 0
        """,
    ),
    Check(
        "held",
        "What a wallet holds is the sum of its open holds.",
        _WALLETS
        + """
        SELECT 'wallet ' || w.id, 'held ' || w.held || ', open holds sum to ' || coalesce(sum(h.amount), 0)
        FROM wallets w LEFT JOIN billing_hold h ON h.wallet_id = w.id AND h.state = 'open'
        GROUP BY w.id, w.held
        HAVING w.held <> coalesce(sum(h.amount), 0)
        """,
    ),
    Check(
        "lots",
        "The lots of a credits wallet sum to its balance; other wallets have none.",
        _WALLETS
        + """
        SELECT 'wallet ' || w.id,
            CASE w.unit WHEN 'CREDIT' THEN 'balance ' || w.balance || ', lots sum to ' || coalesce(sum(l.remaining), 0)
            ELSE count(l.id) || ' lots on a wallet of ' || w.unit END
        FROM wallets w LEFT JOIN billing_creditlot l ON l.wallet_id = w.id
        GROUP BY w.id, w.unit, w.balance
        HAVING CASE w.unit WHEN 'CREDIT' THEN w.balance <> coalesce(sum(l.remaining), 0) ELSE count(l.id) > 0 END
        """,
    ),
    Check(
        "lots_are_granted",
        "Every lot was granted by one entry of its amount, and every such entry has its lot.",
        """
        SELECT coalesce('lot ' || l.id, 'entry ' || e.id),
            CASE WHEN e.id IS NULL THEN 'no entry of ' || l.amount || ' granted it' ELSE 'granted no lot' END
        FROM (SELECT * FROM billing_creditlot WHERE transaction_id >= %(since_id)s) l
        FULL JOIN (
            SELECT e.* FROM billing_ledgerentry e
            JOIN billing_wallet w ON w.id = e.wallet_id
            WHERE w.kind = 'credits' AND e.amount > 0 AND e.transaction_id >= %(since_id)s
        ) e ON e.transaction_id = l.transaction_id AND e.wallet_id = l.wallet_id AND e.amount = l.amount
        WHERE l.id IS NULL OR e.id IS NULL
        """,
    ),
    Check(
        "frozen",
        "What is frozen is the sum of the open freezes and, of credits, of what is frozen in lots.",
        _WALLETS
        + """
        SELECT 'wallet ' || w.id, 'frozen ' || w.frozen || ', freezes sum to ' || f.total || ', in lots ' || l.total
        FROM wallets w
        CROSS JOIN LATERAL (
            SELECT coalesce(sum(amount), 0) AS total FROM billing_freeze WHERE wallet_id = w.id AND state = 'open') f
        CROSS JOIN LATERAL (
            SELECT coalesce(sum(frozen), 0) AS total FROM billing_creditlot
            WHERE wallet_id = w.id AND exhausted_at IS NULL) l
        WHERE w.frozen <> f.total OR (w.unit = 'CREDIT' AND w.frozen <> l.total)
        """,
    ),
    Check(
        "next_expiry",
        "No lot ends before the moment at which its wallet looks.",
        _WALLETS
        + """
        SELECT 'wallet ' || w.id,
            'looks at ' || coalesce(w.next_expiry_at::text, 'no time') || ', a lot ends at ' || min(l.expires_at)
        FROM wallets w JOIN billing_creditlot l
            ON l.wallet_id = w.id AND l.exhausted_at IS NULL AND l.remaining > l.frozen
        GROUP BY w.id, w.next_expiry_at
        HAVING min(l.expires_at) < w.next_expiry_at OR (w.next_expiry_at IS NULL AND min(l.expires_at) IS NOT NULL)
        """,
    ),
    Check(
        "captures",
        "Every captured hold has its one spend, every spend its captured hold, and the others have none.",
        """
        SELECT coalesce('hold ' || h.id, 'transaction ' || t.id),
            CASE WHEN t.id IS NULL THEN h.key || ': ' || h.captured || ' captured, no spend of it'
                 WHEN h.id IS NULL THEN t.key || ': no hold was captured by it'
                 ELSE h.key || ': ' || h.state || ' with ' || h.captured || ', spent ' || coalesce(-e.amount, 0) END
        FROM (SELECT * FROM billing_hold WHERE id >= %(since_id)s) h
        FULL JOIN (SELECT * FROM billing_ledgertransaction WHERE kind = 'spend' AND id >= %(since_id)s) t
            ON t.key = h.key || ':capture'
        LEFT JOIN billing_ledgerentry e ON e.transaction_id = t.id AND e.wallet_id = h.wallet_id
        WHERE CASE
            WHEN t.id IS NULL THEN h.state = 'captured'
            WHEN h.id IS NULL THEN NOT EXISTS (
                SELECT FROM billing_hold WHERE state = 'captured' AND key = left(t.key, -length(':capture')))
            ELSE h.state <> 'captured' OR e.amount IS DISTINCT FROM -h.captured
                OR (t.subject_type, t.subject_id) <> (h.subject_type, h.subject_id) END
        """,
    ),
    Check(
        "holds_end",
        "No hold is open past its alarm.",
        """
        SELECT 'hold ' || id, key || ': open since ' || created_at || ', should have ended before ' || alarm_at
        FROM billing_hold WHERE state = 'open' AND alarm_at < now()
        """,
    ),
    Check(
        "debts",
        "A debt is what was repaid, waived and remains.",
        """
        SELECT 'debt ' || d.id,
            d.cause || ': ' || d.amount || ' is not ' || coalesce(sum(-e.amount), 0) || ' repaid, ' || d.waived ||
            ' waived and ' || d.remaining || ' remaining'
        FROM billing_debt d
        LEFT JOIN billing_ledgertransaction t ON t.subject_id = d.id AND t.kind = 'debt_repayment'
        LEFT JOIN (billing_ledgerentry e JOIN billing_wallet w ON w.id = e.wallet_id AND w.user_id IS NOT NULL)
            ON e.transaction_id = t.id
        GROUP BY d.id
        HAVING d.amount <> coalesce(sum(-e.amount), 0) + d.waived + d.remaining
        """,
    ),
    Check(
        "sign_up_grants",
        "Every sign-up grant is in the books once, and nobody has one without a decision.",
        """
        SELECT coalesce('sign-up grant ' || g.id, 'transaction ' || t.id),
            CASE WHEN t.id IS NULL THEN 'granted, but not in the books' ELSE t.key || ': never decided' END
        FROM (SELECT * FROM billing_signupgrant WHERE outcome = 'granted' AND id >= %(since_id)s) g
        FULL JOIN (
            SELECT * FROM billing_ledgertransaction WHERE key LIKE 'sign-up:%%' AND id >= %(since_id)s
        ) t ON t.key = 'sign-up:' || g.user_id
        WHERE (g.id IS NULL OR t.id IS NULL)
          AND (g.id IS NOT NULL OR NOT EXISTS (
              SELECT FROM billing_signupgrant s WHERE s.outcome = 'granted' AND s.user_id = t.subject_id))
        """,
    ),
    Check(
        "staff_grants",
        "Every grant by staff is in the books with its amount, and nobody has one that staff did not give.",
        """
        SELECT 'staff grant ' || g.id, g.amount || ' given, ' || coalesce(e.amount, 0) || ' in the books'
        FROM billing_staffgrant g
        LEFT JOIN billing_ledgertransaction t ON t.key = 'staff-grant:' || g.id
        LEFT JOIN billing_ledgerentry e ON e.transaction_id = t.id AND e.balance_after IS NOT NULL
        WHERE e.amount IS DISTINCT FROM g.amount
        UNION ALL
        SELECT 'transaction ' || t.id, t.key || ': never given'
        FROM billing_ledgertransaction t
        WHERE t.key LIKE 'staff-grant:%%' AND t.id >= %(since_id)s
          AND NOT EXISTS (SELECT FROM billing_staffgrant g WHERE g.id = t.subject_id)
        """,
    ),
    Check(
        "guards",
        "The triggers that keep the ledger balanced, append-only and undeleted are there and switched on.",
        # Bits of tgtype: 4 insert, 8 delete, 16 update, 32 truncate.
        """
        SELECT 'table ' || guarded.name, 'its trigger ' || guarded.function || ' is missing or switched off'
        FROM (VALUES
            ('billing_ledgertransaction', 'ledger_refuse_change', 56),
            ('billing_ledgerentry', 'ledger_refuse_change', 56),
            ('billing_ledgerentry', 'ledger_refuse_imbalance', 4),
            ('billing_wallet', 'ledger_refuse_change', 40),
            ('billing_hold', 'ledger_refuse_change', 40),
            ('billing_creditlot', 'ledger_refuse_change', 40),
            ('billing_freeze', 'ledger_refuse_change', 40),
            ('billing_debt', 'ledger_refuse_change', 40)
        ) AS guarded (name, function, events)
        WHERE NOT EXISTS (
            SELECT FROM pg_trigger g JOIN pg_proc f ON f.oid = g.tgfoid
            WHERE g.tgrelid = guarded.name::regclass AND f.proname = guarded.function
              AND g.tgenabled IN ('O', 'A') AND (g.tgtype & guarded.events) = guarded.events)
        """,
    ),
)
