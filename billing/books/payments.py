"""The payments' invariants: every sum of money and every grant that a payment tells of is in the ledger, once."""

from __future__ import annotations

from billing.books.checks import Check
from billing.gateways import GATEWAYS, names

_REMOTE = [name for name in names() if GATEWAYS[name].is_remote]
_GATEWAY_WALLETS = ", ".join(f"'gateway_{name}'" for name in _REMOTE)
_GATEWAYS = ", ".join(f"'{name}'" for name in _REMOTE)

# Payments in scope, by the moment they last changed. That is a web machine's clock, hence the margin.
_PAYMENTS = """
WITH payments AS (
    SELECT * FROM billing_payment
    WHERE %(since)s::timestamptz IS NULL OR updated_at >= %(since)s::timestamptz - interval '2 hours'
)
"""

CHECKS: tuple[Check, ...] = (
    Check(
        "gateway_money",
        "A gateway's wallet is what was captured there less what was refunded and lost.",
        f"""
        SELECT 'gateway ' || coalesce(told.gateway, booked.gateway) || ' ' || coalesce(told.currency, booked.unit),
            'payments say ' || coalesce(told.total, 0) || ', the books say ' || coalesce(booked.total, 0)
        FROM (
            SELECT gateway, currency, sum(amount) AS total FROM (
                SELECT gateway, currency, amount FROM billing_paymentattempt WHERE counts <> ''
                UNION ALL
                SELECT gateway, currency, -amount FROM billing_refund WHERE state IN ('sent', 'processed')
                UNION ALL
                SELECT gateway, currency, -lost FROM billing_dispute WHERE lost > 0
            ) moved WHERE gateway IN ({_GATEWAYS}) GROUP BY gateway, currency
        ) told
        FULL JOIN (
            SELECT substr(w.kind, length('gateway_') + 1) AS gateway, w.unit, -sum(e.amount) AS total
            FROM billing_wallet w JOIN billing_ledgerentry e ON e.wallet_id = w.id
            WHERE w.user_id IS NULL AND w.kind IN ({_GATEWAY_WALLETS})
            GROUP BY w.kind, w.unit
        ) booked ON booked.gateway = told.gateway AND booked.unit = told.currency
        WHERE coalesce(told.total, 0) <> coalesce(booked.total, 0)
        """,
        is_full_only=True,
    ),
    Check(
        "captures_recorded",
        "Every capture is in the books once, with its amount: from the gateway, or from the person's own wallet.",
        _PAYMENTS
        + """
        SELECT 'attempt ' || a.id, a.ref || ': ' || a.amount || ' captured, ' || coalesce(-e.amount, 0) || ' recorded'
        FROM payments p
        JOIN billing_paymentattempt a ON a.payment_id = p.id AND a.counts <> ''
        LEFT JOIN billing_ledgertransaction t ON t.key = 'payment:' || p.id ||
            CASE p.gateway WHEN 'wallet' THEN ':wallet:capture' ELSE ':capture:' || a.ref END
        LEFT JOIN (billing_ledgerentry e JOIN billing_wallet w ON w.id = e.wallet_id)
            ON e.transaction_id = t.id
            AND CASE p.gateway WHEN 'wallet' THEN w.user_id = p.user_id ELSE w.kind = 'gateway_' || p.gateway END
        WHERE e.amount IS DISTINCT FROM -a.amount
        """,
    ),
    Check(
        "refunds_recorded",
        "Every refund that left is in the books once, with its amount, and was reversed if it failed.",
        _PAYMENTS
        + """
        SELECT 'refund ' || r.id, r.state || ': ' || r.amount || ', recorded ' || b.total || ', reversed ' || b.undone
        FROM payments p
        JOIN billing_refund r ON r.payment_id = p.id
        CROSS JOIN LATERAL (
            SELECT coalesce(sum(e.amount) FILTER (WHERE t.key = 'refund:' || r.id), 0) AS total,
                coalesce(-sum(e.amount) FILTER (WHERE t.key = 'refund:' || r.id || ':reverse'), 0) AS undone
            FROM billing_ledgertransaction t
            JOIN billing_ledgerentry e ON e.transaction_id = t.id
            JOIN billing_wallet w ON w.id = e.wallet_id
                AND CASE p.gateway WHEN 'wallet' THEN w.user_id = p.user_id ELSE w.kind = 'gateway_' || p.gateway END
            WHERE t.subject_id = r.id) b
        WHERE (b.total - b.undone) <> CASE WHEN r.state IN ('sent', 'processed') THEN r.amount ELSE 0 END
        """,
    ),
    Check(
        "payment_figures",
        "A payment's figures are the sums of its captures, refunds and disputes.",
        _PAYMENTS
        + """
        SELECT 'payment ' || p.id, 'received ' || p.received || ' of ' || a.total || ', refunded ' || p.refunded ||
            ' of ' || r.gone || ', refunding ' || p.refunding || ' of ' || r.going ||
            ', lost ' || p.lost || ' of ' || d.total
        FROM payments p
        CROSS JOIN LATERAL (
            SELECT coalesce(sum(amount), 0) AS total FROM billing_paymentattempt
            WHERE payment_id = p.id AND counts = 'price') a
        CROSS JOIN LATERAL (
            SELECT coalesce(sum(f.applied) FILTER (WHERE f.state IN ('sent', 'processed')), 0) AS gone,
                coalesce(sum(f.amount) FILTER (WHERE f.state = 'requested'), 0) AS going
            FROM billing_refund f JOIN billing_paymentattempt c ON c.id = f.attempt_id AND c.counts = 'price'
            WHERE f.payment_id = p.id) r
        CROSS JOIN LATERAL (
            SELECT coalesce(sum(applied), 0) AS total FROM billing_dispute WHERE payment_id = p.id) d
        WHERE (p.received, p.refunded, p.refunding, p.lost) IS DISTINCT FROM (a.total, r.gone, r.going, d.total)
        """,
    ),
    Check(
        "payment_grants",
        "A payment whose credits or money were handed over has exactly one grant of them; no other payment has one.",
        _PAYMENTS
        + """
        SELECT 'payment ' || p.id,
            p.state || ', ' || p.fulfilment || ': granted ' || p.granted || ', in the books ' || coalesce(g.total, 0)
        FROM payments p
        LEFT JOIN LATERAL (
            SELECT sum(e.amount) AS total
            FROM billing_ledgertransaction t
            JOIN billing_ledgerentry e ON e.transaction_id = t.id
            JOIN billing_wallet w ON w.id = e.wallet_id AND w.user_id = p.user_id AND w.kind = p.wallet_kind
            WHERE t.subject_id = p.id AND (t.key = 'payment:' || p.id || ':grant' OR
                t.key LIKE 'payment:' || p.id || ':grant:%%')  -- a year's later months
        ) g ON true
        WHERE coalesce(g.total, 0) <> p.granted
           OR p.granted <> CASE WHEN p.fulfilment <> 'fulfilled' OR p.wallet_kind = '' THEN 0
                                WHEN p.wallet_kind = 'credits' THEN p.credits ELSE p.amount END
        """,
    ),
    Check(
        "payment_states",
        "A payment is in a paid state exactly when its goods were handed over or refused.",
        _PAYMENTS
        + """
        SELECT 'payment ' || id, state || ', ' || fulfilment || ', received ' || received || ' of ' || amount
        FROM payments
        WHERE (state IN ('succeeded', 'partially_refunded', 'refunded', 'disputed')) <> (fulfilment <> 'none')
           OR (fulfilment <> 'none' AND received < amount)
        """,
    ),
    Check(
        "clawed_back",
        "What a payment says was taken of its goods is what was clawed back or owed, less what was returned.",
        _PAYMENTS
        + """
        SELECT 'payment ' || p.id, 'taken ' || p.taken || ', clawed back ' || t.total || ', owed ' || d.total ||
            ', returned ' || b.total
        FROM payments p
        JOIN LATERAL (
            SELECT id FROM billing_refund WHERE payment_id = p.id UNION ALL
            SELECT id FROM billing_dispute WHERE payment_id = p.id LIMIT 1) any_return ON true
        CROSS JOIN LATERAL (
            SELECT coalesce(-sum(e.amount), 0) AS total
            FROM billing_ledgertransaction t
            JOIN billing_ledgerentry e ON e.transaction_id = t.id
            JOIN billing_wallet w ON w.id = e.wallet_id AND w.user_id = p.user_id AND w.kind = p.wallet_kind
            WHERE t.kind = 'clawback' AND t.subject_id IN (
                SELECT id FROM billing_refund WHERE payment_id = p.id UNION ALL
                SELECT id FROM billing_dispute WHERE payment_id = p.id)) t
        CROSS JOIN LATERAL (
            SELECT coalesce(sum(amount), 0) AS total FROM billing_debt WHERE subject_id IN (
                SELECT id FROM billing_refund WHERE payment_id = p.id UNION ALL
                SELECT id FROM billing_dispute WHERE payment_id = p.id)) d
        CROSS JOIN LATERAL (
            SELECT coalesce(sum(returned), 0) AS total FROM (
                SELECT returned FROM billing_refund WHERE payment_id = p.id UNION ALL
                SELECT returned FROM billing_dispute WHERE payment_id = p.id) r) b
        WHERE p.taken <> t.total + d.total - b.total
        """,
    ),
)
